//! What the forge had on each ref when it was last asked, and the runs for which no delivery came.
//!
//! A lost delivery and its run must come together only once, whichever is first. A run that a delivery made before is found
//! here when the forge is asked; a run that was made from the forge's answer is found here when its delivery arrives late.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::admission::{Asking, admit_request};
use super::{Cause, Request};
use crate::clock::Instant;
use crate::event::{Event, Kind};
use crate::git_name::{RefName, Sha};
use crate::names::{RunId, SourceName};
use crate::repository_name::RepositoryName;

/// How much earlier than a question a run may have been made for what the forge did not show then: forges answer from copies
/// that lag behind.
pub(super) const LAG_MILLIS: i64 = 10 * 60 * 1000;

/// How long after a run its lost delivery may still arrive: GitHub sends again what is not older than this, on request.
pub(super) const LATE_MILLIS: i64 = 3 * 24 * 60 * 60 * 1000;

/// When a repository's forge was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// The repository.
    pub repository: RepositoryName,
    /// When it was asked last.
    pub asked_at: Instant,
    /// When that was to which it gave its last answer.
    pub answered_at: Option<Instant>,
}

/// A ref that is not as it was when the forge was last asked.
#[derive(Debug, Clone)]
pub struct RefChange {
    /// The ref.
    pub reference: RefName,
    /// What it points to now; nothing when it is gone.
    pub now: Option<Sha>,
    /// The runs that a delivery would have asked for, each with one of its repository's sources.
    pub requests: Vec<(SourceName, Request)>,
}

/// An answer of the forge.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The repository.
    pub repository: RepositoryName,
    /// When it was asked.
    pub asked_at: Instant,
    /// The newest run at that time.
    pub newest_run: RunId,
    /// What is different. Of the first answer that is everything, and nothing is to run for it.
    pub changes: Vec<RefChange>,
}

pub(super) const COLUMNS: &str = "repository, asked_at, answered_at";

pub(super) fn reconciled(row: &Row<'_>) -> rusqlite::Result<Reconciled> {
    Ok(Reconciled {
        repository: super::rows::parsed(row, 0)?,
        asked_at: Instant::from_millis(row.get(1)?),
        answered_at: row.get::<_, Option<i64>>(2)?.map(Instant::from_millis),
    })
}

pub(super) fn known_ref(row: &Row<'_>) -> rusqlite::Result<(RefName, Sha)> {
    Ok((super::rows::parsed(row, 0)?, super::rows::parsed(row, 1)?))
}

/// The refs by name, as they were last known.
pub type KnownRefs = BTreeMap<RefName, Sha>;

/// The last answer before this one.
struct Before {
    answered_at: Instant,
    newest_run: RunId,
}

fn before(transaction: &Transaction<'_>, repository: &RepositoryName) -> rusqlite::Result<Option<Before>> {
    let sql = "SELECT answered_at, newest_run FROM reconciled WHERE repository = ?1 AND answered_at IS NOT NULL";
    let read = |row: &Row<'_>| Ok(Before { answered_at: Instant::from_millis(row.get(0)?), newest_run: RunId::new(row.get(1)?) });
    transaction.query_row(sql, [repository.as_str()], read).optional()
}

/// Writes an answer down; the runs that it led to.
pub(super) fn answered(transaction: &Transaction<'_>, answer: &Answer, now: Instant) -> rusqlite::Result<Vec<RunId>> {
    let before = before(transaction, &answer.repository)?;
    let sql = "INSERT INTO reconciled (repository, asked_at, answered_at, newest_run) VALUES (?1, ?2, ?2, ?3)
               ON CONFLICT (repository) DO UPDATE SET asked_at = ?2, answered_at = ?2, newest_run = ?3";
    transaction.execute(sql, params![answer.repository.as_str(), answer.asked_at.millis(), answer.newest_run.number()])?;
    let mut runs = Vec::new();
    for change in &answer.changes {
        // A delivery came meanwhile: the answer may be older than what it told of. The next one will not be.
        if has_run_since(transaction, answer, &change.reference)? {
            continue;
        }
        if let Some(before) = &before {
            for (source, request) in &change.requests {
                runs.extend(run_if_new(transaction, change, source, request, before, now)?);
            }
        }
        record(transaction, &answer.repository, change)?;
    }
    Ok(runs)
}

fn has_run_since(transaction: &Transaction<'_>, answer: &Answer, reference: &RefName) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM run WHERE id > ?1 AND +repository = ?2 AND +ref = ?3 AND cause <> 'reconcile')";
    let values = params![answer.newest_run.number(), answer.repository.as_str(), reference.as_str()];
    transaction.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

fn run_if_new(
    transaction: &Transaction<'_>,
    change: &RefChange,
    source: &SourceName,
    request: &Request,
    before: &Before,
    now: Instant,
) -> rusqlite::Result<Option<RunId>> {
    if has_run(transaction, change, request, before)? {
        return Ok(None);
    }
    // Whatever it could join was just looked for, within what counts here.
    let asking = Asking { joins_after: RunId::new(i64::MAX), ..Asking::of(Cause::Reconcile, source) };
    admit_request(transaction, &asking, request, now).map(|admitted| Some(admitted.run))
}

/// Whether a run was made for this change, by whomever, and whatever became of it. What is older than the last answer was
/// for something that came before it.
fn has_run(transaction: &Transaction<'_>, change: &RefChange, request: &Request, before: &Before) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM run AS this
        WHERE repository = ?1 AND job = ?2 AND ref = ?3 AND (id > ?4 OR queued_at >= ?5)
        AND kind IN ('push', 'branch_created', 'branch_deleted', 'tag', 'tag_deleted', 'manual')
        AND iif(?6, action = 'deleted', action <> 'deleted' AND (sha IS NULL OR sha = ?7 OR sha = ?8)
                AND NOT EXISTS (SELECT 1 FROM run AS gone WHERE gone.id > this.id AND +gone.repository = ?1 AND +gone.ref = ?3
                                AND gone.action = 'deleted')))";
    let (now, commit) = (change.now.as_ref().map(Sha::as_str), request.event.sha.as_ref().map(Sha::as_str));
    let since = before.answered_at.plus_millis(-LAG_MILLIS);
    transaction.prepare_cached(sql)?.query_row(
        params![
            request.repository.as_str(),
            request.job.as_str(),
            change.reference.as_str(),
            before.newest_run.number(),
            since.millis(),
            now.is_none(),
            now,
            commit,
        ],
        |row| row.get(0),
    )
}

