//! The groups of one run, where this process may make them: one in which everything of it runs, and for the steps those
//! that limit what they use together.
//!
//! In a unit that systemd has delegated (`Delegate=yes`), groups lie below the unit's own, beside the runner, which moves
//! into one too: a group with members cannot share out what it has. Elsewhere they lie right below the mount, where a share
//! of the processor is one among those of everything else. Whoever is not root has none, and relies on being a child
//! subreaper and on marked environments.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use hookspool_common::config::Limits;
use hookspool_common::names::RunId;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use super::cgroup::{Controller, Group, Hierarchy, Version, hierarchies};

/// The state folder whose runs need no more than their number to be told apart.
const USUAL_STATE: &str = "/var/lib/hookspool";

/// What follows the name of a run's group in that of its steps.
const STEPS: &str = ".steps";

/// How the launcher's units are called that systemd has delegated.
const UNIT: (&str, &str) = ("hookspool-run-", ".service");

/// One run's groups.
#[derive(Debug)]
pub struct Containment {
    /// Where the unified hierarchy's groups of this run lie, and the first part of their names.
    unified: Option<(PathBuf, String)>,
    /// The name that the run's groups have in other hierarchies.
    name: String,
    /// Whether they lie in a unit of systemd's.
    is_delegated: bool,
    /// All of them.
    groups: Vec<Group>,
    /// Those that the next child joins.
    joined: Vec<Group>,
    /// Those that limit something, with what and to how much.
    limits: Vec<(Controller, Group, u64)>,
}

/// What became of one limit that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimit {
    /// Its name, as in the configuration.
    pub key: &'static str,
    /// The interface by which it holds, or why it does not.
    pub given: Result<&'static str, String>,
}

impl GroupLimit {
    /// Those of `limits` that no run can have on this machine, as nothing here could hold them.
    #[must_use]
    pub fn lacking(limits: &Limits) -> Vec<Self> {
        let hierarchies = hierarchies();
        let wanted = Controller::ALL.into_iter().filter(|controller| controller.wanted(limits).is_some());
        wanted
            .filter_map(|controller| Some(Self { key: controller.key(), given: Err(controller.found_in(&hierarchies).err()?) }))
            .collect()
    }

    /// What becomes of limits where there are no groups.
    pub(super) fn none_of(limits: &Limits) -> Vec<Self> {
        let why = if geteuid().is_root() { "no cgroup can be made" } else { "the worker is not root" };
        let wanted = Controller::ALL.into_iter().filter(|controller| controller.wanted(limits).is_some());
        wanted.map(|controller| Self { key: controller.key(), given: Err(why.to_owned()) }).collect()
    }
}

/// How often limits were met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Met {
    /// Processes that were killed for want of memory, and the limit in bytes.
    pub(super) memory: Option<(u64, u64)>,
    /// Forks that were refused, and the limit.
    pub(super) processes: Option<(u64, u64)>,
}

/// A run's number is not enough: several installations may share a machine.
fn name(state: &Path, run: RunId) -> String {
    if state == Path::new(USUAL_STATE) {
        return format!("hookspool-run-{run}");
    }
    let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
    let installation: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("hookspool-{installation}-run-{run}")
}

/// The group of the systemd unit that this process is the runner of, if it is one.
fn delegated(unified: &Hierarchy) -> Option<PathBuf> {
    let own = unified.own_group()?;
    let unit = own.file_name()?.to_str()?;
    (unit.starts_with(UNIT.0) && unit.ends_with(UNIT.1)).then_some(own)
}

