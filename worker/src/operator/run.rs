//! `hookspool run JOB`: any job by hand, whatever its `when` says.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Context;
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::{Config, Repository};
use hookspool_common::event::{Event, Kind, Person};
use hookspool_common::git_name::RefName;
use hookspool_common::ledger::{Ledger, Run, Waiting};
use hookspool_common::names::{JobName, RunId};
use serde_json::json;

use super::passing::Passing;
use super::send::{find_repository, present};
use super::view::{print_json, run_json, shown, waiting_text};
use super::{Exit, options, writing};
use crate::admission::own_request;

pub(super) fn run(config: &Config, options: &options::Run) -> anyhow::Result<Exit> {
    let repository = find_repository(config, &options.repository)?;
    let job = repository.job(&options.job).with_context(|| no_such_job(repository, &options.job))?;
    let source = repository.sources.first().with_context(|| format!("{} has no source", repository.name))?;
    let mut ledger = writing::existing_ledger(config)?;
    // Asked now, so that a mistyped ref is an error here and no run.
    let (reference, _) = present(config, repository, options.reference.as_deref())?;
    let by = writing::who();
    let request = own_request(repository, job, &Arc::new(event(repository, reference, &by)));
    let admitted = ledger.start(source, &request, &by, options.allow_older, SystemClock.now())?;
    made(config, &ledger, &Made { run: admitted.run, json: options.json })
}

/// The commit is that which the ref has when the run checks it out.
fn event(repository: &Repository, reference: RefName, by: &str) -> Event {
    Event {
        repository: Some(repository.name.clone()),
        pusher: Person { login: Some(by.to_owned()), ..Person::default() },
        ..Event::of(Kind::Manual, "manual").with_ref(reference)
    }
}

fn no_such_job(repository: &Repository, job: &JobName) -> String {
    let jobs: Vec<&str> = repository.jobs.iter().map(|job| job.name.as_str()).collect();
    format!("there is no job `{job}` in {}; its jobs are: {}", repository.file.display(), jobs.join(", "))
}

/// A run that was made for a person.
pub(super) struct Made {
    pub(super) run: RunId,
    pub(super) json: bool,
}

/// Has a pass start it, and says what became of it: it may have to wait.
pub(super) fn made(config: &Config, ledger: &dyn Ledger, made: &Made) -> anyhow::Result<Exit> {
    let look = || ledger.run(made.run)?.with_context(|| format!("run {} is gone", made.run));
    let mut out = io::stdout().lock();
    if !made.json {
        let run = look()?;
        let cause = run.cause.in_words().unwrap_or_default();
        writeln!(out, "run {}: job {} of {}, {}", run.id, run.job, run.repository, shown(&cause))?;
        out.flush()?;
    }
    let passing = writing::pass(config);
    let run = look()?;
    let waiting = ledger.waiting(&run, SystemClock.now())?;
    if made.json {
        let mut json = run_json(&run);
        json["waiting"] = json!(waiting.as_ref().map(waiting_text));
        print_json(&mut out, &json)?;
    } else {
        writeln!(out, "{}", what_became(&run, waiting.as_ref(), passing.as_ref().ok().copied()))?;
    }
    passing.map(|_| Exit::Success)
}

fn what_became(run: &Run, waiting: Option<&Waiting>, passing: Option<Passing>) -> String {
    match (waiting, passing) {
        // systemd's pass goes on by itself.
        (Some(Waiting::Slot), Some(Passing::Unit)) => format!("it is queued; {} starts it", Passing::Unit.as_str()),
        (Some(waiting), _) => format!("it {}", waiting_text(waiting)),
        (None, _) => {
            let reason = run.reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
            format!("it is {}{reason}", run.state)
        }
    }
}
