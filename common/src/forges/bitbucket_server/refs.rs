//! Pushes, and mirrors that have them now too: every ref that changed.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::{Actor, Repository, person, repository_name};
use crate::event::{Event, Kind};
use crate::forges::reading::{Unread, commit_id, few_enough, listed, shape};
use crate::git_name::RefName;

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(rename = "refId", borrow)]
    ref_id: Cow<'a, str>,
    #[serde(rename = "fromHash", borrow)]
    from_hash: Option<Cow<'a, str>>,
    #[serde(rename = "toHash", borrow)]
    to_hash: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Push<'a> {
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
    #[serde(borrow)]
    repository: Repository<'a>,
    #[serde(borrow, deserialize_with = "listed")]
    changes: Option<Vec<Change<'a>>>,
}

/// What a mirror says when it has caught up.
#[derive(Deserialize)]
pub(super) struct Synchronized {
    #[serde(rename = "refLimitExceeded")]
    ref_limit_exceeded: Option<bool>,
}

/// Bitbucket lists no ref where too many changed.
pub(super) fn lists_its_refs(told: Synchronized) -> Result<(), Unread> {
    match told.ref_limit_exceeded {
        Some(true) => Err(Unread::Other("a mirror synchronized more refs than Bitbucket lists, so none is known".to_owned())),
        _ => Ok(()),
    }
}

/// One event for each ref that the push changed. The newest commits that it lists may be of any of these, so none is
/// taken for any.
pub(super) fn refs_changed(push: Push<'_>, name: &str) -> Result<Vec<Event>, Unread> {
    let repository = repository_name(&push.repository)?;
    let pusher = person(push.actor.as_ref());
    let read = |change: &Change<'_>| -> Result<Option<Event>, Unread> {
        let reference: RefName = change.ref_id.parse().map_err(shape)?;
        let (before, after) = (commit_id(change.from_hash.as_ref())?, commit_id(change.to_hash.as_ref())?);
        let deleted = change.kind.as_deref() == Some("DELETE") || after.is_none();
        let kind = match (reference.branch(), reference.tag(), deleted) {
            (Some(_), _, false) => Kind::Push,
            (Some(_), _, true) => Kind::BranchDeleted,
            (_, Some(_), false) => Kind::Tag,
            (_, Some(_), true) => Kind::TagDeleted,
            _ => return Ok(None),
        };
        let mut event = Event::of(kind, name).with_ref(reference);
        event.repository = Some(repository.clone());
        event.sha = after.filter(|_| !deleted);
        event.created = Some(before.is_none() && !deleted);
        event.before = before;
        event.pusher = pusher.clone();
        Ok(Some(event))
    };
    let changes = push.changes.ok_or_else(|| shape("the push has no changes"))?;
    few_enough(changes.len())?;
    changes.iter().filter_map(|change| read(change).transpose()).collect()
}
