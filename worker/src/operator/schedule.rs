//! `hookspool schedule`: the jobs that run by a schedule, their next times, and what came of the last.

use std::io::{self, Write};

use hookspool_common::clock::{Clock, Instant};
use hookspool_common::config::{Config, Job, Repository, Scheduled};
use hookspool_common::ledger::{Ledger, Run};
use hookspool_common::schedule::Zone;
use serde_json::{Value, json};

use super::view::{print_columns, print_json, run_json, second};
use super::{Exit, options, stored};
use crate::schedules::{scheduled_jobs, zone_of};

/// One job, and what is to be said of it.
struct Shown<'a> {
    repository: &'a Repository,
    job: &'a Job,
    scheduled: &'a Scheduled,
    zone: Zone,
    next: Vec<Instant>,
    last: Option<Run>,
}

pub(super) fn schedule(config: &Config, options: &options::Schedule, clock: &dyn Clock) -> anyhow::Result<Exit> {
    // The times stand in the configuration, which more people may read than the ledger.
    let ledger = stored::ledger(config).unwrap_or_else(|error| {
        eprintln!("hookspool: the last runs are not shown: {error:#}");
        None
    });
    let show =
        |(repository, job, scheduled)| shown(repository, job, scheduled, ledger.as_deref(), options.count.get(), clock.now());
    let jobs = scheduled_jobs(config).map(show).collect::<anyhow::Result<Vec<_>>>()?;
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &Value::Array(jobs.iter().map(json_of).collect()))?;
    } else if jobs.is_empty() {
        writeln!(out, "no job has a `schedule`")?;
    } else {
        let heading = ["REPOSITORY", "JOB", "SCHEDULE", "TIMEZONE", "NEXT", "IN UTC", "LAST RUN"].map(str::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(heading).chain(jobs.iter().flat_map(rows_of)).collect();
        print_columns(&mut out, &rows)?;
    }
    Ok(Exit::Success)
}

fn shown<'a>(
    repository: &'a Repository,
    job: &'a Job,
    scheduled: &'a Scheduled,
    ledger: Option<&dyn Ledger>,
    count: usize,
    now: Instant,
) -> anyhow::Result<Shown<'a>> {
    let zone = zone_of(scheduled)?;
    let next_after = |instant: &Instant| scheduled.schedule.next_after(*instant, &zone);
    let next = std::iter::successors(next_after(&now), next_after).take(count).collect();
    let last = ledger.map(|ledger| ledger.last_scheduled(&repository.name, &job.name)).transpose()?.flatten();
    Ok(Shown { repository, job, scheduled, zone, next, last })
}

fn json_of(shown: &Shown<'_>) -> Value {
    let time = |at: &Instant| json!({ "local": shown.zone.show(*at), "utc": second(*at) });
    json!({
        "repository": shown.repository.name,
        "job": shown.job.name,
        "schedule": shown.scheduled.schedule.as_str(),
        "timezone": shown.zone.as_str(),
        "catch_up": shown.scheduled.catch_up,
        "next": shown.next.iter().map(time).collect::<Vec<_>>(),
        "last_run": shown.last.as_ref().map(run_json),
    })
}

/// A row for each time; what is the same for all stands in the first.
fn rows_of(shown: &Shown<'_>) -> Vec<Vec<String>> {
    let last = shown.last.as_ref().map_or_else(|| "-".to_owned(), |run| format!("run {}: {}", run.id, run.state));
    let mut rows: Vec<Vec<String>> = shown
        .next
        .iter()
        .map(|at| vec![String::new(), String::new(), String::new(), String::new(), shown.zone.show(*at), second(*at)])
        .collect();
    if rows.is_empty() {
        rows.push(vec![String::new(), String::new(), String::new(), String::new(), "never again".to_owned(), "-".to_owned()]);
    }
    let (repository, job) = (shown.repository.name.to_string(), shown.job.name.to_string());
    rows[0].splice(..4, [repository, job, shown.scheduled.schedule.to_string(), shown.zone.to_string()]);
    rows[0].push(last);
    rows
}
