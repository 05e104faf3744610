//! Pushes: every ref that one changed.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::{Actor, Repository, person, repository_name};
use crate::event::{Commit, Event, Kind, Person};
use crate::forges::reading::{Unread, author, commit_id, few_enough, listed, owned, shape};
use crate::git_name::RefName;
use crate::repository_name::RepositoryName;

#[derive(Deserialize)]
struct RawAuthor<'a> {
    #[serde(borrow)]
    raw: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    hash: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    author: Option<RawAuthor<'a>>,
}

#[derive(Deserialize)]
struct Tip<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    target: Option<Target<'a>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    new: Option<Tip<'a>>,
    #[serde(borrow)]
    old: Option<Tip<'a>>,
    created: Option<bool>,
    forced: Option<bool>,
    truncated: Option<bool>,
    #[serde(default, borrow, deserialize_with = "listed")]
    commits: Option<Vec<Target<'a>>>,
}

#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow, deserialize_with = "listed")]
    changes: Option<Vec<Change<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct Push<'a> {
    #[serde(borrow)]
    push: Changes<'a>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
}

/// One event for each ref that the push changed.
pub(super) fn push(push: Push<'_>) -> Result<Vec<Event>, Unread> {
    let repository = repository_name(&push.repository)?;
    let pusher = person(push.actor.as_ref());
    let changes = push.push.changes.ok_or_else(|| shape("the push has no changes"))?;
    few_enough(changes.len())?;
    changes.iter().filter_map(|change| read_change(change, &repository, &pusher).transpose()).collect()
}

/// `None` for what is neither branch nor tag, such as Mercurial's bookmarks of old.
fn read_change(change: &Change<'_>, repository: &RepositoryName, pusher: &Person) -> Result<Option<Event>, Unread> {
    let tip = change.new.as_ref().or(change.old.as_ref()).ok_or_else(|| shape("a change has neither `new` nor `old`"))?;
    let (kind, reference) = match (tip.kind.as_ref(), change.new.is_some()) {
        ("branch" | "named_branch", true) => (Kind::Push, RefName::of_branch(&tip.name)),
        ("branch" | "named_branch", false) => (Kind::BranchDeleted, RefName::of_branch(&tip.name)),
        ("tag" | "annotated_tag", true) => (Kind::Tag, RefName::of_tag(&tip.name)),
        ("tag" | "annotated_tag", false) => (Kind::TagDeleted, RefName::of_tag(&tip.name)),
        _ => return Ok(None),
    };
    let hash_of = |tip: &Option<Tip<'_>>| {
        commit_id(tip.as_ref().and_then(|tip| tip.target.as_ref()).and_then(|target| target.hash.as_ref()))
    };
    // Bitbucket lists no paths, and at most five commits.
    let listed = change.commits.as_ref().filter(|_| change.truncated != Some(true));
    let commits = listed.map(|commits| commits.iter().rev().map(commit).collect::<Result<Vec<_>, _>>()).transpose()?;
    let mut event = Event::of(kind, "repo:push").with_ref(reference.map_err(shape)?);
    event.repository = Some(repository.clone());
    event.sha = hash_of(&change.new)?;
    event.before = hash_of(&change.old)?;
    event.created = change.created;
    event.forced = change.forced;
    event.pusher = pusher.clone();
    event.commits = commits;
    Ok(Some(event))
}

fn commit(target: &Target<'_>) -> Result<Commit, Unread> {
    let raw_author = target.author.as_ref().and_then(|author| author.raw.as_deref());
    Ok(Commit {
        sha: commit_id(target.hash.as_ref())?.ok_or_else(|| shape("a commit has no hash"))?,
        message: owned(&target.message).unwrap_or_default(),
        author: raw_author.map(author).unwrap_or_default(),
        paths: None,
    })
}
