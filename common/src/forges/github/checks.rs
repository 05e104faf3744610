//! What machines found: `check_run`, `check_suite`, `status` and `workflow_run`.
//!
//! A branch of a fork must never pass for one of the repository, however it is called. For a check, GitHub gives no
//! branch then; a workflow's run names the repository of its head. That the commit is on the branch, the worker asks.

use serde::Deserialize;

use super::wire::Around;
use crate::event::{Check, Event, Pipeline};
use crate::forges::reading::{Unread, said, shape};
use crate::git_name::{RefName, Sha};

/// One of the requests whose head a check is on.
#[derive(Deserialize)]
struct CheckedRequest {
    head: CheckedSide,
    base: CheckedSide,
}

#[derive(Deserialize)]
struct CheckedSide {
    repo: Option<Numbered>,
}

#[derive(Deserialize, PartialEq)]
struct Numbered {
    id: u64,
}

impl CheckedRequest {
    fn is_from_fork(&self) -> bool {
        self.head.repo.is_none() || self.head.repo != self.base.repo
    }
}

#[derive(Deserialize)]
struct App {
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawSuite {
    head_branch: Option<String>,
    head_sha: Option<Sha>,
    status: Option<String>,
    conclusion: Option<String>,
    app: Option<App>,
    pull_requests: Option<Vec<CheckedRequest>>,
}

#[derive(Deserialize)]
pub(super) struct CheckSuiteTold {
    check_suite: RawSuite,
}

/// A suite has the name of the app that made it.
pub(super) fn check_suite(told: CheckSuiteTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let suite = told.check_suite;
    let event = with_branch(event, suite.head_branch, suite.pull_requests.unwrap_or_default())?;
    let check = Check {
        action: Some(around.action()?),
        name: suite.app.and_then(|app| said(app.name)),
        status: said(suite.conclusion).or(said(suite.status)),
        url: None,
    };
    Ok(Event { sha: suite.head_sha, check: Some(check), ..event })
}

#[derive(Deserialize)]
struct RawCheckRun {
    name: Option<String>,
    head_sha: Option<Sha>,
    status: Option<String>,
    conclusion: Option<String>,
    html_url: Option<String>,
    check_suite: Option<RawSuite>,
    pull_requests: Option<Vec<CheckedRequest>>,
}

#[derive(Deserialize)]
pub(super) struct CheckRunTold {
    check_run: RawCheckRun,
}

pub(super) fn check_run(told: CheckRunTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let run = told.check_run;
    let suite = run.check_suite.map(|suite| (suite.head_branch, suite.pull_requests.unwrap_or_default()));
    let (branch, mut requests) = suite.unwrap_or_default();
    requests.extend(run.pull_requests.into_iter().flatten());
    let check = Check {
        action: Some(around.action()?),
        name: said(run.name),
        status: said(run.conclusion).or(said(run.status)),
        url: said(run.html_url),
    };
    Ok(Event { sha: run.head_sha, check: Some(check), ..with_branch(event, branch, requests)? })
}

/// The branch is the repository's own, unless a request says that it is a fork's.
fn with_branch(event: Event, branch: Option<String>, requests: Vec<CheckedRequest>) -> Result<Event, Unread> {
    match said(branch).filter(|_| !requests.iter().any(CheckedRequest::is_from_fork)) {
        Some(branch) => Ok(event.with_ref(RefName::of_branch(&branch).map_err(shape)?)),
        None => Ok(event),
    }
}

#[derive(Deserialize)]
pub(super) struct StatusTold {
    sha: Sha,
    context: Option<String>,
    state: Option<String>,
    target_url: Option<String>,
    branches: Option<Vec<RawBranch>>,
}

#[derive(Deserialize)]
struct RawBranch {
    name: String,
    commit: RawCommit,
}

#[derive(Deserialize)]
struct RawCommit {
    sha: Sha,
}

/// A status is on a commit. It is on a branch only where it is the head of exactly one.
pub(super) fn status(told: StatusTold, _: &Around<'_>, mut event: Event) -> Result<Event, Unread> {
    let listed = told.branches.unwrap_or_default();
    let mut heads = listed.iter().filter(|branch| branch.commit.sha == told.sha);
    if let (Some(only), None) = (heads.next(), heads.next()) {
        event = event.with_ref(RefName::of_branch(&only.name).map_err(shape)?);
    }
    let check = Check { action: None, name: said(told.context), status: said(told.state), url: said(told.target_url) };
    Ok(Event { sha: Some(told.sha), check: Some(check), ..event })
}

#[derive(Deserialize)]
struct RawRepository {
    full_name: Option<String>,
}

#[derive(Deserialize)]
struct RawWorkflowRun {
    id: Option<u64>,
    name: Option<String>,
    head_branch: Option<String>,
    head_sha: Option<Sha>,
    head_repository: Option<RawRepository>,
    status: Option<String>,
    conclusion: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WorkflowRunTold {
    workflow_run: RawWorkflowRun,
}

pub(super) fn workflow_run(told: WorkflowRunTold, around: &Around<'_>, mut event: Event) -> Result<Event, Unread> {
    let run = told.workflow_run;
    let head = run.head_repository.and_then(|repository| repository.full_name);
    let is_ours = head.is_some() && head.as_deref() == around.full_name();
    if let Some(branch) = said(run.head_branch).filter(|_| is_ours) {
        event = event.with_ref(RefName::of_branch(&branch).map_err(shape)?);
    }
    let pipeline = Pipeline {
        action: Some(around.action()?),
        id: run.id,
        name: said(run.name),
        status: said(run.conclusion).or(said(run.status)),
        url: said(run.html_url),
    };
    Ok(Event { sha: run.head_sha, pipeline: Some(pipeline), ..event })
}
