//! System hooks, which an administrator sets up for a whole instance: how they call what project hooks tell as well,
//! and what they tell beside it.

use serde::Deserialize;

use crate::event::Event;
use crate::forges::reading::{Unread, moved, said, shape};
use crate::headers::Headers;
use crate::repository_name::RepositoryName;

/// The header that says which GitLab it was.
pub(super) const INSTANCE_HEADER: &str = "x-gitlab-instance";

/// What the header says of every system hook.
pub(super) const EVENT: &str = "System Hook";

/// A system hook's own name of its event.
#[derive(Deserialize)]
pub(super) struct Named {
    object_kind: Option<String>,
    event_name: Option<String>,
}

/// The header that the same event has in a project's webhook; what only system hooks tell keeps its name.
pub(super) fn name(named: Named) -> String {
    let name = said(named.object_kind).or(said(named.event_name)).unwrap_or_default();
    let of_project = match name.as_str() {
        "push" => "Push Hook",
        "tag_push" => "Tag Push Hook",
        "merge_request" => "Merge Request Hook",
        "issue" | "work_item" => "Issue Hook",
        "note" => "Note Hook",
        "pipeline" => "Pipeline Hook",
        "build" => "Job Hook",
        "deployment" => "Deployment Hook",
        "release" => "Release Hook",
        _ => return format!("{EVENT} {name}"),
    };
    of_project.to_owned()
}

/// What a system hook tells beside what project hooks tell: nothing to run, but sometimes something to do.
#[derive(Deserialize)]
pub(super) struct Told {
    event_name: Option<String>,
    object_kind: Option<String>,
    path_with_namespace: Option<String>,
    old_path_with_namespace: Option<String>,
    full_path: Option<String>,
    old_full_path: Option<String>,
    username: Option<String>,
    old_username: Option<String>,
}

/// A reason why it starts nothing.
pub(super) fn reason(told: Told, headers: &Headers) -> Result<Vec<Event>, Unread> {
    let event =
        said(told.event_name).or(said(told.object_kind)).ok_or_else(|| shape("there is no `object_kind` and no `event_name`"))?;
    let (now, former) = match event.as_str() {
        "repository_update" => {
            let why = "`repository_update` names no commit of its own; choose push and tag push events for the system hook";
            return Err(Unread::Other(why.to_owned()));
        }
        "project_rename" | "project_transfer" => (told.path_with_namespace, told.old_path_with_namespace),
        "group_rename" => (told.full_path, told.old_full_path),
        "user_rename" => (told.username, told.old_username),
        _ => return Err(Unread::Other(format!("GitLab's system hook `{event}` starts nothing in Hookspool"))),
    };
    let absent = || shape("it does not say both the old and the new name");
    Err(moved(&with_host(&former.ok_or_else(absent)?, headers), &with_host(&now.ok_or_else(absent)?, headers)))
}

/// The path with the host of this GitLab before it, where GitLab says that.
fn with_host(path: &str, headers: &Headers) -> String {
    let instance = headers.one(INSTANCE_HEADER).ok().flatten();
    let whole: Option<RepositoryName> = instance.and_then(|instance| format!("{instance}/{path}").parse().ok());
    whole.map_or_else(|| path.to_owned(), String::from)
}
