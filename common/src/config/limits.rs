//! `limits`: what a job's steps may use. What is not said is not limited, but for [`Limits::output`].

use super::problem::Report;
use super::table::Table;

/// How much of a run's output is kept where nothing is said.
pub const DEFAULT_OUTPUT_BYTES: u64 = 16 * 1024 * 1024;

/// Least memory that may be configured: a shell and what it starts need this much.
const MIN_MEMORY_BYTES: u64 = 4 * 1024 * 1024;

/// What the steps of one run may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// The share of the processor when others want it too: 1 to 10000, where 100 is an equal share (systemd's `CPUWeight`).
    pub cpu_weight: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// Output that is written to the log as it comes, in bytes; of what is more, the end is kept.
    pub output: Option<u64>,
    /// What workspace, home and temporary folder may hold together, in bytes.
    pub workspace: Option<u64>,
}

impl Limits {
    /// These, and the ones of `defaults` where these say nothing.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            memory: self.memory.or(defaults.memory),
            processes: self.processes.or(defaults.processes),
            cpu_weight: self.cpu_weight.or(defaults.cpu_weight),
            open_files: self.open_files.or(defaults.open_files),
            output: self.output.or(defaults.output),
            workspace: self.workspace.or(defaults.workspace),
        }
    }

    /// How much output is written as it comes, in bytes.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.output.unwrap_or(DEFAULT_OUTPUT_BYTES)
    }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Limits {
    let limits = Limits {
        memory: read_memory(&mut table, report),
        processes: table.number("processes", 1..=4_000_000, report),
        cpu_weight: table.number("cpu_weight", 1..=10_000, report),
        open_files: table.number("open_files", 16..=1_000_000, report),
        output: table.size("output", report),
        workspace: table.size("workspace", report),
    };
    table.finish(report);
    limits
}

fn read_memory(table: &mut Table<'_, '_>, report: &mut Report) -> Option<u64> {
    let span = table.get("memory")?.span();
    let bytes = table.size("memory", report)?;
    if bytes < MIN_MEMORY_BYTES {
        table.wrong(span, "`memory` is less than a shell needs to start", Some("write 4MiB or more".to_owned()), report);
        return None;
    }
    Some(bytes)
}
