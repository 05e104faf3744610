//! Pushes, and branches and tags that were made or deleted.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::{Repository, User, person, repository_name};
use crate::event::{Commit, Event, Kind};
use crate::forges::reading::{Unread, commit_id, listed, owned, paths, shape};
use crate::git_name::RefName;

#[derive(Deserialize)]
struct RawCommit<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    author: Option<User<'a>>,
    #[serde(borrow)]
    added: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    removed: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    modified: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
pub(super) struct Push<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    before: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Option<Cow<'a, str>>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    pusher: Option<User<'a>>,
    #[serde(default, borrow, deserialize_with = "listed")]
    commits: Option<Vec<RawCommit<'a>>>,
    #[serde(borrow)]
    head_commit: Option<RawCommit<'a>>,
    total_commits: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct CreateOrDelete<'a> {
    #[serde(borrow)]
    sha: Option<Cow<'a, str>>,
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    ref_type: Cow<'a, str>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
}

fn commit(raw: &RawCommit<'_>, all_are_listed: bool) -> Result<Commit, Unread> {
    Ok(Commit {
        sha: commit_id(raw.id.as_ref())?.ok_or_else(|| shape("a commit has no id"))?,
        message: owned(&raw.message).unwrap_or_default(),
        author: person(raw.author.as_ref()),
        paths: paths([&raw.added, &raw.removed, &raw.modified]).filter(|_| all_are_listed),
    })
}

/// What is absent is zeros: `before` of a ref that is new, `after` of one that is gone. The newest commit comes first.
pub(super) fn push(push: Push<'_>) -> Result<Event, Unread> {
    let reference: RefName = push.reference.parse().map_err(shape)?;
    let (before, after) = (commit_id(push.before.as_ref())?, commit_id(push.after.as_ref())?);
    let kind = match (reference.branch(), reference.tag(), &after) {
        (Some(_), _, Some(_)) => Kind::Push,
        (Some(_), _, None) => Kind::BranchDeleted,
        (_, Some(_), Some(_)) => Kind::Tag,
        (_, Some(_), None) => Kind::TagDeleted,
        _ => return Err(Unread::Other(format!("a push to `{reference}`, which is neither a branch nor a tag, starts nothing"))),
    };
    let listed = push.commits.as_deref().unwrap_or_default();
    let all_are_listed = push.total_commits.is_none_or(|total| total <= listed.len() as u64);
    let commits = listed.iter().rev().map(|raw| commit(raw, all_are_listed)).collect::<Result<Vec<_>, _>>()?;
    let tagged = push.head_commit.as_ref().filter(|_| kind == Kind::Tag).and_then(|head| head.id.as_ref());
    let mut event = Event::of(kind, "push").with_ref(reference);
    event.repository = Some(repository_name(&push.repository)?);
    event.sha = commit_id(tagged)?.or(after);
    event.created = Some(before.is_none() && !kind.is_deletion());
    event.before = before;
    event.pusher = person(push.pusher.as_ref());
    event.commits = push.commits.is_some().then_some(commits);
    Ok(event)
}

pub(super) fn create_or_delete(delivery: CreateOrDelete<'_>, created: bool) -> Result<Event, Unread> {
    // The short name in some versions, the full one in others.
    let name = delivery.reference.as_ref();
    let reference = match delivery.ref_type.as_ref() {
        "branch" => RefName::of_branch(name.strip_prefix("refs/heads/").unwrap_or(name)),
        "tag" => RefName::of_tag(name.strip_prefix("refs/tags/").unwrap_or(name)),
        other => return Err(Unread::Other(format!("a {other:?} that is made or deleted starts nothing"))),
    };
    let reference = reference.map_err(shape)?;
    let kind = match (reference.tag().is_some(), created) {
        (false, true) => Kind::BranchCreated,
        (false, false) => Kind::BranchDeleted,
        (true, true) => Kind::Tag,
        (true, false) => Kind::TagDeleted,
    };
    let mut event = Event::of(kind, if created { "create" } else { "delete" }).with_ref(reference);
    event.repository = Some(repository_name(&delivery.repository)?);
    event.sha = commit_id(delivery.sha.as_ref())?.filter(|_| created);
    event.created = Some(created);
    event.pusher = person(delivery.sender.as_ref());
    Ok(event)
}
