//! The ledger in SQLite.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, TransactionBehavior, params};

use super::replay::Replay;
use super::rows::{self, DELIVERY_COLUMNS, NOTICE_COLUMNS, RUN_COLUMNS};
use super::transitions::failing;
use super::{
    Admission, Admitted, Deployed, Finish, Hold, KnownDelivery, KnownRefs, Ledger, LedgerError, Notice, NoticeId, NoticeState,
    Reconciled, RefAnswer, Request, Run, RunQuery, ScheduleLook, ScheduleState, StepRecord, Waiting, admission, asking, deployed,
    holds, reconciliation, schedules, transitions, turns, waiting,
};
use crate::clock::Instant;
use crate::git_name::{RefName, Sha};
use crate::names::{DeliveryId, JobName, RunId, SourceName};
use crate::record::InboxIdentity;
use crate::repository_name::RepositoryName;
use crate::sqlite;

/// The default; rows of the ledger are small.
const PAGE_BYTES: u32 = 4096;

/// Forward only; each in one transaction with those before it.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema.sql"),
    "ALTER TABLE run ADD COLUMN replayed_by TEXT",
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
];

/// Root's database in one SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    connection: Connection,
}

impl SqliteLedger {
    /// Opens the ledger, making it where it is absent.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be opened or is of a later version.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let named = |error: rusqlite::Error| LedgerError::Failing(format!("{}: {error}", path.display()));
        sqlite::open(path, PAGE_BYTES, sqlite::BUSY_TIMEOUT, &MIGRATIONS).map(|connection| Self { connection }).map_err(named)
    }

    /// Opens a ledger that exists, to look into it.
    ///
    /// # Errors
    /// [`LedgerError`] when it is absent or cannot be read.
    pub fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        let named = |error: rusqlite::Error| LedgerError::Failing(format!("{}: {error}", path.display()));
        let connection = sqlite::open_to_read(path).map_err(named)?;
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(named)?;
        if (version as usize) < MIGRATIONS.len() {
            return Err(LedgerError::Older(path.to_owned()));
        }
        Ok(Self { connection })
    }

    pub(super) fn write<T>(&mut self, write: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failing)?;
        // A runner may be at work while Hookspool is upgraded. Then it knows neither what to write nor what it would break.
        let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failing)?;
        if version as usize > MIGRATIONS.len() {
            return Err(LedgerError::Newer);
        }
        let value = write(&transaction)?;
        transaction.commit().map_err(failing)?;
        Ok(value)
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let query = || self.connection.prepare_cached(sql)?.query_map(params, read)?.collect::<rusqlite::Result<Vec<T>>>();
        query().map_err(failing)
    }

    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        self.all(sql, params, read).map(|rows| rows.into_iter().next())
    }
}

fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn text(reference: Option<&RefName>) -> Option<&str> {
    reference.map(RefName::as_str)
}

impl Ledger for SqliteLedger {
    fn watermark(&self) -> Result<Option<(InboxIdentity, i64)>, LedgerError> {
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
        let row = self.connection.query_row("SELECT inbox, seq FROM watermark", [], read).optional().map_err(failing)?;
        row.map(|(inbox, seq)| inbox.parse().map(|inbox| (inbox, seq)).map_err(LedgerError::Failing)).transpose()
    }

    fn admit(&mut self, inbox: &InboxIdentity, batch: &[Admission], now: Instant) -> Result<Vec<Admitted>, LedgerError> {
        let Some(last) = batch.last() else { return Ok(Vec::new()) };
        self.write(|transaction| {
            let admit = |one| admission::admit(transaction, one, now).map_err(failing);
            let admitted = batch.iter().map(admit).collect::<Result<Vec<_>, _>>()?;
            admission::move_watermark(transaction, inbox, last.record.seq).map_err(failing)?;
            Ok(admitted.concat())
        })
    }

    fn skip_to(&mut self, inbox: &InboxIdentity, seq: i64) -> Result<(), LedgerError> {
        self.write(|transaction| admission::move_watermark(transaction, inbox, seq).map_err(failing))
    }

    fn replay(
        &mut self,
        inbox: &InboxIdentity,
        batch: &[Admission],
        by: &str,
        now: Instant,
    ) -> Result<Vec<Vec<Admitted>>, LedgerError> {
        let watermark = self.watermark()?.filter(|(known, _)| known == inbox).map_or(0, |(_, seq)| seq);
        self.write(|transaction| {
            let replay = Replay::begin(transaction, watermark, by).map_err(failing)?;
            batch.iter().map(|one| replay.replay(one, now)).collect()
        })
    }