impl Containment {
    /// Makes the run's group, or `None` where that cannot be.
    #[must_use]
    pub fn make(state: &Path, run: RunId) -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let hierarchies = hierarchies();
        let name = name(state, run);
        let made = Self::make_unified(&hierarchies, &name).or_else(|| Self::make_in_another(&hierarchies, name));
        if made.is_none() {
            tracing::debug!(%run, "there is no cgroup for the run");
        }
        made
    }

    fn make_unified(hierarchies: &[Hierarchy], name: &str) -> Option<Self> {
        let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::Two)?;
        let (parent, base) = match delegated(unified) {
            Some(unit) => {
                if let Err(error) = Group::make(unit.join("runner"), Version::Two).and_then(|runner| runner.enter()) {
                    tracing::warn!(unit = %unit.display(), %error, "the unit's cgroup cannot be divided");
                    return None;
                }
                (unit, "run".to_owned())
            }
            None => (unified.mount.clone(), name.to_owned()),
        };
        let is_delegated = parent != unified.mount;
        let group = Group::make(parent.join(&base), Version::Two).ok()?;
        let unified = Some((parent, base));
        Some(Self { unified, is_delegated, ..Self::of(name.to_owned(), group) })
    }

    /// Where there is only the older interface, or the unified one is read-only. The controller of processes comes first,
    /// as it can stop forks while their makers are killed.
    fn make_in_another(hierarchies: &[Hierarchy], name: String) -> Option<Self> {
        let older = || hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::One);
        let mut candidates = older().filter(|hierarchy| hierarchy.has(Controller::Pids.name())).chain(older());
        let group = candidates.find_map(|hierarchy| Group::make(hierarchy.mount.join(&name), Version::One).ok())?;
        Some(Self::of(name, group))
    }

    fn of(name: String, group: Group) -> Self {
        let joined = vec![group.clone()];
        Self { unified: None, name, is_delegated: false, groups: vec![group], joined, limits: Vec::new() }
    }

    /// The groups that an earlier process made for the run, if there are any. Those in a unit go with the unit.
    #[must_use]
    pub fn left_by(state: &Path, run: RunId) -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let name = name(state, run);
        let places = hierarchies().into_iter().flat_map(|hierarchy| {
            let of = |suffix| Group::at(hierarchy.mount.join(format!("{name}{suffix}")), hierarchy.version);
            [of(""), of(STEPS)]
        });
        let groups: Vec<Group> = places.flatten().collect();
        let first = groups.first()?.clone();
        Some(Self { groups, ..Self::of(name, first) })
    }

    /// Makes the groups that limit what the steps use together; every child from now on joins them. Says what became of
    /// each limit that is asked for.
    pub fn limit(&mut self, limits: &Limits) -> Vec<GroupLimit> {
        let hierarchies = hierarchies();
        let wanted = Controller::ALL.into_iter().filter_map(|controller| Some((controller, controller.wanted(limits)?)));
        let mut outcomes = Vec::new();
        for (controller, value) in wanted {
            let given = self.limit_one(&hierarchies, controller, value);
            outcomes.push(GroupLimit { key: controller.key(), given: given.map(|group| group.version().as_str()) });
        }
        outcomes
    }

    fn limit_one(&mut self, hierarchies: &[Hierarchy], controller: Controller, value: u64) -> Result<Group, String> {
        let hierarchy = controller.found_in(hierarchies)?;
        let failed = |error: io::Error| format!("the {} controller cannot be used: {error}", controller.name());
        let group = match hierarchy.version {
            Version::One => Group::make(hierarchy.mount.join(format!("{}{STEPS}", self.name)), Version::One).map_err(failed)?,
            Version::Two => self.steps_in_unified(controller).map_err(failed)?,
        };
        if !self.groups.contains(&group) {
            self.groups.push(group.clone());
            self.joined.push(group.clone());
        }
        self.set(controller, &group, value).map_err(failed)?;
        self.limits.push((controller, group.clone(), value));
        Ok(group)
    }

    fn set(&self, controller: Controller, group: &Group, value: u64) -> io::Result<()> {
        controller.set(group, value)?;
        if let (true, Controller::Cpu, Version::Two, Some((unit, _))) =
            (self.is_delegated, controller, group.version(), &self.unified)
        {
            // Within the unit there is nobody to share with. Its own weight is PID 1's to set.
            let of_unit = Group::at(unit.clone(), Version::Two).and_then(|unit| unit.value("cpu.weight"));
            if of_unit != Some(value) {
                return Err(io::Error::other("the unit has another CPUWeight"));
            }
        }
        Ok(())
    }

    /// The steps' group in the unified hierarchy, with this controller. A process is in one group there, so from now on
    /// children join it in place of the run's own.
    fn steps_in_unified(&mut self, controller: Controller) -> io::Result<Group> {
        let (parent, base) = self.unified.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::ReadOnlyFilesystem))?;
        let above = Group::at(parent.clone(), Version::Two).ok_or(io::ErrorKind::NotFound)?;
        above.write("cgroup.subtree_control", &format!("+{}", controller.name()))?;
        let group = Group::make(parent.join(format!("{base}{STEPS}")), Version::Two)?;
        self.joined.retain(|joined| joined.version() == Version::One || *joined == group);
        if !self.joined.contains(&group) {
            self.joined.push(group.clone());
        }
        if !self.groups.contains(&group) {
            self.groups.push(group.clone());
        }
        Ok(group)
    }

    /// Through these descriptors a child joins the groups, before it gives up the right to.
    ///
    /// # Errors
    /// When a group is gone.
    pub(super) fn admissions(&self) -> io::Result<Vec<OwnedFd>> {
        self.joined.iter().map(Group::admission).collect()
    }

    /// How often limits were met so far.
    pub(super) fn met(&self) -> Met {
        let of = |wanted: Controller| {
            let found = self.limits.iter().find(|(controller, ..)| *controller == wanted);
            found.map(|(controller, group, value)| (controller.times_met(group), *value))
        };
        Met { memory: of(Controller::Memory), processes: of(Controller::Pids) }
    }

    /// Whether nothing runs in any of them.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.iter().all(Group::is_empty)
    }

    /// Kills everything in them.
    pub(super) fn kill(&self) {
        self.groups.iter().filter(|group| !group.is_empty()).for_each(Group::kill);
    }

    /// Kills everything in them and removes them.
    pub fn end(self) {
        self.groups.iter().for_each(Group::end);
    }
}

#[cfg(test)]
mod tests;
