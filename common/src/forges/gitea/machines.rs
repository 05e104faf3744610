//! What machines found: statuses of commits, and the runs and jobs of workflows.

use serde::Deserialize;

use super::wire::{Account, Around, OwnRepository, author};
use crate::event::{Check, Event, Pipeline};
use crate::forges::reading::{Unread, commit, said, shape};
use crate::git_name::{RefName, Sha};

#[derive(Deserialize)]
pub(super) struct StatusTold {
    sha: Sha,
    context: Option<String>,
    state: Option<String>,
    target_url: Option<String>,
}

/// A status is on a commit, which may be on any branch.
pub(super) fn status(told: StatusTold, _: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let check = Check { action: None, name: said(told.context), status: said(told.state), url: said(told.target_url) };
    Ok(Event { sha: Some(told.sha), check: Some(check), ..event })
}

/// A run, or one job of it. A run for a tag or a pull request has no branch.
#[derive(Deserialize)]
struct RawRun {
    id: Option<u64>,
    name: Option<String>,
    head_branch: Option<String>,
    head_sha: Option<String>,
    status: Option<String>,
    conclusion: Option<String>,
    html_url: Option<String>,
}

impl RawRun {
    fn at_its_commit(&mut self, mut event: Event) -> Result<Event, Unread> {
        if let Some(branch) = said(self.head_branch.take()) {
            event = event.with_ref(RefName::of_branch(&branch).map_err(shape)?);
        }
        Ok(Event { sha: commit(self.head_sha.take())?, ..event })
    }
}

#[derive(Deserialize)]
struct Workflow {
    name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WorkflowRunTold {
    workflow: Option<Workflow>,
    workflow_run: RawRun,
}

pub(super) fn workflow_run(told: WorkflowRunTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let mut run = told.workflow_run;
    let event = run.at_its_commit(event)?;
    let pipeline = Pipeline {
        action: Some(around.action()?),
        id: run.id,
        name: told.workflow.and_then(|workflow| said(workflow.name)),
        status: said(run.conclusion).or(said(run.status)),
        url: said(run.html_url),
    };
    Ok(Event { pipeline: Some(pipeline), ..event })
}

#[derive(Deserialize)]
pub(super) struct WorkflowJobTold {
    workflow_job: RawRun,
}

pub(super) fn workflow_job(told: WorkflowJobTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let mut job = told.workflow_job;
    let event = job.at_its_commit(event)?;
    let check = Check {
        action: Some(around.action()?),
        name: said(job.name),
        status: said(job.conclusion).or(said(job.status)),
        url: said(job.html_url),
    };
    Ok(Event { check: Some(check), ..event })
}

#[derive(Deserialize)]
struct ForgejosRun {
    id: Option<u64>,
    repository: OwnRepository,
    workflow_id: Option<String>,
    trigger_user: Option<Account>,
    commit_sha: Option<Sha>,
    status: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ActionRunTold {
    run: ForgejosRun,
}

/// Forgejo's word for a run that ended. Its `prettyref` may be a branch, a tag or a number, so it is none of them here.
pub(super) fn action_run(told: ActionRunTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let run = told.run;
    let pipeline = Pipeline {
        action: Some(around.action()?),
        id: run.id,
        name: said(run.workflow_id),
        status: said(run.status),
        url: said(run.html_url),
    };
    let repository = Some(run.repository.name()?);
    Ok(Event { repository, sha: run.commit_sha, pusher: author(run.trigger_user), pipeline: Some(pipeline), ..event })
}
