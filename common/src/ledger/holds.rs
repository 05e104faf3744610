//! Lanes that are held: nothing starts in them until a person lets them go on.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::turns::pass_turn;
use crate::clock::Instant;
use crate::names::RunId;

/// A lane in which nothing starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The lane.
    pub lane: String,
    /// The run that it is held for: the one whose runner died, else the one that a person named.
    pub run: Option<RunId>,
    /// Who holds it; absent where a runner died and no person holds it too.
    pub by: Option<String>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub held_at: Instant,
}

const COLUMNS: &str = "lane, run, by, reason, held_at";

fn read(row: &Row<'_>) -> rusqlite::Result<Hold> {
    Ok(Hold {
        lane: row.get(0)?,
        run: row.get::<_, Option<_>>(1)?.map(RunId::new),
        by: row.get(2)?,
        reason: row.get(3)?,
        held_at: row.get(4).map(Instant::from_millis)?,
    })
}

/// Holds a lane for a person. One that is held already stays held as it is; whether it was not.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    lane: &str,
    run: Option<RunId>,
    by: &str,
    reason: &str,
    now: Instant,
) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO hold (lane, run, by, reason, held_at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (lane) DO NOTHING";
    let values = params![lane, run.map(RunId::number), by, reason, now.millis()];
    let inserted = transaction.prepare_cached(sql)?.execute(values)? == 1;
    pass_turn(transaction, lane)?;
    Ok(inserted)
}

/// Holds a lane because this run's runner died. What a person holds stays held by that person, now for both reasons: neither
/// may be lost, and only a release lets go of the person's.
pub(super) fn insert_after_crash(
    transaction: &Transaction<'_>,
    lane: &str,
    run: RunId,
    reason: &str,
    now: Instant,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO hold (lane, run, reason, held_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (lane) DO UPDATE SET run = excluded.run, reason = hold.reason || '; ' || excluded.reason";
    transaction.prepare_cached(sql)?.execute(params![lane, run.number(), reason, now.millis()])?;
    pass_turn(transaction, lane)
}

/// Lets a lane go on. Whether it was held.
pub(super) fn remove(transaction: &Transaction<'_>, lane: &str) -> rusqlite::Result<bool> {
    let removed = transaction.prepare_cached("DELETE FROM hold WHERE lane = ?1")?.execute([lane])? == 1;
    pass_turn(transaction, lane)?;
    Ok(removed)
}

/// Lets the lane go on that is held because this run's runner died, if it is.
pub(super) fn remove_for(transaction: &Transaction<'_>, run: RunId) -> rusqlite::Result<()> {
    let sql =
        "SELECT hold.lane FROM run JOIN hold ON hold.lane = run.lane WHERE run.id = ?1 AND hold.run = ?1 AND hold.by IS NULL";
    let lane: Option<String> = transaction.prepare_cached(sql)?.query_row([run.number()], |row| row.get(0)).optional()?;
    lane.map_or(Ok(()), |lane| remove(transaction, &lane).map(drop))
}

pub(super) fn of(connection: &Connection, lane: &str) -> rusqlite::Result<Option<Hold>> {
    let sql = format!("SELECT {COLUMNS} FROM hold WHERE lane = ?1");
    connection.prepare_cached(&sql)?.query_row([lane], read).optional()
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Hold>> {
    let sql = format!("SELECT {COLUMNS} FROM hold ORDER BY held_at, lane");
    connection.prepare_cached(&sql)?.query_map([], read)?.collect()
}
