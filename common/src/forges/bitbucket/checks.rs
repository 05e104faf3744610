//! What machines found: the statuses of commits.

use serde::Deserialize;

use super::wire::Links;
use crate::event::{Check, Event};
use crate::forges::reading::{Unread, said};
use crate::git_name::Sha;

#[derive(Deserialize)]
struct RawStatus {
    name: Option<String>,
    key: Option<String>,
    state: Option<String>,
    url: Option<String>,
    links: Option<Links>,
}

#[derive(Deserialize)]
pub(super) struct StatusTold {
    commit_status: RawStatus,
}

/// A status is on a commit, which Bitbucket says at the end of an address. Its `refname` may be a branch or a tag, so it
/// is neither here.
pub(super) fn status(told: StatusTold, event: Event) -> Result<Event, Unread> {
    let status = told.commit_status;
    let commit = status.links.and_then(|links| links.commit);
    let sha: Option<Sha> = commit.and_then(|link| link.href.rsplit('/').next()?.parse().ok());
    let name = said(status.name).or(said(status.key));
    let check = Check { action: None, name, status: said(status.state), url: said(status.url) };
    Ok(Event { sha, check: Some(check), ..event })
}
