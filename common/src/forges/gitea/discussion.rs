//! What people ask for and say: pull requests, reviews, issues, and comments.
//!
//! What is said on a pull request names the request's own ref, so that it counts as a fork's until the forge shows
//! otherwise.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wire::{Account, Around, OwnRepository, author, head_of};
use crate::event::{Comment, CommentOn, Event, Issue, PullRequest, Side};
use crate::forges::reading::{Unread, commit, said, shape};
use crate::git_name::RefName;

#[derive(Deserialize)]
struct RawSide {
    #[serde(rename = "ref")]
    reference: String,
    sha: Option<String>,
    repo: Option<OwnRepository>,
}

#[derive(Deserialize)]
struct Label {
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawRequest {
    head: Option<RawSide>,
    base: Option<RawSide>,
    labels: Option<Vec<Label>>,
    /// These four are what Gogs says in place of both sides.
    head_branch: Option<String>,
    head_repo: Option<OwnRepository>,
    base_branch: Option<String>,
    base_repo: Option<OwnRepository>,
}

fn names(labels: Option<Vec<Label>>) -> Vec<String> {
    labels.into_iter().flatten().filter_map(|label| said(label.name)).collect()
}

/// One side, and the whole name of its repository; that of a fork may be gone.
fn side(raw: Option<RawSide>, branch: Option<String>, repo: Option<OwnRepository>) -> Result<(Side, Option<String>), Unread> {
    let (name, sha, repo) = match (raw, branch) {
        (Some(raw), _) => (raw.reference, raw.sha, raw.repo),
        (None, Some(branch)) => (branch, None, repo),
        (None, None) => return Err(shape("the request lacks its head or base")),
    };
    // When the branch is gone, `ref` is the pull request's own.
    let reference = if name.starts_with("refs/") { name.parse() } else { RefName::of_branch(&name) };
    Ok((Side { reference: reference.map_err(shape)?, sha: commit(sha)? }, repo.and_then(|repo| said(repo.full_name))))
}

/// The event at the request's ref, with what is known of the request.
fn on_request(request: RawRequest, number: u64, action: String, event: Event) -> Result<Event, Unread> {
    let (head, head_repository) = side(request.head, request.head_branch, request.head_repo)?;
    let (base, base_repository) = side(request.base, request.base_branch, request.base_repo)?;
    let from_fork = base_repository.map(|base| head_repository != Some(base));
    let sha = head.sha.clone();
    let request = PullRequest { number, action, head, base, labels: names(request.labels), from_fork };
    Ok(Event { sha, pull_request: Some(request), ..event.with_ref(head_of(number)?) })
}

#[derive(Deserialize)]
pub(super) struct PullRequestTold {
    number: u64,
    pull_request: RawRequest,
}

/// Of a review, only the event's name says how it ended.
pub(super) fn pull_request(told: PullRequestTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let action = match event.provider_event.as_str() {
        "pull_request_approved" => "approved".to_owned(),
        "pull_request_rejected" => "rejected".to_owned(),
        _ => around.action()?,
    };
    on_request(told.pull_request, told.number, action, event)
}

#[derive(Deserialize)]
struct Review {
    content: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ReviewTold {
    number: u64,
    pull_request: RawRequest,
    review: Review,
}

/// A review that says something and decides nothing.
pub(super) fn review(told: ReviewTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let comment = Comment {
        action: around.action()?,
        on: CommentOn::PullRequest,
        number: Some(told.number),
        body: told.review.content.unwrap_or_default(),
        author: event.pusher.clone(),
        association: None,
        url: None,
    };
    Ok(Event { comment: Some(comment), ..on_request(told.pull_request, told.number, around.action()?, event)? })
}

#[derive(Deserialize)]
struct RawIssue {
    number: u64,
    title: Option<String>,
    state: Option<String>,
    labels: Option<Vec<Label>>,
    user: Option<Account>,
    html_url: Option<String>,
    /// There when the issue is a pull request.
    pull_request: Option<IgnoredAny>,
}

fn as_issue(raw: RawIssue, action: Option<String>) -> Issue {
    Issue {
        number: raw.number,
        action,
        title: said(raw.title),
        state: said(raw.state),
        state_reason: None,
        labels: names(raw.labels),
        author: author(raw.user),
        url: said(raw.html_url),
    }
}

#[derive(Deserialize)]
pub(super) struct IssueTold {
    issue: RawIssue,
}

pub(super) fn issue(told: IssueTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    Ok(Event { issue: Some(as_issue(told.issue, Some(around.action()?))), ..event })
}

#[derive(Deserialize)]
struct RawComment {
    body: String,
    user: Option<Account>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CommentTold {
    issue: RawIssue,
    comment: RawComment,
    is_pull: Option<bool>,
    /// The request itself, which only newer versions give.
    pull_request: Option<RawRequest>,
}

pub(super) fn comment(told: CommentTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let number = told.issue.number;
    let is_request = told.is_pull == Some(true) || told.issue.pull_request.is_some();
    let comment = Comment {
        action: around.action()?,
        on: if is_request { CommentOn::PullRequest } else { CommentOn::Issue },
        number: Some(number),
        body: told.comment.body,
        author: author(told.comment.user),
        association: None,
        url: said(told.comment.html_url),
    };
    let event = match told.pull_request {
        Some(request) if is_request => on_request(request, number, around.action()?, event)?,
        _ if is_request => event.with_ref(head_of(number)?),
        _ => event,
    };
    Ok(Event { comment: Some(comment), issue: Some(as_issue(told.issue, None)), ..event })
}
