//! `[worker.retention]`: how long runs, their logs and workspaces are kept.

use std::time::Duration;

use super::problem::Report;
use super::table::Table;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What goes, the oldest first: a run that is older, one of more, or what its log is too many bytes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Age of a run that ended.
    pub age: Duration,
    /// Runs that ended.
    pub count: u64,
    /// What all logs may use together, in bytes.
    pub size: u64,
    /// Age of a workspace that was kept.
    pub workspaces: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: 90 * DAY, count: 100_000, size: 5 * 1024 * 1024 * 1024, workspaces: 7 * DAY }
    }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Retention {
    let defaults = Retention::default();
    let retention = Retention {
        age: table.duration("age", report).unwrap_or(defaults.age),
        count: table.number("count", 1..=100_000_000, report).unwrap_or(defaults.count),
        size: table.size("size", report).unwrap_or(defaults.size),
        workspaces: table.duration("workspaces", report).unwrap_or(defaults.workspaces),
    };
    table.finish(report);
    retention
}
