//! What a queued run waits for.

use rusqlite::{Connection, OptionalExtension};

use super::{Hold, Run, RunState, holds};
use crate::clock::Instant;
use crate::names::RunId;

/// What a queued run waits for, the first of what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// For a person who lets its lane go on.
    Held(Hold),
    /// For this run of its lane, which runs or is before it.
    Behind(RunId),
    /// For its time.
    Until(Instant),
    /// For a slot, or for the next pass where one is free.
    Slot,
}

/// Absent where the run does not wait.
pub(super) fn of(connection: &Connection, run: &Run, now: Instant) -> rusqlite::Result<Option<Waiting>> {
    if run.state != RunState::Queued {
        return Ok(None);
    }
    if let Some(hold) = holds::of(connection, &run.lane)? {
        return Ok(Some(Waiting::Held(hold)));
    }
    let sql = "SELECT id FROM run WHERE state = 'running' AND lane = ?1";
    let running: Option<i64> = connection.prepare_cached(sql)?.query_row([&run.lane], |row| row.get(0)).optional()?;
    let sql = "SELECT id FROM run WHERE state = 'queued' AND lane = ?1 ORDER BY coalesce(place, id), id LIMIT 1";
    let first: Option<i64> = connection.prepare_cached(sql)?.query_row([&run.lane], |row| row.get(0)).optional()?;
    let before = running.or(first).map(RunId::new).filter(|before| *before != run.id);
    let until = run.not_before.filter(|until| *until > now && run.queued_at <= now);
    Ok(Some(before.map(Waiting::Behind).or(until.map(Waiting::Until)).unwrap_or(Waiting::Slot)))
}
