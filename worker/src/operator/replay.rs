//! `hookspool replay`: what deliveries ask for runs once more, because a person wants it.
//!
//! Nothing of the first time is believed but the bytes: they are read and matched anew, under the present configuration,
//! and admitted as the pass admits what has just come.

use std::io::{self, Write};

use anyhow::{Context, ensure};
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::Config;
use hookspool_common::inbox::Query;
use hookspool_common::ledger::{Admission, Admitted, Ledger, LedgerError, SqliteLedger};
use hookspool_common::record::{InboxIdentity, Record};
use serde_json::{Value, json};

use super::asked::{Asked, summary};
use super::delivery::{Found, find};
use super::inbox::Stored;
use super::passing::Passing;
use super::view::{print_json, shown};
use super::{Exit, inbox, options, rehearsal, writing};
use crate::admission::admission;
use crate::folders::Folders;

/// Most runs that one replay makes; whoever wants more asks for a shorter time, and has seen what that does.
const MAX_RUNS: usize = 1000;

pub(super) fn replay(config: &Config, options: &options::Replay) -> anyhow::Result<Exit> {
    if options.dry_run {
        return rehearsal::rehearse(config, options);
    }
    let mut replay = Replay::default();
    let inbox = if let Some(query) = query(options) {
        let opened = inbox::read(config, &query, |stored| replay.take(config, stored))?;
        if let Some(missing) = opened.as_ref().zip(query.since).and_then(|(opened, since)| opened.missing(since)) {
            eprintln!("hookspool: {missing}");
        }
        opened.map(|opened| opened.identity)
    } else {
        match find(config, &options.deliveries)? {
            Found::Not(exit) => return Ok(exit),
            Found::All(inbox, found) => {
                found.into_iter().try_for_each(|stored| replay.take(config, stored))?;
                Some(inbox)
            }
        }
    };
    for (record, why) in &replay.gone {
        eprintln!("hookspool: delivery {} cannot be replayed: {}", record.id, shown(why));
    }
    // Whoever names deliveries means each of them; whoever names a time means what there is.
    if !replay.gone.is_empty() && options.since.is_none() {
        return Ok(Exit::Failure);
    }
    let mut exit = if replay.gone.is_empty() && !replay.batch.is_empty() { Exit::Success } else { Exit::Failure };
    let (mut runs, mut started) = (Vec::new(), None);
    if let Some(inbox) = inbox.filter(|_| !replay.batch.is_empty()) {
        let passing = Passing::of(config);
        runs = make_runs(config, passing, &inbox, &replay.batch)?;
        match passing.start(config) {
            Ok(()) => started = Some(passing),
            Err(error) => {
                eprintln!("hookspool: the runs are in the ledger, and the next pass starts them; this one failed: {error:#}");
                exit = Exit::Failure;
            }
        }
    }
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &replay.json(&runs))?
    } else {
        replay.print(&mut out, &runs, started)?
    }
    Ok(exit)
}

/// What `--since` asks for; `None` when deliveries are named.
pub(super) fn query(options: &options::Replay) -> Option<Query> {
    let since = Some(options::before_now(options.since?));
    Some(Query { since, source: options.source.clone(), ..Query::default() })
}

/// What is to be replayed, and what is not.
#[derive(Default)]
struct Replay {
    batch: Vec<Admission>,
    requests: usize,
    nothing: Vec<(Record, String)>,
    gone: Vec<(Record, String)>,
}

impl Replay {
    fn take(&mut self, config: &Config, stored: Stored) -> anyhow::Result<()> {
        let asked = match &stored.raw {
            Ok(raw) => Asked::of(config, &stored, raw),
            Err(gone) => {
                self.gone.push((stored.record, gone.to_string()));
                return Ok(());
            }
        };
        if let Some(reason) = asked.reason {
            self.nothing.push((stored.record, reason));
            return Ok(());
        }
        let admission = admission(config, Record { proposals: asked.proposals, ..stored.record });
        self.requests += admission.requests.len();
        bound(self.requests)?;
        self.batch.push(admission);
        Ok(())
    }

    fn json(&self, runs: &[Vec<Admitted>]) -> Value {
        let of = |record: &Record| json!({ "delivery": record.id, "provider_id": record.provider_id, "runs": [] });
        let replayed = self.batch.iter().zip(runs).map(|(admission, runs)| {
            let mut json = of(&admission.record);
            let run = |(request, admitted): (&hookspool_common::ledger::Request, &Admitted)| {
                json!({ "run": admitted.run, "repository": request.repository, "job": request.job })
            };
            json["runs"] = admission.requests.iter().zip(runs).map(run).collect();
            json
        });
        let others = self.nothing.iter().chain(&self.gone).map(|(record, reason)| {
            let mut json = of(record);
            json["reason"] = json!(reason);
            json
        });
        Value::Array(replayed.chain(others).collect())
    }

    fn print(&self, out: &mut impl Write, runs: &[Vec<Admitted>], started: Option<Passing>) -> io::Result<()> {
        for (admission, runs) in self.batch.iter().zip(runs) {
            for (request, admitted) in admission.requests.iter().zip(runs) {
                let (run, job, repository) = (admitted.run, &request.job, &request.repository);
                let event = shown(&summary(&request.event));
                writeln!(out, "run {run}: job {job} of {repository}  ({event}, {})", admission.record.id)?;
            }
        }
        if let Some(passing) = started {
            writeln!(out, "started by {}", passing.as_str())?;
        }
        for (record, reason) in &self.nothing {
            writeln!(out, "nothing to run for {}: {}", record.id, shown(reason))?;
        }
        Ok(())
    }
}

fn bound(runs: usize) -> anyhow::Result<()> {
    ensure!(runs <= MAX_RUNS, "that would be more than {MAX_RUNS} runs at once; name a shorter time, or a --source");
    Ok(())
}

/// Makes the runs. What has only just come is taken over first, by a pass.
fn make_runs(
    config: &Config,
    passing: Passing,
    inbox: &InboxIdentity,
    batch: &[Admission],
) -> anyhow::Result<Vec<Vec<Admitted>>> {
    let by = writing::who();
    let try_it = || -> anyhow::Result<Result<Vec<Vec<Admitted>>, LedgerError>> {
        let path = Folders::new(&config.paths).ledger();
        let mut ledger = SqliteLedger::open(&path).context("cannot write the ledger; it belongs to whoever runs the worker")?;
        Ok(ledger.replay(inbox, batch, &by, SystemClock.now()))
    };
    let exists = Folders::new(&config.paths).ledger().try_exists();
    if exists.context("cannot look at the ledger; it belongs to whoever runs the worker")? {
        match try_it()? {
            Err(LedgerError::NotTakenOver(_)) => {}
            done => return Ok(done?),
        }
    }
    passing.make(config).context("cannot take over what has only just come")?;
    Ok(try_it()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_runs_are_made_at_once_and_not_one_more() {
        assert!(bound(1000).is_ok());
        assert!(bound(1001).is_err_and(|error| error.to_string().contains("more than 1000 runs at once")));
    }
}
