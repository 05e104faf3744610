//! `hookspool run JOB`: any job by hand, whatever its `when` says.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Context;
use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::{Config, Repository};
use hookspool_common::event::{Event, Kind, Person};
use hookspool_common::git_name::RefName;
use hookspool_common::ledger::Ledger;
use hookspool_common::names::{JobName, RunId};

use super::send::{find_repository, present};
use super::view::{print_json, run_json};
use super::{Exit, options, writing};
use crate::admission::own_request;

pub(super) fn run(config: &Config, options: &options::Run) -> anyhow::Result<Exit> {
    let repository = find_repository(config, &options.repository)?;
    let name: JobName = options.job.parse()?;
    let job = repository.job(&name).with_context(|| no_such_job(repository, &name))?;
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

/// Has it started, and says so.
pub(super) fn made(config: &Config, ledger: &dyn Ledger, made: &Made) -> anyhow::Result<Exit> {
    let run = ledger.run(made.run)?.with_context(|| format!("run {} is gone", made.run))?;
    let mut out = io::stdout().lock();
    if made.json {
        print_json(&mut out, &run_json(&run))?;
    } else {
        let cause = run.cause.in_words().unwrap_or_default();
        writeln!(out, "run {}: job {} of {}, {cause}", run.id, run.job, run.repository)?;
    }
    let passing = writing::pass(config)?;
    if !made.json {
        writeln!(out, "started by {}", passing.as_str())?;
    }
    Ok(Exit::Success)
}
