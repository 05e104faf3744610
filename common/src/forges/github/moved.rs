//! `repository`: nothing to run, but a new name that the configuration does not know yet.

use serde::Deserialize;

use super::wire::{Account, Around};
use crate::event::Event;
use crate::forges::reading::{Unread, shape};
use crate::repository_name::RepositoryName;

#[derive(Deserialize)]
pub(super) struct RepositoryTold {
    changes: Option<Changes>,
}

#[derive(Deserialize)]
struct Changes {
    repository: Option<RenamedRepository>,
    owner: Option<ChangedOwner>,
}

#[derive(Deserialize)]
struct RenamedRepository {
    name: ChangedName,
}

#[derive(Deserialize)]
struct ChangedName {
    from: String,
}

#[derive(Deserialize)]
struct ChangedOwner {
    from: FormerOwner,
}

#[derive(Deserialize)]
struct FormerOwner {
    user: Option<Account>,
    organization: Option<Account>,
}

/// Says what to change where the repository has another name now.
pub(super) fn repository(told: RepositoryTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let action = around.action()?;
    let now = event.repository.ok_or_else(|| shape("there is no `repository`"))?;
    Err(match told.changes.and_then(|changes| former_name(changes, &now)) {
        None => Unread::Other(format!("a `repository` that was {action} starts nothing")),
        Some(former) => Unread::Other(format!(
            "{former} was {action} and is {now} now; write `repository = \"{now}\"` where repositories/*.toml says {former}"
        )),
    })
}

/// The name that the repository had: another last part, or another owner.
fn former_name(changes: Changes, now: &RepositoryName) -> Option<String> {
    let (before, name) = now.as_str().rsplit_once('/')?;
    if let Some(renamed) = changes.repository {
        return Some(format!("{before}/{}", renamed.name.from));
    }
    let from = changes.owner?.from;
    let owner = from.user.or(from.organization)?.login?;
    let (host, _) = before.rsplit_once('/')?;
    Some(format!("{host}/{owner}/{name}"))
}
