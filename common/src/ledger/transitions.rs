//! Every change of a run's state. Each names the state that it expects and must change exactly one row.

use rusqlite::{Transaction, params};

use super::turns::{pass_turn, pass_turn_of};
use super::{Finish, LedgerError, NewNotice, Sequel, StepRecord, deployed, holds};
use crate::clock::Instant;
use crate::names::RunId;

/// Queued to running, if it has its lane's turn and its time has come. Whether that was so. What was queued in the future was
/// put off by a clock that was ahead: its time has come.
pub(super) fn claim(transaction: &Transaction<'_>, run: RunId, now: Instant) -> rusqlite::Result<bool> {
    let sql = "UPDATE run SET state = 'running', turn = 0, started_at = ?2
               WHERE id = ?1 AND state = 'queued' AND turn = 1 AND (not_before IS NULL OR not_before <= ?2 OR queued_at > ?2)";
    Ok(transaction.prepare_cached(sql)?.execute(params![run.number(), now.millis()])? == 1)
}

/// Queued to cancelled. Whether it was queued.
pub(super) fn cancel(transaction: &Transaction<'_>, run: RunId, reason: &str, now: Instant) -> rusqlite::Result<bool> {
    let sql = "UPDATE run SET state = 'cancelled', turn = 0, reason = ?2, ended_at = ?3 WHERE id = ?1 AND state = 'queued'";
    let cancelled = transaction.prepare_cached(sql)?.execute(params![run.number(), reason, now.millis()])? == 1;
    if cancelled {
        pass_turn_of(transaction, run)?;
    }
    Ok(cancelled)
}

/// Running to its outcome, with what happened on the way, who is to be told, and what follows. The run that follows.
pub(super) fn finish(
    transaction: &Transaction<'_>,
    run: RunId,
    finish: &Finish<'_>,
    now: Instant,
) -> Result<Option<RunId>, LedgerError> {
    let sql = "UPDATE run SET state = ?2, reason = ?3, ended_at = ?4 WHERE id = ?1 AND state = 'running' RETURNING lane";
    let outcome = finish.outcome;
    let values = params![run.number(), outcome.state().as_str(), outcome.reason(), now.millis()];
    let lanes = transaction.prepare_cached(sql).and_then(|mut update| update.query_map(values, |row| row.get(0))?.collect());
    let lanes: Vec<String> = lanes.map_err(failing)?;
    let [lane] = lanes.as_slice() else { return Err(LedgerError::Unexpected { run, expected: "running" }) };
    for (position, step) in finish.steps.iter().enumerate() {
        insert_step(transaction, run, position, step)?;
    }
    for notice in finish.notices {
        insert_notice(transaction, run, notice, now).map_err(failing)?;
    }
    deployed::remember(transaction, run, finish.steps, now).map_err(failing)?;
    let next = follow(transaction, run, lane, &finish.sequel, now)?;
    pass_turn(transaction, lane).map_err(failing)?;
    Ok(next)
}

/// What an outcome leads to, in the transaction that writes it down.
fn follow(
    transaction: &Transaction<'_>,
    run: RunId,
    lane: &str,
    sequel: &Sequel,
    now: Instant,
) -> Result<Option<RunId>, LedgerError> {
    match sequel {
        Sequel::None => Ok(None),
        Sequel::Hold(reason) => {
            holds::insert_after_crash(transaction, lane, run, reason, now).map_err(failing)?;
            Ok(None)
        }
        Sequel::Retry { not_before, newest } => {
            if newest_in(transaction, lane).map_err(failing)? != *newest {
                return Err(LedgerError::Unexpected { run, expected: "followed by the runs that were seen in its lane" });
            }
            retry(transaction, run, *not_before, now).map(Some).map_err(failing)
        }
    }
}

/// The newest run that waits in a lane.
pub(super) fn newest_in(connection: &rusqlite::Connection, lane: &str) -> rusqlite::Result<Option<RunId>> {
    let sql = "SELECT max(id) FROM run INDEXED BY run_queued WHERE state = 'queued' AND lane = ?1";
    let newest: Option<i64> = connection.prepare_cached(sql)?.query_row([lane], |row| row.get(0))?;
    Ok(newest.map(RunId::new))
}

/// The same once more, in the place of the first.
fn retry(transaction: &Transaction<'_>, run: RunId, not_before: Option<Instant>, now: Instant) -> rusqlite::Result<RunId> {
    let sql = "INSERT INTO run (delivery, source, repository, job, event, kind, action, ref, sha, lane, state, queued_at,
                                cause, origin, priority, attempt, not_before, allow_older, place)
               SELECT delivery, source, repository, job, event, kind, action, ref, sha, lane, 'queued', ?2,
                      'retry', id, priority, attempt + 1, ?3, allow_older, coalesce(place, id)
               FROM run WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![run.number(), now.millis(), not_before.map(Instant::millis)])?;
    let next = RunId::new(transaction.last_insert_rowid());
    link_as(transaction, next, run)?;
    Ok(next)
}

/// Whatever asked for `origin` has asked for `run`.
pub(super) fn link_as(transaction: &Transaction<'_>, run: RunId, origin: RunId) -> rusqlite::Result<()> {
    let sql = "INSERT INTO run_delivery (run, delivery, provider_event)
               SELECT ?1, delivery, provider_event FROM run_delivery WHERE run = ?2 ON CONFLICT DO NOTHING";
    transaction.prepare_cached(sql)?.execute(params![run.number(), origin.number()]).map(drop)
}

pub(super) fn failing(error: rusqlite::Error) -> LedgerError {
    LedgerError::Failing(error.to_string())
}

fn insert_step(transaction: &Transaction<'_>, run: RunId, position: usize, step: &StepRecord) -> Result<(), LedgerError> {
    let result = step.result.as_ref().map(serde_json::to_string).transpose();
    let result = result.map_err(|error| LedgerError::Failing(error.to_string()))?;
    let sql = "INSERT INTO step (run, position, name, started_at, ended_at, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let ended_at = step.ended_at.map(Instant::millis);
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let values = params![run.number(), position, step.name, step.started_at.millis(), ended_at, result];
    transaction.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map(drop).map_err(failing)
}

fn insert_notice(transaction: &Transaction<'_>, run: RunId, notice: &NewNotice, now: Instant) -> rusqlite::Result<()> {
    let sql = "INSERT INTO notice (run, recipient, sender, message_id, message, state, attempts, due_at, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 'due', 0, ?6, ?6)";
    let values = params![run.number(), notice.recipient, notice.sender, notice.message_id, notice.message, now.millis()];
    transaction.execute(sql, values).map(drop)
}
