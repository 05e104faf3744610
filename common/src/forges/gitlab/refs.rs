//! Pushes of branches and tags.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::{Project, repository_name};
use crate::event::{Commit, Event, Kind, Person};
use crate::forges::reading::{Unread, commit_id, listed, owned, paths, shape};
use crate::git_name::RefName;

#[derive(Deserialize)]
struct Author<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawCommit<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    author: Option<Author<'a>>,
    #[serde(borrow)]
    added: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    modified: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    removed: Option<Vec<Cow<'a, str>>>,
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
    checkout_sha: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_username: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    project: Project<'a>,
    #[serde(default, borrow, deserialize_with = "listed")]
    commits: Option<Vec<RawCommit<'a>>>,
    total_commits_count: Option<u64>,
}

fn commit(raw: &RawCommit<'_>, all_are_listed: bool) -> Result<Commit, Unread> {
    let author = raw.author.as_ref();
    Ok(Commit {
        sha: commit_id(raw.id.as_ref())?.ok_or_else(|| shape("a commit has no id"))?,
        message: owned(&raw.message).unwrap_or_default(),
        author: Person {
            name: author.and_then(|author| owned(&author.name)),
            login: None,
            email: author.and_then(|author| owned(&author.email)),
        },
        paths: paths([&raw.added, &raw.modified, &raw.removed]).filter(|_| all_are_listed),
    })
}

/// GitLab says a commit's id as zeros where there is none, and lists at most twenty commits; in a system hook, none.
pub(super) fn push(push: Push<'_>, name: &str) -> Result<Event, Unread> {
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
    let all_are_listed = push.total_commits_count.is_none_or(|total| total <= listed.len() as u64);
    let commits = listed.iter().map(|raw| commit(raw, all_are_listed)).collect::<Result<Vec<_>, _>>()?;
    let mut event = Event::of(kind, name).with_ref(reference);
    event.repository = Some(repository_name(&push.project)?);
    // For an annotated tag `after` is the tag object, and `checkout_sha` the commit.
    event.sha = commit_id(push.checkout_sha.as_ref())?.or(after).filter(|_| !kind.is_deletion());
    event.created = Some(before.is_none() && !kind.is_deletion());
    event.before = before;
    event.pusher = Person { name: owned(&push.user_name), login: owned(&push.user_username), email: owned(&push.user_email) };
    event.commits = push.commits.is_some().then_some(commits);
    Ok(event)
}
