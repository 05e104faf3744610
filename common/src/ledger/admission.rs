//! A delivery's proposals become runs, in the transaction that moves the watermark.
//!
//! Two deliveries may tell of one action (GitHub's `push` and `create` for a tag): the second joins the first's run.

use rusqlite::{OptionalExtension, Transaction, params};

use super::reconciliation::{found_before, take_fuller_event};
use super::turns::pass_turn;
use super::{Admission, Admitted, Cause, Request};
use crate::clock::Instant;
use crate::config::OnNew;
use crate::event::{Event, Reach};
use crate::names::{DeliveryId, RunId, SourceName};
use crate::record::{InboxIdentity, Record};

/// What an event did to its ref. Only makings and deletions are told of twice.
fn action(event: &Event) -> &'static str {
    if event.kind.is_deletion() {
        "deleted"
    } else if event.created == Some(true) {
        "created"
    } else {
        "changed"
    }
}

pub(super) fn move_watermark(transaction: &Transaction<'_>, inbox: &InboxIdentity, seq: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO watermark (one, inbox, seq) VALUES (1, ?1, ?2) ON CONFLICT (one) DO UPDATE SET inbox = ?1, seq = ?2";
    transaction.execute(sql, params![inbox.as_str(), seq]).map(drop)
}

pub(super) fn admit(transaction: &Transaction<'_>, admission: &Admission, now: Instant) -> rusqlite::Result<Vec<Admitted>> {
    if !insert_delivery(transaction, &admission.record, now)? {
        return Ok(Vec::new());
    }
    let asking = Asking::of_delivery(&admission.record, Cause::Delivery, RunId::new(0));
    admission.requests.iter().map(|request| admit_request(transaction, &asking, request, now)).collect()
}

/// Who asks for runs.
pub(super) struct Asking<'a> {
    /// Why they are made.
    pub(super) cause: Cause,
    /// The delivery that they are linked to.
    pub(super) delivery: Option<DeliveryId>,
    /// Its source, or one of the repository's.
    pub(super) source: &'a SourceName,
    /// Only a run that was made after this one can be joined.
    pub(super) joins_after: RunId,
    /// Which attempt the runs are.
    pub(super) attempt: u32,
    /// They do not start before this instant.
    pub(super) not_before: Option<Instant>,
    /// They may deploy what is older than what is deployed.
    pub(super) allow_older: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn of_delivery(record: &'a Record, cause: Cause, joins_after: RunId) -> Self {
        Self { delivery: Some(record.id), joins_after, ..Self::of(cause, &record.source) }
    }

    pub(super) fn of(cause: Cause, source: &'a SourceName) -> Self {
        let joins_after = RunId::new(0);
        Self { cause, delivery: None, source, joins_after, attempt: 1, not_before: None, allow_older: false }
    }
}

/// Whether the delivery is new.
pub(super) fn insert_delivery(transaction: &Transaction<'_>, record: &Record, now: Instant) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO delivery (id, source, provider_id, received_at, imported_at, answer, reason)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING";
    let inserted = transaction.prepare_cached(sql)?.execute(params![
        record.id.as_bytes(),
        record.source.as_str(),
        record.provider_id,
        record.received_at.millis(),
        now.millis(),
        record.answer.as_str(),
        record.reason,
    ])?;
    Ok(inserted == 1)
}

pub(super) fn admit_request(
    transaction: &Transaction<'_>,
    asking: &Asking<'_>,
    request: &Request,
    now: Instant,
) -> rusqlite::Result<Admitted> {
    if request.refused.is_none()
        && asking.cause == Cause::Delivery
        && let Some(run) = found_before(transaction, request, now)?
    {
        take_fuller_event(transaction, run, &request.event, &event_json(&request.event)?)?;
        link(transaction, run, asking.delivery, &request.event)?;
        return Ok(Admitted { run, joined: true });
    }
    if request.refused.is_none()
        && let Some(run) = twin(transaction, request, asking.joins_after)?
    {
        enrich(transaction, run, &request.event)?;
        link(transaction, run, asking.delivery, &request.event)?;
        return Ok(Admitted { run, joined: true });
    }
    let run = insert_run(transaction, asking, request, now)?;
    link(transaction, run, asking.delivery, &request.event)?;
    if request.refused.is_none() && request.on_new != OnNew::Queue {
        supersede(transaction, run, request, now)?;
    }
    pass_turn(transaction, &request.lane)?;
    Ok(Admitted { run, joined: false })
}

