//! What people ask for and say: `pull_request`, `issues`, and comments on either or on a commit.
//!
//! What is said on a pull request names the request's own ref, so that it counts as a fork's until the forge shows
//! otherwise.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wire::{Account, Around, author};
use crate::event::{Comment, CommentOn, Event, Issue, PullRequest, Side};
use crate::forges::reading::{Unread, said, shape};
use crate::git_name::{RefName, Sha};

#[derive(Deserialize)]
struct RawRepository {
    full_name: Option<String>,
}

#[derive(Deserialize)]
struct RawSide {
    #[serde(rename = "ref")]
    reference: String,
    sha: Option<Sha>,
    repo: Option<RawRepository>,
}

#[derive(Deserialize)]
struct Label {
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawRequest {
    number: Option<u64>,
    head: RawSide,
    base: RawSide,
    labels: Option<Vec<Label>>,
}

#[derive(Deserialize)]
pub(super) struct PullRequestTold {
    number: Option<u64>,
    pull_request: RawRequest,
}

pub(super) fn pull_request(told: PullRequestTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let number = told.number.or(told.pull_request.number).ok_or_else(|| shape("the request has no number"))?;
    let head = told.pull_request.head.sha.clone().ok_or_else(|| shape("the head has no sha"))?;
    let request = request(number, around.action()?, told.pull_request)?;
    Ok(Event { sha: Some(head), pull_request: Some(request), ..event.with_ref(head_of(number)?) })
}

fn request(number: u64, action: String, raw: RawRequest) -> Result<PullRequest, Unread> {
    let from_fork = from_fork(&raw);
    let side = |raw: RawSide| Ok(Side { reference: RefName::of_branch(&raw.reference).map_err(shape)?, sha: raw.sha });
    Ok(PullRequest { number, action, head: side(raw.head)?, base: side(raw.base)?, labels: names(raw.labels), from_fork })
}

/// Whether the changes come from another repository. A head without repository is one whose fork was deleted.
fn from_fork(request: &RawRequest) -> Option<bool> {
    let base = request.base.repo.as_ref()?.full_name.as_deref()?;
    Some(request.head.repo.as_ref().and_then(|repo| repo.full_name.as_deref()) != Some(base))
}

/// The ref under which GitHub keeps a request's head.
fn head_of(number: u64) -> Result<RefName, Unread> {
    format!("refs/pull/{number}/head").parse().map_err(shape)
}

fn names(labels: Option<Vec<Label>>) -> Vec<String> {
    labels.into_iter().flatten().filter_map(|label| said(label.name)).collect()
}

#[derive(Deserialize)]
struct RawIssue {
    number: u64,
    title: Option<String>,
    state: Option<String>,
    state_reason: Option<String>,
    labels: Option<Vec<Label>>,
    user: Option<Account>,
    html_url: Option<String>,
    /// There when the issue is a pull request.
    pull_request: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct IssueTold {
    issue: RawIssue,
}

pub(super) fn issue(told: IssueTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    Ok(Event { issue: Some(as_issue(told.issue, Some(around.action()?))), ..event })
}

fn as_issue(raw: RawIssue, action: Option<String>) -> Issue {
    Issue {
        number: raw.number,
        action,
        title: said(raw.title),
        state: said(raw.state),
        state_reason: said(raw.state_reason),
        labels: names(raw.labels),
        author: author(raw.user),
        url: said(raw.html_url),
    }
}

/// A comment, or a review, which is one without or with text.
#[derive(Deserialize)]
struct RawComment {
    body: Option<String>,
    user: Option<Account>,
    author_association: Option<String>,
    html_url: Option<String>,
    commit_id: Option<Sha>,
}

impl RawComment {
    fn on(self, on: CommentOn, number: Option<u64>, action: String) -> Comment {
        Comment {
            action,
            on,
            number,
            body: self.body.unwrap_or_default(),
            author: author(self.user),
            association: said(self.author_association),
            url: said(self.html_url),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct IssueCommentTold {
    issue: RawIssue,
    comment: RawComment,
}

/// GitHub calls this an issue's, but most of them are on pull requests.
pub(super) fn issue_comment(told: IssueCommentTold, around: &Around<'_>, mut event: Event) -> Result<Event, Unread> {
    let number = told.issue.number;
    let is_request = told.issue.pull_request.is_some();
    if is_request {
        event = event.with_ref(head_of(number)?);
    }
    let on = if is_request { CommentOn::PullRequest } else { CommentOn::Issue };
    let comment = told.comment.on(on, Some(number), around.action()?);
    Ok(Event { comment: Some(comment), issue: Some(as_issue(told.issue, None)), ..event })
}

#[derive(Deserialize)]
pub(super) struct CommitCommentTold {
    comment: RawComment,
}

/// The commit may be on any branch, or on none.
pub(super) fn commit_comment(mut told: CommitCommentTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let sha = told.comment.commit_id.take();
    Ok(Event { sha, comment: Some(told.comment.on(CommentOn::Commit, None, around.action()?)), ..event })
}

#[derive(Deserialize)]
pub(super) struct ReviewTold {
    #[serde(alias = "review")]
    comment: RawComment,
    pull_request: RawRequest,
}

/// The commit is the one that was looked at, not the head, which may have moved on since.
pub(super) fn review(mut told: ReviewTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let number = told.pull_request.number.ok_or_else(|| shape("the request has no number"))?;
    let sha = told.comment.commit_id.take();
    let comment = told.comment.on(CommentOn::PullRequest, Some(number), around.action()?);
    let request = request(number, around.action()?, told.pull_request)?;
    Ok(Event { sha, comment: Some(comment), pull_request: Some(request), ..event.with_ref(head_of(number)?) })
}
