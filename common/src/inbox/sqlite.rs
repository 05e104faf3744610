//! The inbox in SQLite: WAL with `synchronous=FULL`, so that a commit is on disk when it returns.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Row, Transaction, TransactionBehavior, params};

use super::seen::Seen;
use super::{Entry, Inbox, InboxError, InboxReader, Prunable, Receipt, Tidied, free_bytes, pruning};
use crate::clock::Instant;
use crate::names::DeliveryId;
use crate::record::{Answer, InboxIdentity, Record, read_proposals};
use crate::sqlite;

/// Eight KiB: with bodies of that order, half the pages of the default and a third fewer bytes through the WAL.
pub(super) const PAGE_BYTES: u32 = 8192;

/// How long the writer waits for a lock before it answers 503; a forge gives ten seconds in all.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The length of a write-ahead log that is in use, in bytes: what is between two checkpoints, and some to spare.
const LOG_BYTES: u64 = 5 * 1024 * 1024;

/// Forward only; each in one transaction with those before it.
pub(super) const MIGRATIONS: [&str; 3] = [DELIVERIES, SEEN_IN_RUNS, PRUNED];

const DELIVERIES: &str = "
CREATE TABLE inbox (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    identity TEXT NOT NULL CHECK (length(identity) = 32)
) STRICT;
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL CHECK (length(id) = 16),
    source TEXT NOT NULL,
    provider_id TEXT,
    received_at INTEGER NOT NULL,
    answer TEXT NOT NULL CHECK (answer IN ('accepted', 'ignored', 'ping')),
    reason TEXT,
    proposals TEXT NOT NULL,
    CHECK ((answer = 'accepted') = (reason IS NULL))
) STRICT;
CREATE TABLE body (
    seq INTEGER PRIMARY KEY,
    headers TEXT NOT NULL,
    zstd BLOB NOT NULL
) STRICT;
CREATE TABLE seen (
    key BLOB PRIMARY KEY CHECK (length(key) = 16),
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// A table in the order of its keys had two pages somewhere to write for each delivery. See [`super::seen`].
const SEEN_IN_RUNS: &str = "
CREATE TABLE seen_lately (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL CHECK (length(id) = 16),
    keys BLOB NOT NULL CHECK (length(keys) % 16 = 0)
) STRICT;
INSERT INTO seen_lately (id, keys) SELECT delivery.id, seen.key FROM seen JOIN delivery USING (seq) ORDER BY seq;
DROP TABLE seen;
CREATE TABLE seen_run (
    run INTEGER PRIMARY KEY,
    filter BLOB NOT NULL CHECK (length(filter) > 0 AND length(filter) % 64 = 0)
) STRICT;
CREATE TABLE seen_earlier (
    place INTEGER PRIMARY KEY,
    entries BLOB NOT NULL CHECK (length(entries) % 32 = 0)
) STRICT;
";

/// When the newest of the deliveries came that were pruned; NULL while none was. Of those that went before this was
/// written down, it is certain only that they came before the first that is still there.
const PRUNED: &str = "
ALTER TABLE inbox ADD COLUMN newest_pruned_at INTEGER;
UPDATE inbox SET newest_pruned_at = coalesce(
    (SELECT received_at FROM delivery ORDER BY seq LIMIT 1),
    CAST(unixepoch('subsec') * 1000 AS INTEGER)
) WHERE EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'delivery' AND seq > 0)
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq = 1);
";

pub(super) fn inbox_error(error: rusqlite::Error) -> InboxError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => InboxError::Full(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => InboxError::Locked(text),
        _ => InboxError::Failing(text),
    }
}

/// The writing side, in SQLite.
#[derive(Debug)]
pub struct SqliteInbox {
    connection: Connection,
    identity: InboxIdentity,
    seen: Seen,
    /// The version of the data that `seen` is of. None after a failure: nobody knows what was undone.
    version: Option<i64>,
    used_bytes: u64,
}

