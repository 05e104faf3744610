//! What happened to a repository itself: nothing to run, but sometimes a new name that the configuration does not know.

use serde::Deserialize;

use super::wire::HOST;
use crate::event::Event;
use crate::forges::reading::{Unread, moved, shape};

#[derive(Deserialize)]
struct Change {
    old: Option<String>,
    new: Option<String>,
}

#[derive(Deserialize)]
struct Changes {
    full_name: Option<Change>,
}

#[derive(Deserialize)]
pub(super) struct Updated {
    changes: Option<Changes>,
}

/// Says what to change where the repository has another name now.
pub(super) fn updated(told: Updated) -> Result<Vec<Event>, Unread> {
    let change = told.changes.and_then(|changes| changes.full_name).and_then(|name| name.old.zip(name.new));
    Err(match change {
        Some((former, now)) if former != now => moved(&format!("{HOST}/{former}"), &format!("{HOST}/{now}")),
        _ => Unread::Other("a repository of which something other than its name was changed starts nothing".to_owned()),
    })
}

#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Transferred {
    repository: Repository,
}

/// The same where only the new name is told.
pub(super) fn transferred(told: Transferred) -> Result<Vec<Event>, Unread> {
    let now = told.repository.full_name.ok_or_else(|| shape("the repository has no full_name"))?;
    Err(Unread::Other(format!(
        "a repository has a new owner and is {HOST}/{now} now; change `repository` where repositories/*.toml says its former name"
    )))
}
