//! Jobs whose time has come.
//!
//! A pass comes every minute, and looks at what became due since it last found something due. What it finds is one run,
//! however many times were missed. The mark and the run are one transaction, so a crash between them repeats nothing.

use std::sync::Arc;

use hookspool_common::clock::Instant;
use hookspool_common::config::{Config, Job, Repository, Scheduled};
use hookspool_common::event::{Event, Kind};
use hookspool_common::ledger::{Ledger, ScheduleLook, ScheduleState};
use hookspool_common::schedule::Zone;

use crate::admission::own_request;

/// How late a pass may be and still count as on time: one may have waited for a mail server. What was due before that was
/// missed, and only `catch_up` makes up for it.
const GRACE_MILLIS: i64 = 10 * 60 * 1000;

/// A mark that lies further ahead than this was made by a clock that was wrong; then the schedule begins anew. One that lies
/// ahead by less counts: the clock was set back, and what it shows again has been.
const WRONG_CLOCK_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// What a look at the clock finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing to write down.
    Nothing,
    /// The schedule is new here, or another than before: it counts from now on.
    Beginning,
    /// It is time.
    Due(Instant),
    /// It was time at this instant, and nobody was there.
    Missed(Instant),
}

/// Makes a run of each job whose time has come. Whether there was any.
///
/// # Errors
/// When the ledger cannot be used; then nothing was made, and the next pass finds the same.
pub fn queue_due(config: &Config, ledger: &mut dyn Ledger, now: Instant) -> anyhow::Result<bool> {
    let known = ledger.schedules()?;
    let mut looks = Vec::new();
    for (repository, job, scheduled) in scheduled_jobs(config) {
        let known = known.iter().find(|state| state.repository == repository.name && state.job == job.name);
        match zone_of(scheduled) {
            Ok(zone) => looks.extend(look(repository, job, scheduled, &zone, known, now)),
            Err(error) => tracing::error!(repository = %repository.name, job = %job.name, "no run by schedule: {error}"),
        }
    }
    let is_gone = |state: &&ScheduleState| {
        !scheduled_jobs(config).any(|(repository, job, _)| state.repository == repository.name && state.job == job.name)
    };
    let gone: Vec<ScheduleState> = known.iter().filter(is_gone).cloned().collect();
    if looks.is_empty() && gone.is_empty() {
        return Ok(false);
    }
    let runs = ledger.look_at_schedules(&looks, &gone, now)?;
    for run in &runs {
        tracing::info!(%run, "queued by schedule");
    }
    Ok(!runs.is_empty())
}

/// Every job that runs by a schedule.
pub(crate) fn scheduled_jobs(config: &Config) -> impl Iterator<Item = (&Repository, &Job, &Scheduled)> {
    let jobs = config.repositories.iter().flat_map(|repository| repository.jobs.iter().map(move |job| (repository, job)));
    jobs.filter_map(|(repository, job)| job.scheduled.as_ref().map(|scheduled| (repository, job, scheduled)))
}

/// By which clock a job runs.
pub(crate) fn zone_of(scheduled: &Scheduled) -> anyhow::Result<Zone> {
    Ok(scheduled.zone.clone().map_or_else(Zone::of_machine, Ok)?)
}

fn look(
    repository: &Repository,
    job: &Job,
    scheduled: &Scheduled,
    zone: &Zone,
    known: Option<&ScheduleState>,
    now: Instant,
) -> Option<ScheduleLook> {
    let schedule = format!("{} {zone}", scheduled.schedule);
    let source = repository.sources.first()?.clone();
    let (name, job_name) = (&repository.name, &job.name);
    let is_due = match find(scheduled, zone, &schedule, known, now) {
        Found::Nothing => return None,
        Found::Beginning => false,
        Found::Due(_) => true,
        Found::Missed(at) => {
            let (at, catch_up) = (zone.show(at), scheduled.catch_up);
            tracing::warn!(repository = %name, job = %job_name, %at, catch_up, "a scheduled time was missed");
            catch_up
        }
    };
    let after = ScheduleState { repository: name.clone(), job: job_name.clone(), schedule, looked_until: now };
    let event = || Arc::new(Event { repository: Some(name.clone()), ..Event::of(Kind::Schedule, "schedule") });
    let due = is_due.then(|| own_request(repository, job, &event()));
    Some(ScheduleLook { before: known.cloned(), after, source, due })
}

fn find(scheduled: &Scheduled, zone: &Zone, schedule: &str, known: Option<&ScheduleState>, now: Instant) -> Found {
    let Some(known) = known.filter(|known| known.schedule == schedule) else { return Found::Beginning };
    let looked_until = known.looked_until;
    if looked_until > now.plus_millis(WRONG_CLOCK_MILLIS) {
        return Found::Beginning;
    }
    let first_after = |instant| scheduled.schedule.next_after(instant, zone).filter(|due| *due <= now);
    let Some(first) = first_after(looked_until) else { return Found::Nothing };
    match first_after(looked_until.max(now.plus_millis(-GRACE_MILLIS))) {
        Some(due) => Found::Due(due),
        None => Found::Missed(first),
    }
}

#[cfg(test)]
mod tests;