    fn start(
        &mut self,
        source: &SourceName,
        request: &Request,
        by: &str,
        allow_older: bool,
        now: Instant,
    ) -> Result<Admitted, LedgerError> {
        self.write(|transaction| asking::start(transaction, source, request, by, allow_older, now).map_err(failing))
    }

    fn rerun(
        &mut self,
        of: RunId,
        request: &Request,
        by: &str,
        allow_older: bool,
        now: Instant,
    ) -> Result<Admitted, LedgerError> {
        self.write(|transaction| asking::rerun(transaction, of, request, by, allow_older, now))
    }

    fn cancel(&mut self, run: RunId, reason: &str, now: Instant) -> Result<bool, LedgerError> {
        self.write(|transaction| transitions::cancel(transaction, run, reason, now).map_err(failing))
    }

    fn hold(&mut self, lane: &str, run: Option<RunId>, by: &str, reason: &str, now: Instant) -> Result<bool, LedgerError> {
        self.write(|transaction| holds::insert(transaction, lane, run, by, reason, now).map_err(failing))
    }

    fn release(&mut self, lane: &str) -> Result<bool, LedgerError> {
        self.write(|transaction| holds::remove(transaction, lane).map_err(failing))
    }

    fn holds(&self) -> Result<Vec<Hold>, LedgerError> {
        holds::all(&self.connection).map_err(failing)
    }

    fn hold_of(&self, lane: &str) -> Result<Option<Hold>, LedgerError> {
        holds::of(&self.connection, lane).map_err(failing)
    }

    fn has_seen_lane(&self, lane: &str) -> Result<bool, LedgerError> {
        Ok(self.first("SELECT 1 FROM run WHERE lane = ?1 LIMIT 1", [lane], |_| Ok(()))?.is_some())
    }

    fn waiting(&self, run: &Run, now: Instant) -> Result<Option<Waiting>, LedgerError> {
        waiting::of(&self.connection, run, now).map_err(failing)
    }

    fn schedules(&self) -> Result<Vec<ScheduleState>, LedgerError> {
        self.all(&format!("SELECT {} FROM schedule_state ORDER BY repository, job", schedules::COLUMNS), [], schedules::state)
    }

