//! Workspaces that stay after their run, for a person to look at: `kept/N`, which nobody but root can enter.
//!
//! Only the checked-out files and what the steps made of them stay. The run's home, its temporary folder and its files with
//! secrets go with the run.

use std::fs;
use std::io;
use std::path::PathBuf;

use hookspool_common::config::{Job, Keep};
use hookspool_common::ledger::Outcome;
use hookspool_common::names::RunId;

use crate::folders::{Folders, make_folder};

/// So many stay, whatever their age; the oldest go first.
pub const MAX_KEPT: usize = 50;

/// Where the workspace of a run lies, if it stayed and this process may see it.
#[must_use]
pub fn path(folders: &Folders, run: RunId) -> Option<PathBuf> {
    Some(folders.kept().join(run.to_string())).filter(|path| path.exists())
}

/// Whether a job's workspace is to stay after such an end. Where nothing was checked out, there is nothing to see.
#[must_use]
pub fn is_wanted(job: &Job, outcome: &Outcome) -> bool {
    match (job.workspace.keep, outcome) {
        (Keep::Never, _) | (_, Outcome::Refused(_)) => false,
        (Keep::OnFailure, outcome) => *outcome != Outcome::Succeeded,
        (Keep::Always, _) => true,
    }
}

/// Takes the workspace of a run that is over out of its folder, and gives its new place; `None` where the run has none.
/// When it was done before, by somebody who died then, nothing is left to do.
///
/// # Errors
/// What the system said.
pub fn keep(folders: &Folders, run: RunId) -> io::Result<Option<PathBuf>> {
    let place = folders.kept().join(run.to_string());
    make_folder(&folders.kept(), 0o700)?;
    match fs::rename(folders.work(run).join("src"), &place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path(folders, run)),
        other => other.map(|()| Some(place)),
    }
}
