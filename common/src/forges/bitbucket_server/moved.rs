//! A repository that was changed itself: nothing to run, but sometimes a new name that the configuration does not know.

use serde::Deserialize;

use crate::event::Event;
use crate::forges::reading::{Unread, moved};

#[derive(Deserialize)]
struct Project {
    key: String,
}

#[derive(Deserialize)]
struct Repository {
    slug: String,
    project: Project,
}

impl Repository {
    /// As it is written in the clone addresses, which such a delivery lacks.
    fn name(&self) -> String {
        format!("{}/{}", self.project.key, self.slug).to_lowercase()
    }
}

#[derive(Deserialize)]
pub(super) struct Modified {
    old: Repository,
    new: Repository,
}

/// Says what to change where the repository has another name now.
pub(super) fn modified(told: Modified) -> Result<Vec<Event>, Unread> {
    let (former, now) = (told.old.name(), told.new.name());
    Err(match former == now {
        true => Unread::Other("a repository of which something other than its name was changed starts nothing".to_owned()),
        false => moved(&former, &now),
    })
}
