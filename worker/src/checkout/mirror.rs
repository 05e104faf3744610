//! A repository's mirror: bare, the worker's own, fetched whole under a lock, and asked.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use hookspool_common::ledger::ProcessResult;

use super::{Checkout, Tools};
use crate::alive::try_lock;
use crate::folders::make_folder;
use crate::git::{self, Remote};
use crate::process::Supervisor;

/// What a mirror's HEAD names, and nobody ever makes: git-lfs obeys the `.lfsconfig` of the HEAD of a bare repository, with
/// all that it includes. Nothing else asks for a mirror's HEAD.
const NO_HEAD: &str = "refs/hookspool/none";

/// How often it is looked whether another run has let a mirror go.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One fetch into a mirror at a time: waits for its lock, or returns `None` when this process is asked to end meanwhile.
pub(super) fn lock_mirror(supervisor: &mut Supervisor, mirror: &Path) -> anyhow::Result<Option<File>> {
    loop {
        if let Some(lock) = try_lock_mirror(mirror)? {
            return Ok(Some(lock));
        }
        if supervisor.is_cancelled_within(LOOK_AGAIN) {
            return Ok(None);
        }
    }
}

/// The mirror's lock, unless another process holds it. Lock files that git left there when it was killed are nobody's then.
pub(crate) fn try_lock_mirror(mirror: &Path) -> anyhow::Result<Option<File>> {
    let lock = mirror.with_extension("lock");
    let take = || -> io::Result<Option<File>> {
        make_folder(lock.parent().unwrap_or(Path::new("/")), 0o700)?;
        let Some(file) = try_lock(&lock)? else { return Ok(None) };
        // When a mirror was last of use.
        file.set_modified(SystemTime::now())?;
        remove_stale_locks(mirror)?;
        Ok(Some(file))
    };
    take().with_context(|| format!("cannot lock the mirror {}", mirror.display()))
}

/// No ref's name ends in `.lock` (git-check-ref-format(1)).
pub(super) fn remove_stale_locks(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "objects" {
                remove_stale_locks(&entry.path())?;
            }
        } else if entry.path().extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The mirror becomes what the forge has now: all branches and tags, and none that are gone.
pub(super) fn fetch(tools: &mut Tools<'_>, mirror: &Path, remote: &Remote) -> Result<(), Checkout> {
    let failed = |error: io::Error| Checkout::Failed(ProcessResult::NotStarted(format!("{}: {error}", mirror.display())));
    make_folder(mirror, 0o700).map_err(failed)?;
    if !mirror.join("HEAD").exists() {
        tools.git(mirror, None, None, &["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."])?;
    }
    if fs::read_to_string(mirror.join("HEAD")).map_err(failed)? != format!("ref: {NO_HEAD}\n") {
        tools.git(mirror, None, None, &["symbolic-ref", "HEAD", NO_HEAD])?;
    }
    let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
    let options =
        ["fetch", "--quiet", "--prune", "--no-tags", "--force", "--no-write-fetch-head", "--no-recurse-submodules", "--"];
    let arguments: Vec<&str> = options.into_iter().chain([remote.address.as_str()]).chain(refs).collect();
    tools.git(mirror, Some(remote), None, &arguments)
}

/// Asks the mirror; a mirror that cannot be asked is a failure, not a "no".
pub(super) fn ask(mirror: &Path, arguments: &[&str]) -> Result<(bool, String), Checkout> {
    git::ask(mirror, arguments).map_err(|error| Checkout::Failed(ProcessResult::NotStarted(format!("git: {error}"))))
}
