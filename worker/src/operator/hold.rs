//! `hookspool hold`, `release` and `holds`: lanes in which nothing starts until a person lets them go on.

use std::io::{self, Write};

use anyhow::Context;
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::Config;
use hookspool_common::ledger::{Hold, Ledger};
use hookspool_common::names::RunId;
use serde_json::{Value, json};

use super::stored::no_run;
use super::view::{hold_text, print_columns, print_json, second, shown};
use super::{Exit, options, stored, writing};

/// What is held where nobody says why.
const NO_REASON: &str = "no reason was given";

pub(super) fn hold(config: &Config, options: &options::Hold) -> anyhow::Result<Exit> {
    let mut ledger = writing::existing_ledger(config)?;
    let Some(lane) = lane(&ledger, &options.what)? else { return not_there(&ledger, &options.what) };
    let reason = options.reason.as_deref().unwrap_or(NO_REASON);
    if ledger.hold(&lane, options.what.run, &writing::who(), reason, SystemClock.now())? {
        let waiting = waiting_in(&ledger, &lane)?;
        writeln!(io::stdout().lock(), "held: {}; {waiting}", shown(&lane))?;
        return Ok(Exit::Success);
    }
    let held = ledger.holds()?.into_iter().find(|hold| hold.lane == lane);
    eprintln!("hookspool: it was held already{}", held.map(|hold| format!(", {}", hold_text(&hold))).unwrap_or_default());
    Ok(Exit::Failure)
}

pub(super) fn release(config: &Config, options: &options::Release) -> anyhow::Result<Exit> {
    let mut ledger = writing::existing_ledger(config)?;
    let Some(lane) = lane(&ledger, &options.what)? else { return not_there(&ledger, &options.what) };
    if !ledger.release(&lane)? {
        eprintln!("hookspool: the lane {} is not held; `hookspool holds` lists those that are", shown(&lane));
        return Ok(Exit::Failure);
    }
    let waiting = waiting_in(&ledger, &lane)?;
    writeln!(io::stdout().lock(), "released: {}; {waiting}", shown(&lane))?;
    writing::pass(config)?;
    Ok(Exit::Success)
}

pub(super) fn holds(config: &Config, options: &options::Holds) -> anyhow::Result<Exit> {
    let ledger = stored::ledger(config)?;
    let mut held = Vec::new();
    for hold in ledger.iter().map(|ledger| ledger.holds()).collect::<Result<Vec<_>, _>>()?.concat() {
        let queued = ledger.as_ref().map(|ledger| ledger.queued_in(&hold.lane)).transpose()?.unwrap_or_default();
        held.push((hold, queued.iter().map(|run| run.id).collect::<Vec<RunId>>()));
    }
    let mut out = io::stdout().lock();
    if options.json {
        return print_json(&mut out, &Value::Array(held.iter().map(json).collect())).map(|()| Exit::Success);
    }
    if held.is_empty() {
        writeln!(out, "nothing is held")?;
        return Ok(Exit::Success);
    }
    let heading = ["LANE", "RUN", "BY", "SINCE", "WAITING", "REASON"].map(str::to_owned).to_vec();
    let row = |(hold, queued): &(Hold, Vec<RunId>)| {
        let run = hold.run.map_or_else(|| "-".to_owned(), |run| run.to_string());
        let by = hold.by.as_deref().map_or_else(|| "-".to_owned(), shown);
        vec![shown(&hold.lane), run, by, second(hold.held_at), queued.len().to_string(), shown(&hold.reason)]
    };
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(held.iter().map(row)).collect();
    print_columns(&mut out, &rows)?;
    Ok(Exit::Success)
}

/// The lane that is meant; absent where there is no such run.
fn lane(ledger: &dyn Ledger, what: &options::LaneOf) -> anyhow::Result<Option<String>> {
    match (&what.lane, what.run) {
        (Some(lane), _) => Ok(Some(lane.clone())),
        (None, Some(run)) => Ok(ledger.run(run)?.map(|run| run.lane)),
        (None, None) => Ok(None),
    }
}

fn not_there(ledger: &dyn Ledger, what: &options::LaneOf) -> anyhow::Result<Exit> {
    what.run.map_or(Ok(Exit::NotFound), |run| no_run(ledger, run))
}

/// So that a mistyped key shows.
fn waiting_in(ledger: &dyn Ledger, lane: &str) -> anyhow::Result<String> {
    let waiting = ledger.queued_in(lane).context("cannot look into the lane")?;
    Ok(match waiting.as_slice() {
        [] if !ledger.has_seen_lane(lane)? => "no run was ever in it, as far as the ledger goes back".to_owned(),
        [] => "no run waits there".to_owned(),
        [one] => format!("run {} waits there", one.id),
        [first, others @ ..] => format!("run {} and {} others wait there", first.id, others.len()),
    })
}

fn json((hold, queued): &(Hold, Vec<RunId>)) -> Value {
    json!({
        "lane": hold.lane,
        "run": hold.run,
        "by": hold.by,
        "reason": hold.reason,
        "held_at": hold.held_at.to_string(),
        "waiting": queued,
    })
}
