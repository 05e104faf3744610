//! What people ask for and say: pull requests, issues, and comments on either or on a commit.
//!
//! Bitbucket says what was done only in the event's name.

use serde::Deserialize;

use super::wire::{Account, Links, author, page};
use crate::event::{Comment, CommentOn, Event, Issue, PullRequest, Side};
use crate::forges::reading::{Unread, said, shape};
use crate::git_name::{RefName, Sha};

/// The action in an event's name: `created` of `pullrequest:comment_created`, where it is about a `comment_`.
fn action(event: &Event, about: &str) -> String {
    let name = event.provider_event.split_once(':').map_or("", |(_, action)| action);
    name.strip_prefix(about).unwrap_or(name).to_owned()
}

#[derive(Deserialize)]
struct Branch {
    name: String,
}

#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
}

#[derive(Deserialize)]
struct RawCommit {
    hash: Option<String>,
}

#[derive(Deserialize)]
struct End {
    branch: Branch,
    commit: Option<RawCommit>,
    repository: Option<Repository>,
}

impl End {
    /// Commits of requests are cut short, and then unknown.
    fn side(&self) -> Result<Side, Unread> {
        let sha: Option<Sha> = self.commit.as_ref().and_then(|commit| commit.hash.as_ref()?.parse().ok());
        Ok(Side { reference: RefName::of_branch(&self.branch.name).map_err(shape)?, sha })
    }

    fn repository(&self) -> Option<&str> {
        self.repository.as_ref()?.full_name.as_deref()
    }
}

#[derive(Deserialize)]
struct RawRequest {
    id: u64,
    source: End,
    destination: End,
}

/// Bitbucket Cloud keeps no ref for a pull request. So the ref is the branch that the request is to merge, and there is
/// none where that is a fork's.
fn on_request(request: &RawRequest, action: String, event: Event) -> Result<Event, Unread> {
    let head = request.source.side()?;
    let from_fork = request.destination.repository().map(|base| request.source.repository() != Some(base));
    let sha = head.sha.clone();
    let event = if from_fork == Some(false) { event.with_ref(head.reference.clone()) } else { event };
    let base = request.destination.side()?;
    let request = PullRequest { number: request.id, action, head, base, labels: Vec::new(), from_fork };
    Ok(Event { sha, pull_request: Some(request), ..event })
}

#[derive(Deserialize)]
pub(super) struct PullRequestTold {
    pullrequest: RawRequest,
}

pub(super) fn pull_request(told: PullRequestTold, event: Event) -> Result<Event, Unread> {
    on_request(&told.pullrequest, action(&event, ""), event)
}

#[derive(Deserialize)]
struct Content {
    raw: Option<String>,
}

#[derive(Deserialize)]
struct RawComment {
    content: Option<Content>,
    user: Option<Account>,
    links: Option<Links>,
}

impl RawComment {
    fn on(self, on: CommentOn, number: Option<u64>, action: String) -> Comment {
        Comment {
            action,
            on,
            number,
            body: self.content.and_then(|content| content.raw).unwrap_or_default(),
            author: author(self.user),
            association: None,
            url: page(self.links),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RequestCommentTold {
    pullrequest: RawRequest,
    comment: RawComment,
}

pub(super) fn request_comment(told: RequestCommentTold, event: Event) -> Result<Event, Unread> {
    let action = action(&event, "comment_");
    let comment = told.comment.on(CommentOn::PullRequest, Some(told.pullrequest.id), action.clone());
    Ok(Event { comment: Some(comment), ..on_request(&told.pullrequest, action, event)? })
}

#[derive(Deserialize)]
pub(super) struct CommitCommentTold {
    commit: RawCommit,
    comment: RawComment,
}

/// The commit may be on any branch, or on none.
pub(super) fn commit_comment(told: CommitCommentTold, event: Event) -> Result<Event, Unread> {
    let sha = told.commit.hash.and_then(|hash| hash.parse().ok());
    let comment = told.comment.on(CommentOn::Commit, None, action(&event, "commit_comment_"));
    Ok(Event { sha, comment: Some(comment), ..event })
}

#[derive(Deserialize)]
struct RawIssue {
    id: u64,
    title: Option<String>,
    state: Option<String>,
    reporter: Option<Account>,
    links: Option<Links>,
}

fn as_issue(raw: RawIssue, action: Option<String>) -> Issue {
    Issue {
        number: raw.id,
        action,
        title: said(raw.title),
        state: said(raw.state),
        state_reason: None,
        labels: Vec::new(),
        author: author(raw.reporter),
        url: page(raw.links),
    }
}

#[derive(Deserialize)]
pub(super) struct IssueTold {
    issue: RawIssue,
}

pub(super) fn issue(told: IssueTold, event: Event) -> Result<Event, Unread> {
    Ok(Event { issue: Some(as_issue(told.issue, Some(action(&event, "")))), ..event })
}

#[derive(Deserialize)]
pub(super) struct IssueCommentTold {
    issue: RawIssue,
    comment: RawComment,
}

pub(super) fn issue_comment(told: IssueCommentTold, event: Event) -> Result<Event, Unread> {
    let comment = told.comment.on(CommentOn::Issue, Some(told.issue.id), action(&event, "comment_"));
    Ok(Event { comment: Some(comment), issue: Some(as_issue(told.issue, None)), ..event })
}