fn record(transaction: &Transaction<'_>, repository: &RepositoryName, change: &RefChange) -> rusqlite::Result<()> {
    let (repository, reference) = (repository.as_str(), change.reference.as_str());
    match &change.now {
        Some(sha) => {
            let sql = "INSERT INTO known_ref (repository, ref, sha) VALUES (?1, ?2, ?3) ON CONFLICT (repository, ref) DO UPDATE SET sha = ?3";
            transaction.prepare_cached(sql)?.execute(params![repository, reference, sha.as_str()]).map(drop)
        }
        None => {
            let sql = "DELETE FROM known_ref WHERE repository = ?1 AND ref = ?2";
            transaction.prepare_cached(sql)?.execute(params![repository, reference]).map(drop)
        }
    }
}

/// The forge did not answer. What is known of it stays as it is.
pub(super) fn not_answered(
    transaction: &Transaction<'_>,
    repository: &RepositoryName,
    asked_at: Instant,
) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO reconciled (repository, asked_at) VALUES (?1, ?2) ON CONFLICT (repository) DO UPDATE SET asked_at = ?2";
    transaction.execute(sql, params![repository.as_str(), asked_at.millis()]).map(drop)
}

/// Nothing of a repository's refs is known any more.
pub(super) fn forget(transaction: &Transaction<'_>, repository: &RepositoryName) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM reconciled WHERE repository = ?1", [repository.as_str()]).map(drop)
}

/// The run that was made from the forge's answer for what this delivery tells of at last.
pub(super) fn found_before(transaction: &Transaction<'_>, request: &Request, now: Instant) -> rusqlite::Result<Option<RunId>> {
    let event = &request.event;
    let moves_a_ref = matches!(event.kind, Kind::Push | Kind::BranchCreated | Kind::BranchDeleted | Kind::Tag | Kind::TagDeleted);
    let Some(reference) = event.reference.as_ref().filter(|_| moves_a_ref) else { return Ok(None) };
    // A delivery may name a tag's own object, where the run has its commit; the object is what the forge had on the ref.
    // Every delivery asks this, so it must not look at all the runs that were not found on the forge.
    let sql = "SELECT id FROM run INDEXED BY run_found
        WHERE repository = ?1 AND job = ?2 AND ref = ?3 AND cause = 'reconcile' AND queued_at >= ?4 AND (action = 'deleted') = ?5
        AND (?5 OR iif(?6 IS NULL, action = 'created', sha = ?6
             OR ?6 = (SELECT known_ref.sha FROM known_ref WHERE known_ref.repository = ?1 AND known_ref.ref = ?3)))
        ORDER BY id DESC LIMIT 1";
    let sha = event.sha.as_ref().map(Sha::as_str);
    let is_deletion = event.kind.is_deletion();
    let since = now.plus_millis(-LATE_MILLIS).millis();
    let (repository, job) = (request.repository.as_str(), request.job.as_str());
    let found = transaction
        .prepare_cached(sql)?
        .query_row(params![repository, job, reference.as_str(), since, is_deletion, sha], |row| row.get(0).map(RunId::new))
        .optional()?;
    let Some(run) = found else { return Ok(None) };
    let is_its_own = !is_told(transaction, run, event)? && !is_over(transaction, run, repository, reference, event)?;
    Ok(is_its_own.then_some(run))
}

/// Whether a delivery of this kind told of the run already, so that this one tells of something else.
fn is_told(transaction: &Transaction<'_>, run: RunId, event: &Event) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM run_delivery WHERE run = ?1 AND provider_event = ?2)";
    transaction.prepare_cached(sql)?.query_row(params![run.number(), event.provider_event], |row| row.get(0))
}

/// Whether the ref went elsewhere after the run, and the event is about its way back: it came from where a newer run is,
/// from nowhere after a deletion, or is gone once more after it was there again.
fn is_over(
    transaction: &Transaction<'_>,
    run: RunId,
    repository: &str,
    reference: &RefName,
    event: &Event,
) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM run WHERE id > ?1 AND +repository = ?2 AND +ref = ?3
                              AND iif(?4, action <> 'deleted', action = 'deleted' OR sha = ?5))
                   OR (?4 = EXISTS (SELECT 1 FROM known_ref WHERE repository = ?2 AND ref = ?3))";
    let before = event.before.as_ref().map(Sha::as_str);
    let values = params![run.number(), repository, reference.as_str(), event.kind.is_deletion(), before];
    transaction.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

/// A run that waits still takes the delivery's telling, which knows who did it and what changed.
pub(super) fn take_fuller_event(transaction: &Transaction<'_>, run: RunId, event: &Event, json: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE run SET event = ?2
               WHERE id = ?1 AND state = 'queued' AND cause = 'reconcile' AND kind = ?3 AND sha IS ?4";
    let sha = event.sha.as_ref().map(Sha::as_str);
    transaction.prepare_cached(sql)?.execute(params![run.number(), json, event.kind.as_str(), sha]).map(drop)
}
