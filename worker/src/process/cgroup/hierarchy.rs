//! Where the kernel's hierarchies of groups are mounted, from `/proc/self/mountinfo` (proc(5)), and where in the unified one
//! this process is.

use std::fs;
use std::path::{Path, PathBuf};

/// Which of the kernel's two interfaces a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Version {
    /// One hierarchy for each controller or few.
    One,
    /// The unified one, with all controllers that no other has.
    Two,
}

impl Version {
    pub(in crate::process) const fn as_str(self) -> &'static str {
        match self {
            Self::One => "cgroup v1",
            Self::Two => "cgroup v2",
        }
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::process) struct Hierarchy {
    pub(in crate::process) version: Version,
    /// Where it is mounted.
    pub(in crate::process) mount: PathBuf,
    /// Its controllers by name. Of the unified one, those that could be used somewhere in it.
    controllers: Vec<String>,
    /// The group that is mounted, for a path of the hierarchy to be found below the mount.
    root: PathBuf,
}

/// Every hierarchy that this process sees.
pub(in crate::process) fn hierarchies() -> Vec<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter_map(read).collect()
}

/// `31 23 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids`.
fn read(line: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, mount) = (PathBuf::from(before.next()?), PathBuf::from(before.next()?));
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let (version, controllers) = match kind {
        "cgroup2" => (Version::Two, fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default()),
        // `rw` and `xattr` stand among them, and are in nobody's way.
        "cgroup" => (Version::One, options.replace(',', " ")),
        _ => return None,
    };
    let controllers = controllers.split_whitespace().map(str::to_owned).collect();
    Some(Hierarchy { version, mount, controllers, root })
}

impl Hierarchy {
    /// Whether it has this controller.
    pub(in crate::process) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// The folder of the group that this process is in, where this is the unified hierarchy.
    pub(in crate::process) fn own_group(&self) -> Option<PathBuf> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        Some(self.mount.join(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_by_their_kind_and_controllers() {
        let one = read("39 31 0:36 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct").unwrap();
        assert_eq!((one.version, one.mount.as_path()), (Version::One, Path::new("/sys/fs/cgroup/cpu")));
        assert!(one.has("cpu") && one.has("cpuacct") && !one.has("cpus"), "{one:?}");
        let two = read("41 31 0:38 /a/b /nowhere/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate").unwrap();
        assert_eq!((two.version, two.root.as_path(), two.controllers.len()), (Version::Two, Path::new("/a/b"), 0));
        assert_eq!(read("23 1 0:20 / /proc rw - proc proc rw"), None);
    }
}