    fn look_at_schedules(
        &mut self,
        looks: &[ScheduleLook],
        gone: &[ScheduleState],
        now: Instant,
    ) -> Result<Vec<RunId>, LedgerError> {
        self.write(|transaction| {
            gone.iter().try_for_each(|state| schedules::forget(transaction, state)).map_err(failing)?;
            let runs = looks.iter().map(|look| schedules::look(transaction, look, now).map_err(failing));
            Ok(runs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }

    fn last_scheduled(&self, repository: &RepositoryName, job: &JobName) -> Result<Option<Run>, LedgerError> {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM run WHERE repository = ?1 AND job = ?2 AND ref IS NULL AND cause = 'schedule'
             ORDER BY id DESC LIMIT 1"
        );
        self.first(&sql, params![repository.as_str(), job.as_str()], rows::run)
    }

    fn reconciled(&self) -> Result<Vec<Reconciled>, LedgerError> {
        let sql = format!("SELECT {} FROM reconciled ORDER BY repository", reconciliation::COLUMNS);
        self.all(&sql, [], reconciliation::reconciled)
    }

    fn known_refs(&self, repository: &RepositoryName) -> Result<KnownRefs, LedgerError> {
        let sql = "SELECT ref, sha FROM known_ref WHERE repository = ?1";
        Ok(self.all(sql, [repository.as_str()], reconciliation::known_ref)?.into_iter().collect())
    }

    fn newest_run(&self) -> Result<RunId, LedgerError> {
        let newest = self.first("SELECT max(id) FROM run", [], |row| row.get::<_, Option<i64>>(0))?;
        Ok(RunId::new(newest.flatten().unwrap_or(0)))
    }

    fn reconcile(&mut self, answer: &RefAnswer, now: Instant) -> Result<Vec<RunId>, LedgerError> {
        self.write(|transaction| reconciliation::answered(transaction, answer, now).map_err(failing))
    }

    fn not_reconciled(&mut self, repository: &RepositoryName, asked_at: Instant) -> Result<(), LedgerError> {
        self.write(|transaction| reconciliation::not_answered(transaction, repository, asked_at).map_err(failing))
    }

    fn forget_refs(&mut self, repository: &RepositoryName) -> Result<(), LedgerError> {
        self.write(|transaction| reconciliation::forget(transaction, repository).map_err(failing))
    }

    fn startable(&self, now: Instant, limit: usize) -> Result<Vec<RunId>, LedgerError> {
        let sql = "SELECT id FROM run INDEXED BY run_turn WHERE turn = 1
                   AND (not_before IS NULL OR not_before <= ?1 OR queued_at > ?1) ORDER BY priority DESC, id LIMIT ?2";
        self.all(sql, params![now.millis(), limited(limit)], |row| row.get(0).map(RunId::new))
    }

    fn running(&self) -> Result<Vec<Run>, LedgerError> {
        // As many as there are slots, whatever else there is.
        let sql = format!("SELECT {RUN_COLUMNS} FROM run INDEXED BY run_running WHERE state = 'running' ORDER BY id");
        self.all(&sql, [], rows::run)
    }

    fn queued_in(&self, lane: &str) -> Result<Vec<Run>, LedgerError> {
        let sql = format!("SELECT {RUN_COLUMNS} FROM run WHERE state = 'queued' AND lane = ?1 ORDER BY coalesce(place, id), id");
        self.all(&sql, [lane], rows::run)
    }

    fn newcomers(&self, run: &Run, job: &JobName) -> Result<Vec<Run>, LedgerError> {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM run INDEXED BY run_waiting WHERE state = 'queued' AND repository = ?1 AND job = ?2
             AND lane = ?3 AND id > ?4 AND cause NOT IN ('rerun', 'retry')"
        );
        self.all(&sql, params![run.repository.as_str(), job.as_str(), run.lane, run.id.number()], rows::run)
    }

    fn queue_of(&self, lane: &str) -> Result<Option<(RunId, u32)>, LedgerError> {
        turns::queue_of(&self.connection, lane).map_err(failing)
    }

    fn newest_in(&self, lane: &str) -> Result<Option<RunId>, LedgerError> {
        transitions::newest_in(&self.connection, lane).map_err(failing)
    }

    fn claim(&mut self, run: RunId, now: Instant) -> Result<Option<Run>, LedgerError> {
        let claimed = self.write(|transaction| transitions::claim(transaction, run, now).map_err(failing))?;
        if claimed { self.run(run) } else { Ok(None) }
    }

    fn resolve(&mut self, run: RunId, sha: &Sha) -> Result<(), LedgerError> {
        let sql = "UPDATE run SET sha = ?2 WHERE id = ?1 AND state = 'running' AND sha IS NULL";
        self.write(|transaction| match transaction.execute(sql, params![run.number(), sha.as_str()]).map_err(failing)? {
            1 => Ok(()),
            _ => Err(LedgerError::Unexpected { run, expected: "running without a commit" }),
        })
    }

    fn finish(&mut self, run: RunId, finish: &Finish<'_>, now: Instant) -> Result<Option<RunId>, LedgerError> {
        self.write(|transaction| transitions::finish(transaction, run, finish, now))
    }

    fn run(&self, run: RunId) -> Result<Option<Run>, LedgerError> {
        self.first(&format!("SELECT {RUN_COLUMNS} FROM run WHERE id = ?1"), [run.number()], rows::run)
    }

    fn was_pruned(&self, run: RunId) -> Result<bool, LedgerError> {
        let sql = "SELECT 1 FROM sqlite_sequence WHERE name = 'run' AND ?1 BETWEEN 1 AND seq
                   AND NOT EXISTS (SELECT 1 FROM run WHERE id = ?1)";
        Ok(self.first(sql, [run.number()], |_| Ok(()))?.is_some())
    }

    fn runs(&self, query: &RunQuery) -> Result<Vec<Run>, LedgerError> {
        let sql = format!("SELECT {RUN_COLUMNS} FROM run {} ORDER BY id DESC LIMIT ?3", query.conditions());
        let repository = query.repository.as_ref().map(RepositoryName::as_str);
        let job = query.job.as_ref().map(JobName::as_str);
        self.all(&sql, params![repository, job, limited(query.limit)], rows::run)
    }

    fn made_from(&self, run: RunId) -> Result<Vec<Run>, LedgerError> {
        self.all(&format!("SELECT {RUN_COLUMNS} FROM run WHERE origin = ?1 ORDER BY id"), [run.number()], rows::run)
    }

    fn steps(&self, run: RunId) -> Result<Vec<StepRecord>, LedgerError> {
        let sql = "SELECT name, started_at, ended_at, result FROM step WHERE run = ?1 ORDER BY position";
        self.all(sql, [run.number()], rows::step)
    }

    fn runs_of(&self, delivery: DeliveryId) -> Result<Vec<Run>, LedgerError> {
        let sql =
            format!("SELECT {RUN_COLUMNS} FROM run WHERE id IN (SELECT run FROM run_delivery WHERE delivery = ?1) ORDER BY id");
        self.all(&sql, [delivery.as_bytes()], rows::run)
    }

    fn deliveries_of(&self, run: RunId) -> Result<Vec<KnownDelivery>, LedgerError> {
        let sql = format!(
            "SELECT {DELIVERY_COLUMNS} FROM delivery WHERE id IN (SELECT delivery FROM run_delivery WHERE run = ?1) ORDER BY id"
        );
        self.all(&sql, [run.number()], rows::delivery)
    }

    fn deliveries(&self, id: &str) -> Result<Vec<KnownDelivery>, LedgerError> {
        let own: Option<[u8; 16]> = id.parse::<DeliveryId>().ok().map(|id| *id.as_bytes());
        let sql = format!("SELECT {DELIVERY_COLUMNS} FROM delivery WHERE id = ?1 OR provider_id = ?2 ORDER BY id");
        self.all(&sql, params![own, id], rows::delivery)
    }

    fn last_deployed(
        &self,
        repository: &RepositoryName,
        job: &JobName,
        reference: Option<&RefName>,
    ) -> Result<Option<Deployed>, LedgerError> {
        deployed::last(&self.connection, repository, job, reference).map_err(failing)
    }

    fn previous(
        &self,
        repository: &RepositoryName,
        job: &JobName,
        reference: Option<&RefName>,
        run: RunId,
    ) -> Result<Option<Run>, LedgerError> {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM run WHERE repository = ?1 AND job = ?2 AND ref IS ?3 AND id < ?4
             AND state IN ('succeeded', 'failed', 'timed_out', 'interrupted')
             AND NOT EXISTS (SELECT 1 FROM run AS again WHERE again.origin = run.id AND again.cause = 'retry')
             ORDER BY id DESC LIMIT 1"
        );
        self.first(&sql, params![repository.as_str(), job.as_str(), text(reference), run.number()], rows::run)
    }

