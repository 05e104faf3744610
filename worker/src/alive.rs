//! A runner's lock. Whether a runner lives is asked of the kernel, never guessed by a clock: the lock is free exactly
//! when no process holds it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use hookspool_common::names::RunId;

use crate::folders::Folders;

/// "I am the one who may change this run." Held by its runner, or by a pass after the runner died.
#[derive(Debug)]
pub struct Alive {
    run: RunId,
    file: File,
}

impl Alive {
    /// Takes the lock, or `None` when another process holds it.
    ///
    /// # Errors
    /// What the system said.
    pub fn take(folders: &Folders, run: RunId) -> io::Result<Option<Self>> {
        let taken = Self::take_over(folders, run)?;
        // For whoever wants to signal the holder; it counts only while the lock is held.
        taken.as_ref().map_or(Ok(()), |taken| writeln!(&taken.file, "{}", std::process::id()))?;
        Ok(taken)
    }

    /// The same for a pass, whom nobody may signal because of this run: it looks after all of them.
    ///
    /// # Errors
    /// What the system said.
    pub fn take_over(folders: &Folders, run: RunId) -> io::Result<Option<Self>> {
        let folder = folders.run(run);
        fs::create_dir_all(&folder)?;
        let Some(file) = try_lock(&folder.join("alive"))? else { return Ok(None) };
        file.set_len(0)?;
        Ok(Some(Self { run, file }))
    }

    /// The run that the lock is for.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }
}

/// An exclusive lock (flock(2)) on a file that is made where it is absent. It ends with the process; children do not
/// inherit it, because every descriptor here is closed on exec.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().append(true).create(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookspool_common::config::Paths;

    #[test]
    fn the_lock_is_held_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let folders = Folders::new(&Paths { spool: at("spool"), state: at("state"), logs: at("logs") });
        let held = Alive::take(&folders, RunId::new(7)).unwrap().unwrap();
        assert!(Alive::take(&folders, RunId::new(7)).unwrap().is_none());
        assert!(Alive::take(&folders, RunId::new(8)).unwrap().is_some());
        let pid = || fs::read_to_string(folders.run(RunId::new(7)).join("alive")).unwrap();
        assert_eq!(pid().trim(), std::process::id().to_string());
        drop(held);
        assert!(Alive::take_over(&folders, RunId::new(7)).unwrap().is_some());
        assert_eq!(pid(), "", "nobody may signal a pass because of one run");
    }
}
