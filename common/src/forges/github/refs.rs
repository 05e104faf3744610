//! What moves a branch or tag: `push`, `create`, `delete` and `merge_group`. A push is by far the most of all
//! deliveries, so it is read into borrowed text.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::{Around, Repository, User, person, repository_name};
use crate::event::{Commit, Event, Kind, Person};
use crate::forges::reading::{Unread, commit_id, listed, owned, paths, shape};
use crate::git_name::{RefName, Sha};

/// GitHub lists at most this many commits in a push; a list this long may have been cut off.
const MAX_LISTED_COMMITS: usize = 2048;

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
    created: Option<bool>,
    #[serde(default)]
    deleted: bool,
    forced: Option<bool>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    pusher: Option<User<'a>>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
    #[serde(default, borrow, deserialize_with = "listed")]
    commits: Option<Vec<RawCommit<'a>>>,
    #[serde(borrow)]
    head_commit: Option<RawCommit<'a>>,
}

#[derive(Deserialize)]
pub(super) struct CreateOrDelete<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    ref_type: Cow<'a, str>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow)]
    sender: Option<User<'a>>,
}

pub(super) fn push(push: Push<'_>) -> Result<Event, Unread> {
    let reference: RefName = push.reference.parse().map_err(shape)?;
    let kind = match (reference.branch(), reference.tag(), push.deleted) {
        (Some(_), _, false) => Kind::Push,
        (Some(_), _, true) => Kind::BranchDeleted,
        (_, Some(_), false) => Kind::Tag,
        (_, Some(_), true) => Kind::TagDeleted,
        _ => return Err(Unread::Other(format!("a push to `{reference}`, which is neither a branch nor a tag, starts nothing"))),
    };
    let after = commit_id(push.after.as_ref())?;
    // For an annotated tag `after` is the tag object; the commit is the head commit.
    let tagged = push.head_commit.as_ref().filter(|_| kind == Kind::Tag).and_then(|head| head.id.as_ref());
    let sha = commit_id(tagged)?.or(after);
    if sha.is_none() && !kind.is_deletion() {
        return Err(shape("a push that deletes nothing has no `after`"));
    }
    let commits = match &push.commits {
        Some(listed) if listed.len() < MAX_LISTED_COMMITS => Some(listed.iter().map(commit).collect::<Result<Vec<_>, _>>()?),
        _ => None,
    };
    let mut event = Event::of(kind, "push").with_ref(reference);
    event.repository = Some(repository_name(&push.repository)?);
    event.sha = sha.filter(|_| !kind.is_deletion());
    event.before = commit_id(push.before.as_ref())?;
    event.created = push.created;
    event.forced = push.forced;
    event.pusher = person(push.pusher.as_ref(), push.sender.as_ref());
    event.commits = commits;
    Ok(event)
}

pub(super) fn create_or_delete(delivery: CreateOrDelete<'_>, created: bool) -> Result<Event, Unread> {
    // Here `ref` is the short name, and GitHub does not say the commit.
    let (kind, reference) = match (delivery.ref_type.as_ref(), created) {
        ("branch", true) => (Kind::BranchCreated, RefName::of_branch(&delivery.reference)),
        ("branch", false) => (Kind::BranchDeleted, RefName::of_branch(&delivery.reference)),
        ("tag", true) => (Kind::Tag, RefName::of_tag(&delivery.reference)),
        ("tag", false) => (Kind::TagDeleted, RefName::of_tag(&delivery.reference)),
        (other, _) => {
            return Err(Unread::Other(format!(
                "a `{}` of a {other:?} starts nothing",
                if created { "create" } else { "delete" }
            )));
        }
    };
    let mut event = Event::of(kind, if created { "create" } else { "delete" }).with_ref(reference.map_err(shape)?);
    event.repository = Some(repository_name(&delivery.repository)?);
    event.created = Some(created);
    event.pusher = person(None, delivery.sender.as_ref());
    Ok(event)
}

fn commit(raw: &RawCommit<'_>) -> Result<Commit, Unread> {
    let author = raw.author.as_ref();
    Ok(Commit {
        sha: commit_id(raw.id.as_ref())?.ok_or_else(|| shape("a commit has no id"))?,
        message: owned(&raw.message).unwrap_or_default(),
        author: Person {
            name: author.and_then(|user| owned(&user.name)),
            login: author.and_then(|user| owned(&user.username)),
            email: author.and_then(|user| owned(&user.email)),
        },
        paths: paths([&raw.added, &raw.removed, &raw.modified]),
    })
}

#[derive(Deserialize)]
pub(super) struct MergeGroupTold {
    merge_group: MergeGroup,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct MergeGroup {
    head_ref: RefName,
    head_sha: Sha,
    base_sha: Sha,
}

/// GitHub makes a branch for each group that it queues. It tells of that as a push too, which is then the same run.
pub(super) fn merge_group(told: MergeGroupTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let (group, action) = (told.merge_group, around.action()?);
    if action != "checks_requested" {
        let why = told.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        return Err(Unread::Other(format!("the merge group of {} is {action}{why}, which starts nothing", group.head_ref)));
    }
    let (sha, before) = (Some(group.head_sha), Some(group.base_sha));
    Ok(Event { sha, before, created: Some(true), ..event.with_ref(group.head_ref) })
}
