//! Runs, deliveries and mails as the operator sees them: JSON for programs, aligned text for people.

use std::io::Write;

use hookspool_common::clock::Instant;
use hookspool_common::ledger::{
    ExceededLimit, Hold, KnownDelivery, Notice, NoticeState, ProcessResult, Run, StepRecord, Waiting,
};
use serde_json::{Value, json};

use crate::harmless::harmless;

/// A run as JSON. Times are RFC 3339 in UTC.
pub(super) fn run_json(run: &Run) -> Value {
    json!({
        "run": run.id,
        "state": run.state,
        "reason": run.reason,
        "repository": run.repository,
        "job": run.job,
        "ref": run.reference,
        "sha": run.sha,
        "event": run.event.kind,
        "delivery": run.delivery,
        "cause": run.cause.as_str(),
        "asked_by": run.cause.by(),
        "origin": run.cause.origin(),
        "attempt": run.attempt,
        "lane": run.lane,
        "priority": run.priority,
        "not_before": run.not_before.map(|at| at.to_string()),
        "allow_older": run.allow_older,
        "queued_at": run.queued_at.to_string(),
        "started_at": run.started_at.map(|at| at.to_string()),
        "ended_at": run.ended_at.map(|at| at.to_string()),
        "duration_ms": run.started_at.zip(run.ended_at).map(|(start, end)| end.since(start)),
    })
}

/// What a run waits for: `waits for run 7 of its lane`.
pub(super) fn waiting_text(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Held(hold) => format!("waits, because its lane is held {}", hold_text(hold)),
        Waiting::Behind(run) => format!("waits for run {run} of its lane"),
        Waiting::Until(at) => format!("waits until {}", second(*at)),
        Waiting::Slot => "waits for a slot, or for the next pass".to_owned(),
    }
}

/// How a lane is held: `by ada since 2026-01-01T00:00:00Z: the database is being moved`.
pub(super) fn hold_text(hold: &Hold) -> String {
    let by = hold.by.as_deref().map(|by| format!("by {} ", shown(by))).unwrap_or_default();
    format!("{by}since {}: {}", second(hold.held_at), shown(&hold.reason))
}

/// A step as JSON.
pub(super) fn step_json(step: &StepRecord) -> Value {
    json!({
        "step": step.name,
        "started_at": step.started_at.to_string(),
        "ended_at": step.ended_at.map(|at| at.to_string()),
        "duration_ms": step.ended_at.map(|end| end.since(step.started_at)),
        "result": step.result.as_ref().map(ToString::to_string),
        "exit_status": step.result.as_ref().and_then(ProcessResult::exit_status),
        "limit": step.result.as_ref().and_then(ProcessResult::exceeded).map(ExceededLimit::as_str),
    })
}

/// A delivery as JSON.
pub(super) fn delivery_json(delivery: &KnownDelivery) -> Value {
    json!({
        "delivery": delivery.id,
        "provider_id": delivery.provider_id,
        "source": delivery.source,
        "received_at": delivery.received_at.to_string(),
        "imported_at": delivery.imported_at.to_string(),
        "answer": delivery.answer.word(),
        "reason": delivery.reason,
    })
}

/// A mail as JSON, without its text.
pub(super) fn notice_json(notice: &Notice) -> Value {
    let (state, at, error) = match &notice.state {
        NoticeState::Due { at, error, .. } => ("due", Some(at.to_string()), error.clone()),
        NoticeState::Sent(at) => ("sent", Some(at.to_string()), None),
        NoticeState::GivenUp(error) => ("given_up", None, Some(error.clone())),
    };
    json!({
        "to": notice.mail.recipient,
        "message_id": notice.mail.message_id,
        "state": state,
        "at": at,
        "error": error,
        "created_at": notice.created_at.to_string(),
    })
}

/// `to ops@example.org: sent 10:15:03`, or why not yet.
pub(super) fn notice_text(notice: &Notice) -> String {
    let recipient = shown(&notice.mail.recipient);
    match &notice.state {
        NoticeState::Sent(at) => format!("to {recipient}: sent {at}, {}", notice.mail.message_id),
        NoticeState::Due { at, attempts: 0, .. } => format!("to {recipient}: due since {at}"),
        NoticeState::Due { at, attempts, error } => {
            let error = error.as_deref().map(shown).unwrap_or_default();
            format!("to {recipient}: waits until {at} after {attempts} attempts ({error})")
        }
        NoticeState::GivenUp(error) => format!("to {recipient}: given up ({})", shown(error)),
    }
}

/// Text from outside on a terminal, which would obey control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// An instant to the second.
pub(super) fn second(at: Instant) -> String {
    at.to_string().chars().take("2026-01-01T00:00:00".len()).collect::<String>() + "Z"
}

/// Milliseconds as people read them.
pub(super) fn duration_text(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        60_000..3_600_000 => format!("{}:{:02} min", milliseconds / 60_000, milliseconds / 1000 % 60),
        _ => format!("{}:{:02} h", milliseconds / 3_600_000, milliseconds / 60_000 % 60),
    }
}

/// How long a run or step took, or `-` while it goes on.
pub(super) fn took(start: Option<Instant>, end: Option<Instant>) -> String {
    start.zip(end).map_or_else(|| "-".to_owned(), |(start, end)| duration_text(end.since(start)))
}

/// Prints rows as columns, each as wide as its widest cell.
pub(super) fn print_columns(out: &mut impl Write, rows: &[Vec<String>]) -> std::io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints JSON as programs and people can both read it.
pub(super) fn print_json(out: &mut impl Write, value: &Value) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}