    fn last_told(
        &self,
        repository: &RepositoryName,
        job: &JobName,
        reference: Option<&RefName>,
    ) -> Result<Option<Instant>, LedgerError> {
        let sql = "SELECT notice.created_at FROM run CROSS JOIN notice ON notice.run = run.id
                   WHERE repository = ?1 AND job = ?2 AND ref IS ?3 ORDER BY run.id DESC LIMIT 1";
        self.first(sql, params![repository.as_str(), job.as_str(), text(reference)], |row| row.get(0).map(Instant::from_millis))
    }

    fn due_notices(&self, now: Instant, limit: usize) -> Result<Vec<Notice>, LedgerError> {
        // What was last touched in the future was put off by a clock that was ahead.
        let sql = format!(
            "SELECT {NOTICE_COLUMNS} FROM notice INDEXED BY notice_due
             WHERE state = 'due' AND (due_at <= ?1 OR coalesce(tried_at, created_at) > ?1) ORDER BY due_at, id LIMIT ?2"
        );
        self.all(&sql, params![now.millis(), limited(limit)], rows::notice)
    }

    fn notices_of(&self, run: RunId) -> Result<Vec<Notice>, LedgerError> {
        self.all(&format!("SELECT {NOTICE_COLUMNS} FROM notice WHERE run = ?1 ORDER BY id"), [run.number()], rows::notice)
    }

    fn attempting(&mut self, notices: &[NoticeId], now: Instant) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let sql = "UPDATE notice SET tried_at = ?2 WHERE id = ?1 AND state = 'due'";
            for notice in notices {
                transaction
                    .prepare_cached(sql)
                    .and_then(|mut update| update.execute(params![notice.0, now.millis()]))
                    .map_err(failing)?;
            }
            Ok(())
        })
    }

    fn attempted(&mut self, notice: NoticeId, state: &NoticeState, now: Instant) -> Result<(), LedgerError> {
        let (name, attempts, due_at, error, sent_at) = match state {
            NoticeState::Due { at, attempts, error } => ("due", Some(*attempts), Some(at.millis()), error.as_deref(), None),
            NoticeState::Sent(at) => ("sent", None, None, None, Some(at.millis())),
            NoticeState::GivenUp(why) => ("given_up", None, None, Some(why.as_str()), None),
        };
        let sql = "UPDATE notice SET state = ?2, attempts = coalesce(?3, attempts + 1), due_at = ?4, error = ?5, sent_at = ?6, tried_at = ?7
                   WHERE id = ?1 AND state = 'due'";
        let values = params![notice.0, name, attempts, due_at, error, sent_at, now.millis()];
        self.write(|transaction| match transaction.execute(sql, values).map_err(failing)? {
            1 => Ok(()),
            _ => Err(LedgerError::NotDue(notice.0)),
        })
    }
}

#[cfg(test)]
mod tests;
