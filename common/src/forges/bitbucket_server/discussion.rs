//! What people ask for and say: pull requests, and comments on them or on a commit.
//!
//! What is said on a pull request names the request's own ref, so that it counts as a fork's until the forge shows
//! otherwise.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::{Actor, Repository, person, repository_name};
use crate::event::{Comment, CommentOn, Event, Kind, PullRequest, Side};
use crate::forges::reading::{Unread, commit_id, shape};

/// What the names of the events of comments begin with.
const COMMENT: &str = "comment:";

#[derive(Deserialize)]
struct End<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "latestCommit", borrow)]
    latest_commit: Option<Cow<'a, str>>,
    #[serde(borrow)]
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct RawPullRequest<'a> {
    id: u64,
    #[serde(rename = "fromRef", borrow)]
    from: End<'a>,
    #[serde(rename = "toRef", borrow)]
    to: End<'a>,
}

#[derive(Deserialize)]
pub(super) struct PullRequestTold<'a> {
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
    #[serde(rename = "pullRequest", borrow)]
    pull_request: RawPullRequest<'a>,
    /// There where somebody commented on it.
    #[serde(borrow)]
    comment: Option<RawComment<'a>>,
}

#[derive(Deserialize)]
struct RawComment<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    author: Option<Actor<'a>>,
}

impl RawComment<'_> {
    fn on(&self, on: CommentOn, number: Option<u64>, action: &str) -> Comment {
        Comment {
            action: action.to_owned(),
            on,
            number,
            body: self.text.as_deref().unwrap_or_default().to_owned(),
            author: person(self.author.as_ref()),
            association: None,
            url: None,
        }
    }
}

/// A request that somebody opened, changed or closed, or commented on.
pub(super) fn pull_request(told: PullRequestTold<'_>, action: &str, name: &str) -> Result<Event, Unread> {
    let request = &told.pull_request;
    let side = |end: &End<'_>| -> Result<Side, Unread> {
        Ok(Side { reference: end.id.parse().map_err(shape)?, sha: commit_id(end.latest_commit.as_ref())? })
    };
    let (kind, action) = match action.strip_prefix(COMMENT) {
        Some(action) => (Kind::Comment, action),
        None => (Kind::PullRequest, action),
    };
    let head = side(&request.from)?;
    let reference = format!("refs/pull-requests/{}/from", request.id).parse().map_err(shape)?;
    let mut event = Event::of(kind, name).with_ref(reference);
    event.repository = Some(repository_name(&request.to.repository)?);
    event.sha.clone_from(&head.sha);
    event.pusher = person(told.actor.as_ref());
    if kind == Kind::Comment {
        let comment = told.comment.as_ref().ok_or_else(|| shape("there is no `comment`"))?;
        event.comment = Some(comment.on(CommentOn::PullRequest, Some(request.id), action));
    }
    event.pull_request = Some(PullRequest {
        number: request.id,
        action: action.to_owned(),
        head,
        base: side(&request.to)?,
        labels: Vec::new(),
        from_fork: request.from.repository.id.zip(request.to.repository.id).map(|(from, to)| from != to),
    });
    Ok(event)
}

#[derive(Deserialize)]
pub(super) struct CommitCommentTold<'a> {
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    commit: Option<Cow<'a, str>>,
    #[serde(borrow)]
    comment: RawComment<'a>,
}

/// The commit may be on any branch, or on none.
pub(super) fn commit_comment(told: CommitCommentTold<'_>, name: &str) -> Result<Event, Unread> {
    let action = name.rsplit(':').next().unwrap_or_default();
    let mut event = Event::of(Kind::Comment, name);
    event.repository = Some(repository_name(&told.repository)?);
    event.sha = commit_id(told.commit.as_ref())?;
    event.pusher = person(told.actor.as_ref());
    event.comment = Some(told.comment.on(CommentOn::Commit, None, action));
    Ok(event)
}
