//! What the steps of a run may use: what the configuration says becomes what is asked of the kernel, and one line says what
//! of it holds.
//!
//! A limit that this machine cannot give keeps no run from going on, but is said: in the run's log, and before by
//! `hookspool check`.

use std::path::Path;

use hookspool_common::config::{Limits, Phase, size_text};
use nix::unistd::geteuid;

use crate::process::{Account, Allowance, GroupLimit, Measure, Rlimits};

/// The limits of one run.
#[derive(Debug)]
pub(crate) struct InForce {
    limits: Limits,
    groups: Vec<GroupLimit>,
    /// Whether no other run can have the same user meanwhile.
    is_alone: bool,
    said: String,
}

impl InForce {
    /// `groups` is what became of those that cgroups give; `slots` is how many runs there may be at once.
    pub(crate) const fn new(limits: Limits, groups: Vec<GroupLimit>, slots: u64) -> Self {
        Self { limits, groups, is_alone: slots == 1, said: String::new() }
    }

    /// What the kernel holds for each process of a step.
    pub(crate) fn rlimits(&self, account: &Account) -> Rlimits {
        // Root writes elsewhere too, and could raise it.
        let file_size = self.limits.workspace.filter(|_| !account.is_root());
        let processes_of_user = self.limits.processes.filter(|_| self.counts_by_user(account));
        Rlimits { open_files: self.limits.open_files, file_size, processes_of_user }
    }

    /// Without a cgroup the kernel can only count all processes of a user. That is the limit that was asked for where the
    /// user has no others; for root it holds nowhere.
    fn counts_by_user(&self, account: &Account) -> bool {
        let is_missing = self.groups.iter().any(|group| group.key == "processes" && group.given.is_err());
        is_missing && self.is_alone && geteuid().is_root() && !account.is_root()
    }

    /// What a step may leave in the run's folder. `always` may use as much again, to tidy up after a step that used all.
    pub(crate) fn allowance(&self, work: &Path, phase: Phase) -> Option<Allowance> {
        let limit = self.limits.workspace?;
        let used = match phase {
            Phase::Always => Measure::of(work, u64::MAX),
            Phase::Build | Phase::Test | Phase::Deploy => Measure::Exceeded,
        };
        let used = if let Measure::Within { bytes, .. } = used { bytes } else { 0 };
        Some(Allowance { folder: work.to_owned(), bytes: limit.saturating_add(used), limit })
    }

    /// Says what holds for a step of `account`, if that was not said yet.
    pub(crate) fn say(&mut self, account: &Account) -> Option<String> {
        let line = self.line(account);
        (line != self.said).then(|| {
            self.said.clone_from(&line);
            line
        })
    }

    fn line(&self, account: &Account) -> String {
        let (mut given, mut missing) = (Vec::new(), Vec::new());
        for GroupLimit { key, given: outcome } in &self.groups {
            match outcome {
                Ok(interface) => given.push(format!("{} ({interface})", self.value(key))),
                Err(_) if *key == "processes" && self.counts_by_user(account) => {
                    given.push(format!("{} (all of user {})", self.value(key), account.name));
                }
                Err(why) => missing.push(format!("{key} ({why})")),
            }
        }
        match (self.limits.open_files, self.rlimits(account).open_files_given()) {
            (Some(_), Ok(Some(files))) => given.push(format!("{files} open files")),
            (Some(_), Err(error)) => missing.push(format!("open_files ({error})")),
            _ => {}
        }
        given.extend(self.limits.workspace.map(|bytes| format!("workspace {}", size_text(bytes))));
        given.push(format!("output {}", size_text(self.limits.output_bytes())));
        let mut line = format!("limits: {}", given.join(", "));
        for (words, list) in [("not on this machine", missing), ("not configured", self.absent())] {
            if !list.is_empty() {
                line.push_str(&format!("; {words}: {}", list.join(", ")));
            }
        }
        line
    }

    fn value(&self, key: &str) -> String {
        match key {
            "memory" => format!("memory {}", size_text(self.limits.memory.unwrap_or_default())),
            "processes" => format!("{} processes", self.limits.processes.unwrap_or_default()),
            key => format!("{key} {}", self.limits.cpu_weight.unwrap_or_default()),
        }
    }

    fn absent(&self) -> Vec<String> {
        let Limits { memory, processes, cpu_weight, open_files, workspace, output: _ } = self.limits;
        let keys = [
            ("memory", memory),
            ("processes", processes),
            ("cpu_weight", cpu_weight),
            ("open_files", open_files),
            ("workspace", workspace),
        ];
        keys.into_iter().filter(|(_, limit)| limit.is_none()).map(|(key, _)| key.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_holds_what_cannot_and_what_nobody_asked_for() {
        let limits = Limits {
            memory: Some(64 << 20),
            processes: Some(100),
            cpu_weight: Some(50),
            open_files: Some(64),
            workspace: Some(1 << 30),
            ..Limits::default()
        };
        let of = |key, given: Result<&'static str, &str>| GroupLimit { key, given: given.map_err(str::to_owned) };
        let groups =
            vec![of("memory", Ok("cgroup v1")), of("processes", Ok("cgroup v2")), of("cpu_weight", Err("no cpu controller"))];
        let account = Account::own().unwrap();
        let mut in_force = InForce::new(limits, groups, 2);
        assert_eq!(
            in_force.say(&account).as_deref(),
            Some(
                "limits: memory 64 MiB (cgroup v1), 100 processes (cgroup v2), 64 open files, workspace 1 GiB, output 16 MiB; \
                 not on this machine: cpu_weight (no cpu controller)"
            )
        );
        assert_eq!(in_force.say(&account), None);
        let nothing = InForce::new(Limits::default(), Vec::new(), 2).say(&account).unwrap();
        assert_eq!(nothing, "limits: output 16 MiB; not configured: memory, processes, cpu_weight, open_files, workspace");
    }

    #[test]
    fn processes_are_counted_by_user_only_where_the_user_is_the_runs_alone() {
        let account = |uid| Account {
            name: "someone".to_owned(),
            uid: nix::unistd::Uid::from_raw(uid),
            gid: nix::unistd::Gid::from_raw(uid),
            groups: Vec::new(),
        };
        let limits = Limits { processes: Some(100), ..Limits::default() };
        let groups = || vec![GroupLimit { key: "processes", given: Err("no pids controller".to_owned()) }];
        let asked = |slots, uid| InForce::new(limits, groups(), slots).rlimits(&account(uid)).processes_of_user;
        let as_root = geteuid().is_root().then_some(100);
        assert_eq!((asked(1, 1000), asked(2, 1000), asked(1, 0)), (as_root, None, None));
        let line = InForce::new(limits, groups(), 2).say(&account(1000)).unwrap();
        assert!(line.contains("not on this machine: processes (no pids controller)"), "{line}");
    }
}