impl SqliteInbox {
    /// Opens the inbox, making it where it is absent.
    ///
    /// # Errors
    /// [`InboxError`] when it cannot be opened or is not an inbox.
    pub fn open(path: &Path) -> Result<Self, InboxError> {
        let open = || -> rusqlite::Result<(Connection, String)> {
            let connection = sqlite::open(path, PAGE_BYTES, BUSY_TIMEOUT, &MIGRATIONS)?;
            let make = "INSERT INTO inbox (one, identity) VALUES (1, ?1) ON CONFLICT DO NOTHING";
            connection.execute(make, [InboxIdentity::generate().as_str()])?;
            let identity = connection.query_row("SELECT identity FROM inbox", [], |row| row.get(0))?;
            Ok((connection, identity))
        };
        let (connection, identity) = open().map_err(inbox_error)?;
        let identity = identity.parse().map_err(InboxError::Failing)?;
        lengthen_log(&connection, path).map_err(inbox_error)?;
        let mut inbox = Self { connection, identity, seen: Seen::default(), version: None, used_bytes: 0 };
        inbox.transaction(TransactionBehavior::Deferred, |_, _| Ok(())).map_err(inbox_error)?;
        Ok(inbox)
    }

    /// Does `work` in one transaction, with the keys as they are in that transaction.
    fn transaction<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>, &mut Seen) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        // Whatever fails from here on, the keys are read anew the next time.
        let seen_of = self.version.take();
        // Dropped without a commit, the transaction is rolled back.
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        // Changes when another connection has written; one receiver should be the only one, and need not be trusted to be.
        let version = number(&transaction, "PRAGMA data_version")?;
        if seen_of != Some(version) {
            self.seen = Seen::load(&transaction)?;
        }
        let done = work(&transaction, &mut self.seen)?;
        let used_bytes = used_bytes(&transaction, &self.seen)?;
        transaction.commit()?;
        (self.version, self.used_bytes) = (Some(version), used_bytes);
        Ok(done)
    }
}

/// Writes the write-ahead log once in its working length, so that commits overwrite what is there. A log that grows syncs
/// half as fast; and where a file system fails at that very moment, ext4 has been seen to say that new blocks are safe
/// which it then did not have.
fn lengthen_log(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let is_long = fs::metadata(log).is_ok_and(|log| log.len() >= LOG_BYTES);
    let has_room = path.parent().is_some_and(|folder| free_bytes(folder).is_ok_and(|free| free >= 16 * LOG_BYTES));
    if is_long || !has_room {
        return Ok(());
    }
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS ballast (bytes BLOB) STRICT;
         INSERT INTO ballast (bytes) VALUES (zeroblob({LOG_BYTES}));
         DROP TABLE ballast;"
    ))
}

impl Inbox for SqliteInbox {
    fn deliver(&mut self, batch: &[Entry]) -> Result<Vec<Receipt>, InboxError> {
        let write = |transaction: &Transaction<'_>, seen: &mut Seen| {
            batch.iter().map(|entry| write_entry(transaction, seen, entry)).collect()
        };
        self.transaction(TransactionBehavior::Immediate, write).map_err(inbox_error)
    }

    fn check(&mut self) -> Result<(), InboxError> {
        let write = |transaction: &Transaction<'_>, _: &mut Seen| {
            transaction.execute("UPDATE inbox SET identity = identity WHERE one = 1", []).map(drop)
        };
        self.transaction(TransactionBehavior::Immediate, write).map_err(inbox_error)
    }

    fn find_earlier(&mut self, entry: &Entry) -> Result<Option<DeliveryId>, InboxError> {
        let find = |transaction: &Transaction<'_>, seen: &mut Seen| find_earlier(transaction, seen, entry);
        self.transaction(TransactionBehavior::Deferred, find).map_err(inbox_error)
    }

    fn tidy(&mut self, prunable: &Prunable) -> Result<Tidied, InboxError> {
        if self.seen.is_full() {
            // Somebody else may have made the run meanwhile.
            let make = |transaction: &Transaction<'_>, seen: &mut Seen| {
                if seen.is_full() { seen.make_run(transaction) } else { Ok(()) }
            };
            self.transaction(TransactionBehavior::Immediate, make).map_err(inbox_error)?;
        }
        let tidy = |transaction: &Transaction<'_>, seen: &mut Seen| {
            if last_place(transaction)? < prunable.taken_over {
                let fresh = InboxIdentity::generate();
                transaction.execute("UPDATE inbox SET identity = ?1 WHERE one = 1", [fresh.as_str()])?;
                return Ok((Tidied { is_renewed: true, ..Tidied::default() }, Some(fresh)));
            }
            Ok((pruning::prune(transaction, prunable, used_bytes(transaction, seen)?)?, None))
        };
        let (tidied, renewed) = self.transaction(TransactionBehavior::Immediate, tidy).map_err(inbox_error)?;
        if let Some(identity) = renewed {
            self.identity = identity;
        }
        Ok(tidied)
    }

    fn has_keys_to_tidy(&self) -> bool {
        self.seen.is_full()
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    fn identity(&self) -> &InboxIdentity {
        &self.identity
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached(pragma)?.query_row([], |row| row.get(0))
}

fn used_bytes(connection: &Connection, seen: &Seen) -> rusqlite::Result<u64> {
    let pages = number(connection, "PRAGMA page_count")? - number(connection, "PRAGMA freelist_count")?;
    Ok((u64::try_from(pages).unwrap_or(0) * u64::from(PAGE_BYTES)).saturating_sub(seen.disk_bytes()))
}

/// The place that was given last. SQLite remembers it when the delivery is gone.
fn last_place(connection: &Connection) -> rusqlite::Result<i64> {
    let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'delivery'";
    connection.prepare_cached(last)?.query_row([], |row| row.get(0))
}

fn find_earlier(transaction: &Transaction<'_>, seen: &Seen, entry: &Entry) -> rusqlite::Result<Option<DeliveryId>> {
    for key in &entry.seen_keys {
        if let Some(earlier) = seen.find(transaction, key)? {
            return Ok(Some(earlier));
        }
    }
    Ok(None)
}

fn write_entry(transaction: &Transaction<'_>, seen: &mut Seen, entry: &Entry) -> rusqlite::Result<Receipt> {
    if let Some(earlier) = find_earlier(transaction, seen, entry)? {
        return Ok(Receipt::Duplicate(earlier));
    }
    let mut delivery = transaction.prepare_cached(
        "INSERT INTO delivery (id, source, provider_id, received_at, answer, reason, proposals) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    delivery.execute(params![
        entry.id.as_bytes(),
        entry.source.as_str(),
        entry.provider_id,
        entry.received_at.millis(),
        entry.answer.as_str(),
        entry.reason,
        entry.proposals,
    ])?;
    let seq = transaction.last_insert_rowid();
    transaction.prepare_cached("INSERT INTO body (seq, headers, zstd) VALUES (?1, ?2, ?3)")?.execute(params![
        seq,
        entry.headers,
        entry.body
    ])?;
    seen.add(transaction, entry.id, &entry.seen_keys)?;
    Ok(Receipt::Stored)
}

