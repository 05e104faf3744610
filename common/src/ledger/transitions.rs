//! Every change of a run's state. Each names the state that it expects and must change exactly one row.

use rusqlite::{Transaction, params};

use super::turns::pass_turn_of;
use super::{LedgerError, NewNotice, Outcome, StepRecord};
use crate::clock::Instant;
use crate::names::RunId;

/// Queued to running. Whether it was queued.
pub(super) fn claim(transaction: &Transaction<'_>, run: RunId, now: Instant) -> rusqlite::Result<bool> {
    let sql = "UPDATE run SET state = 'running', turn = 0, started_at = ?2 WHERE id = ?1 AND state = 'queued'";
    Ok(transaction.execute(sql, params![run.number(), now.millis()])? == 1)
}

/// Running to `outcome`, with what happened on the way and who is to be told.
pub(super) fn finish(
    transaction: &Transaction<'_>,
    run: RunId,
    outcome: &Outcome,
    steps: &[StepRecord],
    notices: &[NewNotice],
    now: Instant,
) -> Result<(), LedgerError> {
    let sql = "UPDATE run SET state = ?2, reason = ?3, ended_at = ?4 WHERE id = ?1 AND state = 'running'";
    let changed = transaction
        .execute(sql, params![run.number(), outcome.state().as_str(), outcome.reason(), now.millis()])
        .map_err(failing)?;
    if changed != 1 {
        return Err(LedgerError::Unexpected { run, expected: "running" });
    }
    pass_turn_of(transaction, run).map_err(failing)?;
    for (position, step) in steps.iter().enumerate() {
        insert_step(transaction, run, position, step)?;
    }
    for notice in notices {
        insert_notice(transaction, run, notice, now).map_err(failing)?;
    }
    Ok(())
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
    transaction.execute(sql, values).map(drop).map_err(failing)
}

fn insert_notice(transaction: &Transaction<'_>, run: RunId, notice: &NewNotice, now: Instant) -> rusqlite::Result<()> {
    let sql = "INSERT INTO notice (run, recipient, sender, message_id, message, state, attempts, due_at, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 'due', 0, ?6, ?6)";
    let values = params![run.number(), notice.recipient, notice.sender, notice.message_id, notice.message, now.millis()];
    transaction.execute(sql, values).map(drop)
}
