//! Forward only: a job does not deploy what is older than what it deployed last, however late a delivery comes.

use std::path::Path;

use hookspool_common::config::Job;
use hookspool_common::ledger::{Ledger, ProcessResult, Run, RunState, StepRecord};

use crate::git;

/// Whether a commit may be deployed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// It may.
    Yes,
    /// It may, because it cannot be told whether it is older; the run's log says so.
    Unknown(String),
    /// It is older.
    No(String),
}

/// Whether `run`, whose commit is known, goes forward. To be asked when the mirror has been fetched and before any step.
///
/// # Errors
/// When ledger or mirror cannot be asked.
pub(crate) fn forward(ledger: &dyn Ledger, mirror: &Path, job: &Job, run: &Run) -> anyhow::Result<Forward> {
    if !job.deploys() || !job.forward_only || run.allow_older || run.event.kind.is_deletion() {
        return Ok(Forward::Yes);
    }
    let last = ledger.last_deployed(&run.repository, &run.job, run.reference.as_ref())?;
    let Some((new, last)) = run.sha.as_ref().zip(last).filter(|(new, last)| **new != last.sha) else { return Ok(Forward::Yes) };
    let (is_there, _) = git::ask(mirror, &["cat-file", "-e", &format!("{}^{{commit}}", last.sha)])?;
    if !is_there {
        let why = format!("commit {}, which run {} deployed, is not in the repository any more", last.sha.short(), last.run);
        return Ok(Forward::Unknown(why));
    }
    let (is_older, _) = git::ask(mirror, &["merge-base", "--is-ancestor", new.as_str(), last.sha.as_str()])?;
    if !is_older {
        return Ok(Forward::Yes);
    }
    Ok(Forward::No(format!("commit {} is older than {}, which run {} deployed", new.short(), last.sha.short(), last.run)))
}

/// Whether a run was refused because it would have gone back. Nothing else refuses what was checked out.
pub(crate) fn has_refused(state: RunState, steps: &[StepRecord]) -> bool {
    let is_checked_out = |step: &StepRecord| step.result.as_ref().is_some_and(ProcessResult::is_success);
    state == RunState::Refused && steps.first().is_some_and(is_checked_out)
}