/// The reading side, in SQLite.
#[derive(Debug)]
pub struct SqliteInboxReader {
    connection: Connection,
    identity: InboxIdentity,
}

impl SqliteInboxReader {
    /// Opens the inbox for reading.
    ///
    /// # Errors
    /// [`InboxError`] when it cannot be opened or is not an inbox.
    pub fn open(path: &Path) -> Result<Self, InboxError> {
        let connection = sqlite::open_to_read(path).map_err(inbox_error)?;
        let identity: String = connection.query_row("SELECT identity FROM inbox", [], |row| row.get(0)).map_err(inbox_error)?;
        let identity = identity.parse().map_err(InboxError::Failing)?;
        Ok(Self { connection, identity })
    }
}

impl InboxReader for SqliteInboxReader {
    fn identity(&self) -> &InboxIdentity {
        &self.identity
    }

    fn read_after(&mut self, seq: i64, limit: usize) -> Result<Vec<Record>, InboxError> {
        let read = |connection: &Connection| -> rusqlite::Result<Vec<Record>> {
            let mut select = connection.prepare_cached(
                "SELECT seq, id, source, provider_id, received_at, answer, reason, proposals FROM delivery
                 WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let rows = select.query_map(params![seq, i64::try_from(limit).unwrap_or(i64::MAX)], record)?;
            rows.collect()
        };
        read(&self.connection).map_err(inbox_error)
    }
}

/// A row that does not hold what a receiver writes becomes an ignored delivery that says so, never a lost one.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let source: String = row.get(2)?;
    let answer: String = row.get(5)?;
    let proposals: String = row.get(7)?;
    let mut record = Record {
        seq: row.get(0)?,
        id: DeliveryId::from_bytes(row.get(1)?),
        source: source.parse().or_else(|_| "unknown".parse()).map_err(|error| conversion_error(2, error))?,
        provider_id: row.get(3)?,
        received_at: Instant::from_millis(row.get(4)?),
        answer: Answer::ALL.into_iter().find(|known| known.as_str() == answer).unwrap_or(Answer::Ignored),
        reason: row.get(6)?,
        proposals: Vec::new(),
    };
    match read_proposals(&proposals) {
        Ok(proposals) => record.proposals = proposals,
        Err(error) => {
            record.answer = Answer::Ignored;
            record.reason = Some(format!("the inbox's row cannot be read: {error}"));
        }
    }
    Ok(record)
}

fn conversion_error(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests;
