//! Whose turn it is in a lane: of the queued runs the first, while nothing runs there and nobody holds it.
//!
//! It is written down with whatever changes it, so that what may start is found at once, however much waits or is over.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::names::RunId;

/// Gives the turn to whoever has it now. To be called after everything that may have changed it.
pub(super) fn pass_turn(transaction: &Transaction<'_>, lane: &str) -> rusqlite::Result<()> {
    let first = "SELECT id FROM run WHERE state = 'queued' AND lane = ?1 ORDER BY coalesce(place, id), id LIMIT 1";
    let take = format!(
        "UPDATE run INDEXED BY run_turn_of_lane SET turn = 0
         WHERE turn = 1 AND lane = ?1 AND (id <> ({first}) OR EXISTS (SELECT 1 FROM hold WHERE lane = ?1))"
    );
    transaction.prepare_cached(&take)?.execute(params![lane])?;
    let give = format!(
        "UPDATE run SET turn = 1 WHERE turn = 0 AND id = ({first})
         AND NOT EXISTS (SELECT 1 FROM run WHERE state = 'running' AND lane = ?1)
         AND NOT EXISTS (SELECT 1 FROM hold WHERE lane = ?1)"
    );
    transaction.prepare_cached(&give)?.execute(params![lane]).map(drop)
}

/// Who of a lane is the first that waits, and how many do.
pub(super) fn queue_of(connection: &Connection, lane: &str) -> rusqlite::Result<Option<(RunId, u32)>> {
    let sql = "SELECT id, (SELECT count(*) FROM run INDEXED BY run_queued WHERE state = 'queued' AND lane = ?1)
               FROM run INDEXED BY run_queued WHERE state = 'queued' AND lane = ?1 ORDER BY coalesce(place, id), id LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((RunId::new(row.get(0)?), row.get(1)?));
    connection.prepare_cached(sql)?.query_row([lane], read).optional()
}

/// The same for the lane of a run.
pub(super) fn pass_turn_of(transaction: &Transaction<'_>, run: RunId) -> rusqlite::Result<()> {
    let sql = "SELECT lane FROM run WHERE id = ?1";
    let lane: String = transaction.prepare_cached(sql)?.query_row([run.number()], |row| row.get(0))?;
    pass_turn(transaction, &lane)
}
