//! The cgroups of one machine, so that several can be on at once: nspawn makes groups of fixed names below the one that it
//! is started in.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::server::wait_for;

/// A group for the machine in each hierarchy that systemd uses: cgroup v2, and its own named one of v1 where that is.
#[derive(Debug)]
pub(super) struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    pub(super) fn make(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts can be read");
        let is_systemds = |line: &&str| line.contains(" - cgroup2 ") || line.contains("name=systemd");
        let folders: Vec<PathBuf> = mounts
            .lines()
            .filter(is_systemds)
            .filter_map(|line| Some(PathBuf::from(line.split(' ').nth(4)?).join(name)))
            .collect();
        for folder in &folders {
            fs::create_dir_all(folder).expect("root can make a cgroup");
        }
        Self(folders)
    }

    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// Words for a shell that is to enter them.
    pub(super) fn entering(&self) -> String {
        self.0.iter().map(|folder| format!("echo 0 >{}/cgroup.procs; ", folder.display())).collect()
    }

    /// Removes what a machine left in them that had no time to: a real one forgets its groups when its power fails.
    pub(super) fn empty(&self) {
        wait_for("the machine's cgroups to be empty", || {
            let has_left =
                |folder: &PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| entry.path().is_dir());
            for folder in &self.0 {
                let mut find = Command::new("find");
                find.arg(folder).args(["-mindepth", "1", "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
                let _ = find.stderr(Stdio::null()).status();
            }
            (!self.0.iter().any(has_left)).then_some(())
        });
    }
}
