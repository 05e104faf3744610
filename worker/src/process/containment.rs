//! A cgroup (v2) for one run, where this process may make one: nothing that runs in it can leave it, so killing it
//! leaves nothing behind, however a process hides.
//!
//! Only root has one. Anyone else relies on being a child subreaper and on marked environments.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use hookspool_common::names::RunId;

/// The folder below the cgroup mount that holds the runs' groups.
const PARENT: &str = "hookspool";

/// How often a group is looked at until it is empty.
const ROUNDS: usize = 200;

/// One run's cgroup.
#[derive(Debug)]
pub struct Containment {
    folder: PathBuf,
}

/// Where the unified hierarchy is mounted, from `/proc/self/mountinfo`.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let unified = mounts.lines().find(|line| line.split_once(" - ").is_some_and(|(_, after)| after.starts_with("cgroup2 ")))?;
    unified.split(' ').nth(4).map(PathBuf::from)
}

/// A run's number is not enough: several installations may share a machine.
fn folder(state: &Path, run: RunId) -> Option<PathBuf> {
    if !geteuid().is_root() {
        return None;
    }
    let installation: String = state.to_string_lossy().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Some(mount()?.join(PARENT).join(format!("{}-run-{run}", installation.trim_matches('-'))))
}

impl Containment {
    /// Makes the run's group, or `None` where that cannot be.
    #[must_use]
    pub fn make(state: &Path, run: RunId) -> Option<Self> {
        let folder = folder(state, run)?;
        fs::create_dir_all(&folder).ok()?;
        Some(Self { folder })
    }

    /// The group that an earlier process made for the run, if there is one.
    #[must_use]
    pub fn left_by(state: &Path, run: RunId) -> Option<Self> {
        folder(state, run).filter(|folder| folder.is_dir()).map(|folder| Self { folder })
    }

    /// Through this descriptor a child joins the group, before it gives up the right to.
    ///
    /// # Errors
    /// When the group is gone.
    pub(super) fn admission(&self) -> io::Result<OwnedFd> {
        File::options().write(true).open(self.folder.join("cgroup.procs")).map(Into::into)
    }

    fn members(&self) -> Vec<Pid> {
        let procs = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|line| line.parse().ok().map(Pid::from_raw)).collect()
    }

    /// Whether nothing runs in it.
    pub(super) fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// Kills everything in it.
    pub(super) fn kill(&self) {
        // Since Linux 5.14 in one step; before, member by member.
        if fs::write(self.folder.join("cgroup.kill"), "1").is_err() {
            for member in self.members() {
                let _ = kill(member, Signal::SIGKILL);
            }
        }
    }

    /// Kills everything in it and removes it.
    pub fn end(self) {
        for _ in 0..ROUNDS {
            self.kill();
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::yield_now(),
                _ => return,
            }
        }
        tracing::error!(cgroup = %self.folder.display(), "a run's cgroup holds processes that do not die");
    }
}
