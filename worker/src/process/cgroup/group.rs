//! One group: a folder, whose `cgroup.procs` lists and takes members.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Version;

/// How often a group is looked at until it is empty.
const ROUNDS: usize = 200;

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::process) struct Group {
    folder: PathBuf,
    version: Version,
}

impl Group {
    /// Makes the group, or takes the one that is there.
    pub(in crate::process) fn make(folder: PathBuf, version: Version) -> io::Result<Self> {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Self { folder, version }),
        }
    }

    /// The group at this place, if there is one.
    pub(in crate::process) fn at(folder: PathBuf, version: Version) -> Option<Self> {
        folder.is_dir().then_some(Self { folder, version })
    }

    pub(in crate::process) const fn version(&self) -> Version {
        self.version
    }

    /// Through this descriptor a child joins the group, before it gives up the right to.
    pub(in crate::process) fn admission(&self) -> io::Result<OwnedFd> {
        File::options().write(true).open(self.folder.join("cgroup.procs")).map(Into::into)
    }

    /// Moves this process into it.
    pub(in crate::process) fn enter(&self) -> io::Result<()> {
        self.write("cgroup.procs", "0")
    }

    pub(in crate::process) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.folder.join(file), value)
    }

    pub(in crate::process) fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    /// The number after `key` in a file with a key and a number on each line.
    pub(in crate::process) fn number(&self, file: &str, key: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    /// The only number in a file.
    pub(in crate::process) fn value(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }

    fn members(&self) -> Vec<Pid> {
        let procs = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        // A member of another pid namespace is 0 here, and is none of ours.
        procs.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw).collect()
    }

    /// Whether nothing runs in it.
    pub(in crate::process) fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// Kills everything in it.
    pub(in crate::process) fn kill(&self) {
        if self.write("cgroup.kill", "1").is_ok() {
            // Since Linux 5.14, in one step, whatever is being forked meanwhile.
            return;
        }
        // Else nobody may fork meanwhile, as far as the group can see to that. Whoever is killed does not fork any more.
        let (file, stop, go_on) = match self.version {
            Version::Two => ("cgroup.freeze", "1", "0".to_owned()),
            Version::One => ("pids.max", "0", fs::read_to_string(self.folder.join("pids.max")).unwrap_or_default()),
        };
        let _ = self.write(file, stop);
        for member in self.members() {
            let _ = kill(member, Signal::SIGKILL);
        }
        let _ = self.write(file, go_on.trim());
    }

    /// Kills everything in it, below it too, and removes it.
    pub(in crate::process) fn end(&self) {
        for _ in 0..ROUNDS {
            self.kill();
            // A step as root may have made groups of its own.
            for below in subfolders(&self.folder) {
                Self { folder: below, version: self.version }.end();
            }
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::yield_now(),
                _ => return,
            }
        }
        tracing::error!(cgroup = %self.folder.display(), "a run's cgroup holds processes that do not die");
    }
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}
