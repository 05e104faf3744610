//! What a group can limit, and the files by which each version of the interface does it (cgroup-v2.rst and
//! cgroup-v1/*.rst in the kernel's documentation).

use std::io;

use hookspool_common::config::Limits;

use super::{Group, Hierarchy, Version};

/// A thing that a group's members use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Controller {
    /// Memory and swap, in bytes.
    Memory,
    /// Processes and threads.
    Pids,
    /// A share of the processor.
    Cpu,
}

impl Controller {
    pub(in crate::process) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// The kernel's name for it.
    pub(in crate::process) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }

    /// The configuration's.
    pub(in crate::process) const fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "processes",
            Self::Cpu => "cpu_weight",
        }
    }

    /// What the configuration says of it.
    pub(in crate::process) const fn wanted(self, limits: &Limits) -> Option<u64> {
        match self {
            Self::Memory => limits.memory,
            Self::Pids => limits.processes,
            Self::Cpu => limits.cpu_weight,
        }
    }

    /// The hierarchy that has it, or what to say where none has.
    pub(in crate::process) fn found_in(self, hierarchies: &[Hierarchy]) -> Result<&Hierarchy, String> {
        hierarchies.iter().find(|hierarchy| hierarchy.has(self.name())).ok_or_else(|| format!("no {} controller", self.name()))
    }

    /// Sets it for a group.
    pub(in crate::process) fn set(self, group: &Group, value: u64) -> io::Result<()> {
        let text = value.to_string();
        match (self, group.version()) {
            (Self::Memory, Version::One) => {
                group.write("memory.limit_in_bytes", &text)?;
                // With swap the limit would only make things slow. The file is there where swap is counted.
                if group.has("memory.memsw.limit_in_bytes") { group.write("memory.memsw.limit_in_bytes", &text) } else { Ok(()) }
            }
            (Self::Memory, Version::Two) => {
                group.write("memory.max", &text)?;
                if group.has("memory.swap.max") { group.write("memory.swap.max", "0") } else { Ok(()) }
            }
            (Self::Pids, _) => group.write("pids.max", &text),
            // 1024 shares are what 100 is in the other scale.
            (Self::Cpu, Version::One) => group.write("cpu.shares", &(value * 1024 / 100).max(2).to_string()),
            (Self::Cpu, Version::Two) => group.write("cpu.weight", &text),
        }
    }

    /// How often the limit was met: processes that were killed for want of memory, forks that were refused.
    pub(in crate::process) fn times_met(self, group: &Group) -> u64 {
        let number = match (self, group.version()) {
            (Self::Memory, Version::One) => group.number("memory.oom_control", "oom_kill"),
            (Self::Memory, Version::Two) => group.number("memory.events", "oom_kill"),
            (Self::Pids, _) => group.number("pids.events", "max"),
            (Self::Cpu, _) => None,
        };
        number.unwrap_or(0)
    }
}
