//! `schedule`, `timezone` and `catch_up`: a job that runs because its time has come.

use super::problem::Report;
use super::table::Table;
use crate::schedule::{Schedule, Zone};

/// When a job runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Its times.
    pub schedule: Schedule,
    /// By which clock; the machine's own where the configuration does not say.
    pub zone: Option<Zone>,
    /// Whether times at which the machine was off are made up for, by one run.
    pub catch_up: bool,
}

pub(super) fn read(job: &mut Table<'_, '_>, report: &mut Report) -> Option<Scheduled> {
    let is_written = job.get("schedule").is_some();
    let schedule = job.parsed("schedule", report);
    for key in ["timezone", "catch_up"] {
        if let Some(value) = job.get(key).filter(|_| !is_written) {
            let help = "write schedule = \"0 3 * * *\", or leave it out".to_owned();
            job.wrong(value.span(), format!("`{key}` is for a job with a `schedule`, and this one has none"), Some(help), report);
        }
    }
    let zone = job.parsed("timezone", report);
    let catch_up = job.boolean("catch_up", report).unwrap_or(false);
    Some(Scheduled { schedule: schedule?, zone, catch_up })
}
