//! Up to when each schedule was looked at. The mark and the run that it leads to are one transaction.

use rusqlite::{Row, Transaction, params};

use super::admission::{Asking, admit_request};
use super::{Cause, Request};
use crate::clock::Instant;
use crate::names::{JobName, RunId, SourceName};
use crate::repository_name::RepositoryName;

/// What is known of a job's schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// The repository.
    pub repository: RepositoryName,
    /// Its job.
    pub job: JobName,
    /// Which schedule was looked at, and by which clock.
    pub schedule: String,
    /// Every time up to this instant has had its run, or was passed over.
    pub looked_until: Instant,
}

/// A look at the clock: what is known from now on, and what is due.
#[derive(Debug, Clone)]
pub struct ScheduleLook {
    /// What was known; a look counts only while that is so still.
    pub before: Option<ScheduleState>,
    /// What is known now.
    pub after: ScheduleState,
    /// One of the repository's sources.
    pub source: SourceName,
    /// The run that is due, if one is.
    pub due: Option<Request>,
}

pub(super) const COLUMNS: &str = "repository, job, schedule, looked_until";

pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<ScheduleState> {
    Ok(ScheduleState {
        repository: super::rows::parsed(row, 0)?,
        job: super::rows::parsed(row, 1)?,
        schedule: row.get(2)?,
        looked_until: Instant::from_millis(row.get(3)?),
    })
}

/// Writes a look down; the run that it led to. Nothing when another look came first.
pub(super) fn look(transaction: &Transaction<'_>, look: &ScheduleLook, now: Instant) -> rusqlite::Result<Option<RunId>> {
    let ScheduleLook { before, after, source, due } = look;
    let changed = match before {
        None => {
            let sql = "INSERT INTO schedule_state (repository, job, schedule, looked_until) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            let values = params![after.repository.as_str(), after.job.as_str(), after.schedule, after.looked_until.millis()];
            transaction.prepare_cached(sql)?.execute(values)?
        }
        Some(before) => {
            let sql = "UPDATE schedule_state SET schedule = ?3, looked_until = ?4
                       WHERE repository = ?1 AND job = ?2 AND schedule = ?5 AND looked_until = ?6";
            transaction.prepare_cached(sql)?.execute(params![
                after.repository.as_str(),
                after.job.as_str(),
                after.schedule,
                after.looked_until.millis(),
                before.schedule,
                before.looked_until.millis(),
            ])?
        }
    };
    match due {
        Some(request) if changed == 1 => {
            admit_request(transaction, &Asking::of(Cause::Schedule, source), request, now).map(|admitted| Some(admitted.run))
        }
        _ => Ok(None),
    }
}

pub(super) fn forget(transaction: &Transaction<'_>, state: &ScheduleState) -> rusqlite::Result<()> {
    let sql = "DELETE FROM schedule_state WHERE repository = ?1 AND job = ?2";
    transaction.execute(sql, params![state.repository.as_str(), state.job.as_str()]).map(drop)
}
