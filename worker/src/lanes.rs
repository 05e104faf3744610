//! What a newcomer does to another run of its lane, as its job's `on_new` has it.

use hookspool_common::config::{Config, Job, OnNew, Repository};
use hookspool_common::ledger::{Cause, Ledger, LedgerError, Run};

/// The job of a run, with its repository, as root's configuration has them now.
#[must_use]
pub fn job_of<'c>(config: &'c Config, run: &Run) -> Option<(&'c Repository, &'c Job)> {
    let repository = config.repository(&run.source, &run.repository)?;
    repository.job(&run.job).map(|job| (repository, job))
}

/// What `newcomer` does to `other`, which came before it. What is made anew displaces nobody: it is no news.
#[must_use]
pub fn does_to(config: &Config, newcomer: &Run, other: &Run) -> OnNew {
    let is_news = newcomer.id > other.id && !matches!(newcomer.cause, Cause::Rerun { .. } | Cause::Retry { .. });
    let reaches = newcomer.event.reach().covers(newcomer.reference.as_ref(), other.reference.as_ref());
    job_of(config, newcomer).filter(|_| is_news && reaches).map_or(OnNew::Queue, |(_, job)| job.lane.on_new)
}

/// Whether a newer run that waits in its lane takes the place of a run that would be made anew.
///
/// # Errors
/// [`LedgerError`]
pub fn is_displaced(config: &Config, ledger: &dyn Ledger, run: &Run) -> Result<bool, LedgerError> {
    let Some((repository, own)) = job_of(config, run) else { return Ok(false) };
    let shares = |job: &&Job| job.name == own.name || (job.lane.group.is_some() && job.lane.group == own.lane.group);
    // In a lane in which everything waits its turn, a hundred thousand runs may do so.
    if repository.jobs.iter().filter(shares).all(|job| job.lane.on_new == OnNew::Queue) {
        return Ok(false);
    }
    Ok(ledger.queued_in(&run.lane)?.iter().any(|newcomer| does_to(config, newcomer, run) != OnNew::Queue))
}
