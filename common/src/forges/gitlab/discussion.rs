//! What people ask for and say: merge requests, issues, and notes on either, on a commit or on a snippet.

use serde::Deserialize;

use super::wire::{Around, Label, head_of, titles};
use crate::event::{Comment, CommentOn, Event, Issue, PullRequest, Side};
use crate::forges::reading::{Unread, commit, said, shape};
use crate::git_name::{RefName, Sha};

#[derive(Deserialize)]
struct LastCommit {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    iid: u64,
    action: Option<String>,
    source_branch: String,
    target_branch: String,
    source_project_id: Option<u64>,
    target_project_id: Option<u64>,
    last_commit: Option<LastCommit>,
    labels: Option<Vec<Label>>,
}

/// A merge request as an event's: its ref, its commit, and what is known of it.
fn on_request(request: Request, labels: Vec<String>, action: String, event: Event) -> Result<Event, Unread> {
    let branch = |name: &str| RefName::of_branch(name).map_err(shape);
    let sha = commit(request.last_commit.and_then(|commit| commit.id))?;
    let event = event.with_ref(head_of(request.iid)?);
    let request = PullRequest {
        number: request.iid,
        action,
        head: Side { reference: branch(&request.source_branch)?, sha: sha.clone() },
        base: Side { reference: branch(&request.target_branch)?, sha: None },
        labels,
        from_fork: request.source_project_id.zip(request.target_project_id).map(|(source, target)| source != target),
    };
    Ok(Event { sha, pull_request: Some(request), ..event })
}

#[derive(Deserialize)]
pub(super) struct MergeRequestTold {
    object_attributes: Request,
    labels: Option<Vec<Label>>,
}

pub(super) fn merge_request(told: MergeRequestTold, _: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let mut request = told.object_attributes;
    // A test from GitLab's settings has none.
    let action = request.action.take().unwrap_or_default();
    on_request(request, titles(told.labels), action, event)
}

#[derive(Deserialize)]
struct RawIssue {
    iid: u64,
    author_id: Option<u64>,
    title: Option<String>,
    state: Option<String>,
    action: Option<String>,
    labels: Option<Vec<Label>>,
    url: Option<String>,
}

fn as_issue(raw: RawIssue, around: &Around<'_>) -> Issue {
    Issue {
        number: raw.iid,
        action: said(raw.action),
        title: said(raw.title),
        state: said(raw.state),
        state_reason: None,
        labels: titles(raw.labels),
        author: around.user_with(raw.author_id),
        url: said(raw.url),
    }
}

#[derive(Deserialize)]
pub(super) struct IssueTold {
    object_attributes: RawIssue,
}

pub(super) fn issue(told: IssueTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    Ok(Event { issue: Some(as_issue(told.object_attributes, around)), ..event })
}

#[derive(Deserialize)]
struct Note {
    note: String,
    /// Absent before GitLab 16.11.
    action: Option<String>,
    author_id: Option<u64>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct NotedCommit {
    id: Sha,
}

#[derive(Deserialize)]
pub(super) struct NoteTold {
    object_attributes: Note,
    merge_request: Option<Request>,
    issue: Option<RawIssue>,
    commit: Option<NotedCommit>,
}

/// A note on a merge request names the request's own ref, so that it counts as a fork's until GitLab shows otherwise.
pub(super) fn note(told: NoteTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let note = told.object_attributes;
    let action = note.action.unwrap_or_default();
    let comment = |on, number| Comment {
        action: action.clone(),
        on,
        number,
        body: note.note,
        author: around.user_with(note.author_id),
        association: None,
        url: said(note.url),
    };
    Ok(match (told.merge_request, told.issue, told.commit) {
        (Some(mut request), _, _) => {
            let comment = comment(CommentOn::PullRequest, Some(request.iid));
            let labels = titles(request.labels.take());
            Event { comment: Some(comment), ..on_request(request, labels, action.clone(), event)? }
        }
        (None, Some(issue), _) => {
            let comment = comment(CommentOn::Issue, Some(issue.iid));
            Event { comment: Some(comment), issue: Some(Issue { action: None, ..as_issue(issue, around) }), ..event }
        }
        // The commit may be on any branch, or on none.
        (None, None, Some(commit)) => Event { comment: Some(comment(CommentOn::Commit, None)), sha: Some(commit.id), ..event },
        (None, None, None) => Event { comment: Some(comment(CommentOn::Other, None)), ..event },
    })
}