/// The run that this request is already: the same commit still queued, or the other telling of one action.
fn twin(transaction: &Transaction<'_>, request: &Request, after: RunId) -> rusqlite::Result<Option<RunId>> {
    let event = &request.event;
    // Two contracts may be for one commit, and so may two packages.
    if !event.kind.is_about_a_ref() {
        return Ok(None);
    }
    let (repository, job) = (request.repository.as_str(), request.job.as_str());
    let reference = event.reference.as_ref().map(|reference| reference.as_str());
    let sha = event.sha.as_ref().map(|sha| sha.as_str());
    let same_commit = "SELECT id, event FROM run INDEXED BY run_waiting
        WHERE state = 'queued' AND repository = ?1 AND job = ?2 AND ref = ?3 AND sha = ?4 AND kind = ?5 AND id > ?6 ORDER BY id DESC LIMIT 1";
    let queued: Option<(i64, String)> = transaction
        .prepare_cached(same_commit)?
        .query_row(params![repository, job, reference, sha, event.kind.as_str(), after.number()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let queued = queued.filter(|(_, known)| tells_the_same(known, event)).map(|(run, _)| run);
    if queued.is_some() || action(event) == "changed" {
        return Ok(queued.map(RunId::new));
    }
    let other_telling = "SELECT id, sha, cause = 'reconcile' FROM run INDEXED BY run_made_or_gone
        WHERE repository = ?1 AND job = ?2 AND ref = ?3 AND action = ?4 AND action <> 'changed' AND id > ?5 AND state <> 'refused' ORDER BY id DESC LIMIT 1";
    let newest: Option<(i64, Option<String>, bool)> = transaction
        .prepare_cached(other_telling)?
        .query_row(params![repository, job, reference, action(event), after.number()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    // What was found on the forge has tellings by a rule of its own, which was asked before.
    let Some((newest, known_sha, false)) = newest else { return Ok(None) };
    // A commit that a runner resolved from the ref may be older news than the one a push names; only a telling
    // that this run does not have yet is the other half of its action.
    let told = "SELECT EXISTS (SELECT 1 FROM run_delivery WHERE run = ?1 AND provider_event = ?2)";
    let told: bool = transaction.prepare_cached(told)?.query_row(params![newest, event.provider_event], |row| row.get(0))?;
    let contradicts = known_sha.is_some() && sha.is_some() && known_sha.as_deref() != sha;
    Ok((!told && !contradicts).then_some(RunId::new(newest)))
}

/// Whether the same was done to the same request: at one commit it may be opened, labeled and closed. Of what is no
/// request, the kind, ref and commit say it all.
fn tells_the_same(known: &str, event: &Event) -> bool {
    let Some(request) = &event.pull_request else { return true };
    let known = serde_json::from_str::<Event>(known).ok().and_then(|known| known.pull_request);
    known.is_some_and(|known| (known.action, known.labels) == (request.action.clone(), request.labels.clone()))
}

/// A run that was made from the telling without commit takes the fuller one while it is still queued.
fn enrich(transaction: &Transaction<'_>, run: RunId, event: &Event) -> rusqlite::Result<()> {
    let Some(sha) = &event.sha else { return Ok(()) };
    let sql = "UPDATE run SET sha = ?2, event = ?3, kind = ?4 WHERE id = ?1 AND state = 'queued' AND sha IS NULL";
    let json = event_json(event)?;
    transaction.prepare_cached(sql)?.execute(params![run.number(), sha.as_str(), json, event.kind.as_str()]).map(drop)
}

fn event_json(event: &Event) -> rusqlite::Result<String> {
    serde_json::to_string(event).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn link(transaction: &Transaction<'_>, run: RunId, delivery: Option<DeliveryId>, event: &Event) -> rusqlite::Result<()> {
    let Some(delivery) = delivery else { return Ok(()) };
    let sql = "INSERT INTO run_delivery (run, delivery, provider_event) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    transaction.prepare_cached(sql)?.execute(params![run.number(), delivery.as_bytes(), event.provider_event]).map(drop)
}

fn insert_run(transaction: &Transaction<'_>, asking: &Asking<'_>, request: &Request, now: Instant) -> rusqlite::Result<RunId> {
    let sql = "INSERT INTO run (delivery, source, repository, job, event, kind, action, ref, sha, lane, state, reason, queued_at, ended_at,
                                cause, asked_by, origin, priority, attempt, not_before, allow_older)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
    let event = &request.event;
    let refused = request.refused.is_some();
    transaction.prepare_cached(sql)?.execute(params![
        asking.delivery.as_ref().map(DeliveryId::as_bytes),
        asking.source.as_str(),
        request.repository.as_str(),
        request.job.as_str(),
        event_json(event)?,
        event.kind.as_str(),
        action(event),
        event.reference.as_ref().map(|reference| reference.as_str()),
        event.commit_to_run().map(|sha| sha.as_str()),
        request.lane,
        if refused { "refused" } else { "queued" },
        request.refused,
        now.millis(),
        refused.then_some(now.millis()),
        asking.cause.as_str(),
        asking.cause.by(),
        asking.cause.origin().map(RunId::number),
        request.priority,
        asking.attempt,
        asking.not_before.map(Instant::millis),
        asking.allow_older,
    ])?;
    Ok(RunId::new(transaction.last_insert_rowid()))
}

/// The newcomer takes the place of those in its lane that have not started, as far as it reaches.
fn supersede(transaction: &Transaction<'_>, run: RunId, request: &Request, now: Instant) -> rusqlite::Result<()> {
    let everything = match request.event.reach() {
        Reach::Nothing => return Ok(()),
        reach => reach == Reach::Lane,
    };
    let reference = request.event.reference.as_ref().map(|reference| reference.as_str());
    let sql = "UPDATE run SET state = 'superseded', turn = 0, reason = 'replaced by run ' || ?1, ended_at = ?3
               WHERE state = 'queued' AND lane = ?2 AND id < ?1 AND (?4 OR ref IS ?5)";
    transaction.prepare_cached(sql)?.execute(params![run.number(), request.lane, now.millis(), everything, reference]).map(drop)
}
