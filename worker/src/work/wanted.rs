//! Whether a run's job still wants it: asked right before anything is done, and once more where the commits tell of it.

use anyhow::Context;
use hookspool_common::config::{Config, Job, Repository};
use hookspool_common::ledger::{Cause, Run};
use hookspool_common::matching::why_not;

use crate::admission::why_not_any_more;
use crate::folders::Folders;
use crate::reconcile::commits;

/// The job as root's configuration has it now, or why the run must not go on.
pub(super) fn find_job<'c>(config: &'c Config, run: &Run) -> Result<(&'c Repository, &'c Job), String> {
    let repository = config.repository(&run.source, &run.repository);
    let repository = repository
        .ok_or_else(|| format!("{} is not in the configuration of source `{}` any more", run.repository, run.source))?;
    let job =
        repository.job(&run.job).ok_or_else(|| format!("job `{}` is not in {} any more", run.job, repository.file.display()))?;
    match why_not_any_more(repository, job, run) {
        None => Ok((repository, job)),
        Some(why) => Err(format!("the event does not match any more: {why}")),
    }
}

/// Why a run that was found on the forge is not wanted, now that the mirror has its commits.
///
/// # Errors
/// When git cannot be started.
pub(super) fn why_not_after_all(
    folders: &Folders,
    repository: &Repository,
    job: &Job,
    run: &mut Run,
) -> anyhow::Result<Option<String>> {
    if run.cause != Cause::Reconcile {
        return Ok(None);
    }
    commits::complete(&folders.mirror(&repository.name), &mut run.event).context("cannot start git")?;
    Ok(why_not(repository, job, &run.event).map(|why| format!("the event does not match: {why}")))
}
