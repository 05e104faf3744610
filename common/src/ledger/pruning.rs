//! Runs whose time is over, and deliveries that nobody refers to: which they are, and their removal.
//!
//! What is queued or running never goes. Of what ended, these stay: what another run was made from, what holds a lane, what
//! somebody is still to be told of, the last known state of a job on a branch, and what keeps the forge's next answer or a
//! late delivery from asking for the same again. What a job deployed last is known anyway.

use rusqlite::{Transaction, params};

use super::LedgerError;
use super::reconciliation::{LAG_MILLIS, LATE_MILLIS};
use super::sqlite::SqliteLedger;
use super::transitions::failing;
use crate::clock::Instant;
use crate::names::RunId;

/// How much of what ended is kept. The oldest goes first.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// What ended earlier goes.
    pub since: Instant,
    /// So many runs stay.
    pub count: u64,
    /// So many bytes of logs stay.
    pub log_bytes: u64,
}

/// Where a run stands in the order in which runs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    ended_at: i64,
    run: i64,
}

/// A run whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// The run.
    pub run: RunId,
    /// Where it stands.
    pub place: Place,
    /// Whether it may have a log.
    pub has_log: bool,
}

/// Where a delivery stands in the order in which deliveries were taken over.
pub type DeliveryPlace = (i64, [u8; 16]);

/// What retention asks of the ledger. Each change is one small transaction.
pub trait Pruning {
    /// Runs beyond `after` that ended and whose log was not packed yet, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`], as everywhere here.
    fn unpacked(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, LedgerError>;

    /// Writes down what the packed logs of runs that ended use.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn packed(&mut self, logs: &[(RunId, u64)]) -> Result<(), LedgerError>;

    /// The newest run whose time is over; all that ended before it is too.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn overdue_until(&self, keeping: &Keeping) -> Result<Option<Place>, LedgerError>;

    /// Runs whose time is over, oldest first, at most `limit`, beyond `after`.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn overdue(&self, after: Option<Place>, until: Place, limit: usize) -> Result<Vec<Overdue>, LedgerError>;

    /// Removes those of the runs that nothing needs any more at `now`, and of the others that they have a log; how many went.
    ///
    /// # Errors
    /// [`LedgerError`]; then none went.
    fn prune(&mut self, runs: &[RunId], now: Instant) -> Result<usize, LedgerError>;

    /// Looks at some deliveries that were taken over before `before` and stand beyond `after`, and removes those without a
    /// run. Where to go on, if there are more.
    ///
    /// # Errors
    /// [`LedgerError`]; then none went.
    fn prune_deliveries(
        &mut self,
        after: Option<DeliveryPlace>,
        before: Instant,
        limit: usize,
    ) -> Result<Option<DeliveryPlace>, LedgerError>;
}

impl Pruning for SqliteLedger {
    fn unpacked(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, LedgerError> {
        let sql = "SELECT id FROM run INDEXED BY run_unpacked WHERE ended_at IS NOT NULL AND log_bytes IS NULL AND id > ?1
                   ORDER BY id LIMIT ?2";
        self.all(sql, [after.map_or(0, RunId::number), limited(limit)], |row| row.get(0).map(RunId::new))
    }

    fn packed(&mut self, logs: &[(RunId, u64)]) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let sql = "UPDATE run SET log_bytes = ?2 WHERE id = ?1 AND ended_at IS NOT NULL";
            for (run, bytes) in logs {
                let values = params![run.number(), i64::try_from(*bytes).unwrap_or(i64::MAX)];
                let changed = transaction.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(failing)?;
                if changed != 1 {
                    return Err(LedgerError::Unexpected { run: *run, expected: "over" });
                }
            }
            Ok(())
        })
    }

    fn overdue_until(&self, keeping: &Keeping) -> Result<Option<Place>, LedgerError> {
        let newest_old = "SELECT ended_at, id FROM run WHERE ended_at IS NOT NULL AND ended_at < ?1
                          ORDER BY ended_at DESC, id DESC LIMIT 1";
        let by_age = self.first(newest_old, [keeping.since.millis()], place)?;
        let first_too_many =
            "SELECT ended_at, id FROM run WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT 1 OFFSET ?1";
        let by_count = self.first(first_too_many, [i64::try_from(keeping.count).unwrap_or(i64::MAX)], place)?;
        let bytes: Option<i64> = self
            .first("SELECT total(log_bytes) FROM run WHERE ended_at IS NOT NULL", [], |row| row.get::<_, f64>(0))?
            .map(|sum| sum as i64);
        let limit = i64::try_from(keeping.log_bytes).unwrap_or(i64::MAX);
        let by_bytes = if bytes.unwrap_or(0) > limit { self.first_beyond(limit)? } else { None };
        Ok([by_age, by_count, by_bytes].into_iter().flatten().max())
    }

    fn overdue(&self, after: Option<Place>, until: Place, limit: usize) -> Result<Vec<Overdue>, LedgerError> {
        let sql = "SELECT ended_at, id, log_bytes FROM run WHERE ended_at IS NOT NULL AND (ended_at, id) > (?1, ?2)
                   AND (ended_at, id) <= (?3, ?4) ORDER BY ended_at, id LIMIT ?5";
        let after = after.unwrap_or(Place { ended_at: i64::MIN, run: i64::MIN });
        self.all(sql, params![after.ended_at, after.run, until.ended_at, until.run, limited(limit)], |row| {
            let place = place(row)?;
            Ok(Overdue { run: RunId::new(place.run), place, has_log: row.get::<_, Option<i64>>(2)? != Some(0) })
        })
    }

    fn prune(&mut self, runs: &[RunId], now: Instant) -> Result<usize, LedgerError> {
        self.write(|transaction| {
            let mut pruned = 0;
            for run in runs {
                pruned += usize::from(prune_run(transaction, *run, now).map_err(failing)?);
            }
            Ok(pruned)
        })
    }

    fn prune_deliveries(
        &mut self,
        after: Option<DeliveryPlace>,
        before: Instant,
        limit: usize,
    ) -> Result<Option<DeliveryPlace>, LedgerError> {
        let (at, id) = after.unwrap_or((i64::MIN, [0; 16]));
        self.write(|transaction| {
            let look = || -> rusqlite::Result<Option<DeliveryPlace>> {
                let sql = "SELECT imported_at, id, EXISTS (SELECT 1 FROM run_delivery WHERE delivery = delivery.id)
                               OR EXISTS (SELECT 1 FROM run WHERE run.delivery = delivery.id)
                           FROM delivery WHERE (imported_at, id) > (?1, ?2) AND imported_at < ?3 ORDER BY imported_at, id LIMIT ?4";
                let mut select = transaction.prepare_cached(sql)?;
                let rows = select.query_map(params![at, id, before.millis(), limited(limit)], |row| {
                    Ok(((row.get(0)?, row.get(1)?), row.get::<_, bool>(2)?))
                })?;
                let rows: Vec<(DeliveryPlace, bool)> = rows.collect::<rusqlite::Result<_>>()?;
                for ((_, id), _) in rows.iter().filter(|(_, is_needed)| !is_needed) {
                    transaction.prepare_cached("DELETE FROM delivery WHERE id = ?1")?.execute([id])?;
                }
                Ok(rows.last().filter(|_| rows.len() == limit).map(|(place, _)| *place))
            };
            look().map_err(failing)
        })
    }
}

