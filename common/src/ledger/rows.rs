//! Columns to types. A value that does not parse is an error of the file, never a default.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::Type;

use super::{Cause, Deployed, KnownDelivery, NewNotice, Notice, NoticeId, NoticeState, ProcessResult, Run, RunState, StepRecord};
use crate::clock::Instant;
use crate::names::{DeliveryId, RunId};
use crate::record::Answer;

pub(super) const RUN_COLUMNS: &str = "id, delivery, source, repository, job, event, ref, sha, lane, state, reason, queued_at, started_at, ended_at, \
     cause, asked_by, origin, priority, attempt, not_before, allow_older";
pub(super) const DELIVERY_COLUMNS: &str = "id, source, provider_id, received_at, imported_at, answer, reason";
pub(super) const NOTICE_COLUMNS: &str =
    "id, run, recipient, sender, message_id, message, state, attempts, due_at, error, sent_at, created_at";

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadValue(String);

fn bad(column: usize, why: impl Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(BadValue(why.to_string())))
}

pub(super) fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get::<_, String>(column)?.parse().map_err(|error: T::Err| bad(column, error))
}

fn parsed_or_absent<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error: T::Err| bad(column, error))).transpose()
}

fn instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Instant> {
    row.get(column).map(Instant::from_millis)
}

fn instant_or_absent(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Instant>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Instant::from_millis))
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<RunState> {
    let text: String = row.get(column)?;
    RunState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| bad(column, format!("no state {text:?}")))
}

/// The cause's name, then who asked, then the run that it was made from.
fn cause(row: &Row<'_>, column: usize) -> rusqlite::Result<Cause> {
    let name: String = row.get(column)?;
    let by = || row.get(column + 1);
    let of = || row.get(column + 2).map(RunId::new);
    match name.as_str() {
        "delivery" => Ok(Cause::Delivery),
        "replay" => Ok(Cause::Replay { by: by()? }),
        "manual" => Ok(Cause::Manual { by: by()? }),
        "rerun" => Ok(Cause::Rerun { of: of()?, by: by()? }),
        "retry" => Ok(Cause::Retry { of: of()? }),
        "schedule" => Ok(Cause::Schedule),
        "reconcile" => Ok(Cause::Reconcile),
        _ => Err(bad(column, format!("no cause {name:?}"))),
    }
}

pub(super) fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let event: String = row.get(5)?;
    Ok(Run {
        id: RunId::new(row.get(0)?),
        delivery: row.get::<_, Option<_>>(1)?.map(DeliveryId::from_bytes),
        source: parsed(row, 2)?,
        repository: parsed(row, 3)?,
        job: parsed(row, 4)?,
        event: serde_json::from_str(&event).map_err(|error| bad(5, error))?,
        reference: parsed_or_absent(row, 6)?,
        sha: parsed_or_absent(row, 7)?,
        lane: row.get(8)?,
        state: state(row, 9)?,
        reason: row.get(10)?,
        queued_at: instant(row, 11)?,
        started_at: instant_or_absent(row, 12)?,
        ended_at: instant_or_absent(row, 13)?,
        cause: cause(row, 14)?,
        priority: row.get(17)?,
        attempt: row.get(18)?,
        not_before: instant_or_absent(row, 19)?,
        allow_older: row.get(20)?,
    })
}

/// A commit and the run that deployed it.
pub(super) fn deployed(row: &Row<'_>) -> rusqlite::Result<Deployed> {
    Ok(Deployed { sha: parsed(row, 0)?, run: row.get(1).map(RunId::new)? })
}

pub(super) fn step(row: &Row<'_>) -> rusqlite::Result<StepRecord> {
    let result: Option<String> = row.get(3)?;
    let result = result.map(|text| serde_json::from_str::<ProcessResult>(&text).map_err(|error| bad(3, error))).transpose()?;
    Ok(StepRecord { name: row.get(0)?, started_at: instant(row, 1)?, ended_at: instant_or_absent(row, 2)?, result })
}

pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<KnownDelivery> {
    let answer: String = row.get(5)?;
    Ok(KnownDelivery {
        id: DeliveryId::from_bytes(row.get(0)?),
        source: parsed(row, 1)?,
        provider_id: row.get(2)?,
        received_at: instant(row, 3)?,
        imported_at: instant(row, 4)?,
        answer: Answer::ALL.into_iter().find(|known| known.as_str() == answer).ok_or_else(|| bad(5, "no such answer"))?,
        reason: row.get(6)?,
    })
}

pub(super) fn notice(row: &Row<'_>) -> rusqlite::Result<Notice> {
    let state: String = row.get(6)?;
    let error: Option<String> = row.get(9)?;
    let state = match state.as_str() {
        "due" => NoticeState::Due { at: instant(row, 8)?, attempts: row.get(7)?, error },
        "sent" => NoticeState::Sent(instant(row, 10)?),
        _ => NoticeState::GivenUp(error.unwrap_or_default()),
    };
    Ok(Notice {
        id: NoticeId(row.get(0)?),
        run: RunId::new(row.get(1)?),
        mail: NewNotice { recipient: row.get(2)?, sender: row.get(3)?, message_id: row.get(4)?, message: row.get(5)? },
        state,
        created_at: instant(row, 11)?,
    })
}
