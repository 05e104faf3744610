//! `hookspool cancel N…`: ends runs, whether they wait or run.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, Run, RunState};
use hookspool_common::names::RunId;
use serde_json::Value;

use super::stored::no_run;
use super::view::{print_json, run_json, shown};
use super::{Exit, options, writing};
use crate::cancel::{self, Cancellation};
use crate::folders::Folders;

/// How often a run that is ending is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) fn cancel(config: &Config, options: &options::Cancel) -> anyhow::Result<Exit> {
    let mut ledger = writing::existing_ledger(config)?;
    let (folders, by) = (Folders::new(&config.paths), writing::who());
    let mut missing = None;
    for run in &options.runs {
        if !end(&mut ledger, &folders, *run, &by)? {
            missing = Some(no_run(&ledger, *run)?);
        }
    }
    // What was before others has left its place; and a runner that is dead already is found.
    writing::pass(config)?;
    let mut runs = Vec::new();
    for run in &options.runs {
        runs.extend(if options.no_wait { ledger.run(*run)? } else { when_over(&ledger, *run)? });
    }
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &Value::Array(runs.iter().map(run_json).collect()))?;
    } else {
        runs.iter().try_for_each(|run| writeln!(out, "{}", sentence(run)))?;
    }
    let is_done = |run: &Run| run.state == RunState::Cancelled || (options.no_wait && run.state == RunState::Running);
    let done = if runs.iter().all(is_done) { Exit::Success } else { Exit::Failure };
    Ok(missing.unwrap_or(done))
}

/// Ends a run, or has its runner end it. Whether there is such a run.
fn end(ledger: &mut dyn Ledger, folders: &Folders, run: RunId, by: &str) -> anyhow::Result<bool> {
    let why = Cancellation::By(by.to_owned());
    // A runner may claim it between the two looks, and then it runs.
    let Some(found) = ledger.run(run)? else { return Ok(false) };
    if found.state == RunState::Queued && ledger.cancel(run, &why.to_string(), SystemClock.now())? {
        return Ok(true);
    }
    if ledger.run(run)?.is_some_and(|run| run.state == RunState::Running) {
        match cancel::ask(folders, run, &why) {
            // It has ended meanwhile, and its folder is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            asked => drop(asked.with_context(|| format!("cannot ask run {run} to end"))?),
        }
    }
    Ok(true)
}

/// A run as it is when it is over. Its `always` still runs to its end; nothing else takes long.
fn when_over(ledger: &dyn Ledger, run: RunId) -> anyhow::Result<Option<Run>> {
    loop {
        match ledger.run(run)? {
            Some(run) if !run.state.is_final() => std::thread::sleep(LOOK_AGAIN),
            over => return Ok(over),
        }
    }
}

fn sentence(run: &Run) -> String {
    let reason = run.reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
    match run.state {
        RunState::Running => format!("run {} was asked to end", run.id),
        RunState::Cancelled => format!("run {} is cancelled{reason}", run.id),
        state => format!("run {} is over: it is {state}{reason}", run.id),
    }
}