impl SqliteLedger {
    /// The newest run with which all logs up to it, the newest first, are more than `limit` bytes.
    fn first_beyond(&self, limit: i64) -> Result<Option<Place>, LedgerError> {
        let sql = "SELECT ended_at, id FROM (
                       SELECT ended_at, id, sum(log_bytes) OVER (ORDER BY ended_at DESC, id DESC ROWS UNBOUNDED PRECEDING) AS bytes
                       FROM run WHERE ended_at IS NOT NULL
                   ) WHERE bytes > ?1 LIMIT 1";
        self.first(sql, [limit], place)
    }
}

/// Whether it went.
fn prune_run(transaction: &Transaction<'_>, run: RunId, now: Instant) -> rusqlite::Result<bool> {
    let values = params![run.number(), LAG_MILLIS, now.plus_millis(-LATE_MILLIS).millis()];
    let is_needed: bool = transaction.prepare_cached(IS_NEEDED)?.query_row(values, |row| row.get(0))?;
    if is_needed {
        let sql = "UPDATE run SET log_bytes = 0 WHERE id = ?1 AND ended_at IS NOT NULL AND log_bytes IS NOT 0";
        transaction.prepare_cached(sql)?.execute([run.number()])?;
        return Ok(false);
    }
    for sql in ["DELETE FROM notice WHERE run = ?1", "DELETE FROM step WHERE run = ?1", "DELETE FROM run_delivery WHERE run = ?1"]
    {
        transaction.prepare_cached(sql)?.execute([run.number()])?;
    }
    Ok(transaction.prepare_cached("DELETE FROM run WHERE id = ?1 AND ended_at IS NOT NULL")?.execute([run.number()])? == 1)
}

/// Whether run ?1 is referred to, is the last word on its job and branch, or is one that `reconciliation.rs` looks for: made
/// since the forge's last answer, by ?2 milliseconds before it, or made from an answer since ?3. What was deployed last has a
/// table of its own.
const IS_NEEDED: &str = "
    SELECT EXISTS (SELECT 1 FROM run WHERE origin = this.id)
        OR EXISTS (SELECT 1 FROM hold WHERE run = this.id)
        OR EXISTS (SELECT 1 FROM notice WHERE run = this.id AND state = 'due')
        OR (this.cause = 'reconcile' AND this.queued_at >= ?3)
        OR EXISTS (SELECT 1 FROM reconciled WHERE repository = this.repository
                   AND (this.id > newest_run OR this.queued_at >= answered_at - ?2))
        OR (this.state IN ('succeeded', 'failed', 'timed_out', 'interrupted')
            AND (this.ref IS NULL OR this.ref LIKE 'refs/heads/%')
            AND NOT EXISTS (SELECT 1 FROM run AS newer
                WHERE newer.repository = this.repository AND newer.job = this.job AND newer.ref IS this.ref AND newer.id > this.id
                AND newer.state IN ('succeeded', 'failed', 'timed_out', 'interrupted')))
    FROM run AS this WHERE this.id = ?1 AND this.ended_at IS NOT NULL";

fn place(row: &rusqlite::Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { ended_at: row.get(0)?, run: row.get(1)? })
}

fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
