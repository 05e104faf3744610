//! The worker's program: as it runs, and as it is installed.
//!
//! An upgrade replaces the file while a run goes on. The kernel keeps the old program for whoever executes it
//! (`/proc/self/exe`); whatever is started next should be the new one, which knows what the new ledger is like.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What the kernel adds to the path of a file that was removed or replaced (proc(5)).
const DELETED: &[u8] = b" (deleted)";

/// The running program itself, whatever became of its file.
const RUNNING: &str = "/proc/self/exe";

/// Where this program was installed when it was started.
#[derive(Debug, Clone)]
pub struct Program {
    path: Option<PathBuf>,
}

impl Program {
    /// This program.
    #[must_use]
    pub fn own() -> Self {
        Self { path: fs::read_link(RUNNING).ok().map(|path| installed(path.into_os_string().into_vec())) }
    }

    /// The file that is installed now, or where there is none, the running program.
    #[must_use]
    pub fn installed(&self) -> PathBuf {
        self.path.clone().filter(|path| path.is_file()).unwrap_or_else(|| Path::new(RUNNING).to_owned())
    }

    /// The same, as another process can execute it while this one lives.
    #[must_use]
    pub fn for_others(&self) -> PathBuf {
        let installed = self.installed();
        if installed == Path::new(RUNNING) { PathBuf::from(format!("/proc/{}/exe", std::process::id())) } else { installed }
    }

    /// The running program, which is there in any case.
    #[must_use]
    pub fn running() -> &'static Path {
        Path::new(RUNNING)
    }
}

fn installed(link: Vec<u8>) -> PathBuf {
    let path = link.strip_suffix(DELETED).unwrap_or(&link);
    // Unless there is a file whose name ends like that.
    let is_named_so = path.len() < link.len() && Path::new(OsStr::from_bytes(&link)).is_file();
    PathBuf::from(OsStr::from_bytes(if is_named_so { &link } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_found_where_it_was_installed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker");
        let link = |suffix: &str| format!("{}{suffix}", path.display()).into_bytes();
        let program = Program { path: Some(installed(link(" (deleted)"))) };
        assert_eq!(program.installed(), Path::new("/proc/self/exe"));
        assert_eq!(fs::read_link(program.for_others()).unwrap(), std::env::current_exe().unwrap());
        fs::write(&path, "the new one").unwrap();
        assert_eq!(program.for_others(), path);
        assert_eq!(program.installed(), path);
        assert_eq!(installed(link("")), path);
        fs::write(folder.path().join("worker (deleted)"), "a strange name").unwrap();
        assert_eq!(installed(link(" (deleted)")), folder.path().join("worker (deleted)"));
    }

    #[test]
    fn this_very_program_is_found() {
        assert_eq!(Program::own().installed(), std::env::current_exe().unwrap());
    }
}
