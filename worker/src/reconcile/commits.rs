//! What refs do not show of a push that was found on the forge: what its last commit says and which paths changed. The
//! runner reads that from the mirror, so that `[skip ci]` and `paths` count as for a push that was told of.

use std::io;
use std::path::Path;

use hookspool_common::event::{Commit, Event, Kind, Person};
use hookspool_common::git_name::Sha;

use crate::git;

/// Most paths that are looked at. Of more, nothing is known, as of a delivery that does not list them all.
const MAX_PATHS: usize = 10_000;

/// Puts into the event what the mirror knows of its commit, which is there.
///
/// # Errors
/// When git cannot be started.
pub(crate) fn complete(mirror: &Path, event: &mut Event) -> io::Result<()> {
    let Some(sha) = event.sha.clone().filter(|_| event.kind == Kind::Push) else { return Ok(()) };
    let (is_there, message) = git::ask(mirror, &["log", "-1", "--format=%B", sha.as_str()])?;
    if !is_there {
        return Ok(());
    }
    let paths = event.before.as_ref().map(|before| changed(mirror, before, &sha)).transpose()?.flatten();
    event.commits = Some(vec![Commit { sha, message, author: Person::default(), paths }]);
    Ok(())
}

/// The paths that differ between two commits, if both are there and they are not too many.
fn changed(mirror: &Path, before: &Sha, now: &Sha) -> io::Result<Option<Vec<String>>> {
    let names = ["diff", "--name-only", "--no-renames", "-z", before.as_str(), now.as_str(), "--"];
    let (are_there, said) = git::ask(mirror, &names)?;
    let paths: Vec<String> = said.split('\0').filter(|path| !path.is_empty()).take(MAX_PATHS + 1).map(str::to_owned).collect();
    Ok(Some(paths).filter(|paths| are_there && paths.len() <= MAX_PATHS))
}
