//! The inbox in SQLite: WAL with `synchronous=FULL`, so that a commit is on disk when it returns.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Row, Transaction, TransactionBehavior, params};

use super::seen::Seen;
use super::{Entry, Inbox, InboxError, InboxReader, Prunable, Receipt, Tidied, pruning};
use crate::clock::Instant;
use crate::names::DeliveryId;
use crate::record::{Answer, InboxIdentity, Record, read_proposals};
use crate::sqlite;

/// Eight KiB: with bodies of that order, half the pages of the default and a third fewer bytes through the WAL.
const PAGE_BYTES: u32 = 8192;

/// How long the writer waits for a lock before it answers 503; a forge gives ten seconds in all.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Forward only; each in one transaction with those before it.
pub(super) const MIGRATIONS: [&str; 2] = [DELIVERIES, SEEN_IN_RUNS];

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
        let used_bytes = used_bytes(&transaction)?;
        transaction.commit()?;
        (self.version, self.used_bytes) = (Some(version), used_bytes);
        Ok(done)
    }
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
        let prune = |transaction: &Transaction<'_>, _: &mut Seen| pruning::prune(transaction, prunable, used_bytes(transaction)?);
        self.transaction(TransactionBehavior::Immediate, prune).map_err(inbox_error)
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

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = number(connection, "PRAGMA page_count")? - number(connection, "PRAGMA freelist_count")?;
    Ok(u64::try_from(pages).unwrap_or(0) * u64::from(PAGE_BYTES))
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
mod tests {
    use super::*;

    fn entry(keys: &[u8]) -> Entry {
        Entry {
            id: DeliveryId::generate(),
            source: "github".parse().unwrap(),
            provider_id: Some("guid".to_owned()),
            received_at: Instant::from_millis(7),
            answer: Answer::Accepted,
            reason: None,
            proposals: "[]".to_owned(),
            seen_keys: keys.iter().map(|key| [*key; 16]).collect(),
            headers: "{}".to_owned(),
            body: vec![1, 2, 3],
        }
    }

    fn rows(path: &Path) -> Vec<Record> {
        SqliteInboxReader::open(path).unwrap().read_after(0, 100).unwrap()
    }

    #[test]
    fn a_delivery_seen_under_either_key_is_a_duplicate_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::INBOX_FILE);
        let mut inbox = SqliteInbox::open(&path).unwrap();
        let (first, other) = (entry(&[1, 2]), entry(&[3, 4]));
        assert_eq!(inbox.deliver(&[first.clone(), other]).unwrap(), [Receipt::Stored, Receipt::Stored]);
        let again = inbox.deliver(&[entry(&[1, 9]), entry(&[8, 2]), entry(&[8, 9])]).unwrap();
        assert_eq!(again, [Receipt::Duplicate(first.id), Receipt::Duplicate(first.id), Receipt::Stored]);
        assert_eq!(rows(&path).len(), 3);
    }

    #[test]
    fn the_same_delivery_twice_in_one_batch_is_stored_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::INBOX_FILE);
        let first = entry(&[1]);
        let receipts = SqliteInbox::open(&path).unwrap().deliver(&[first.clone(), entry(&[1])]).unwrap();
        assert_eq!(receipts, [Receipt::Stored, Receipt::Duplicate(first.id)]);
    }

    #[test]
    fn reading_goes_on_after_the_watermark_and_identity_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::INBOX_FILE);
        SqliteInbox::open(&path).unwrap().deliver(&[entry(&[1]), entry(&[2]), entry(&[3])]).unwrap();
        SqliteInbox::open(&path).unwrap();
        let mut reader = SqliteInboxReader::open(&path).unwrap();
        let seqs: Vec<i64> = reader.read_after(1, 1).unwrap().iter().map(|record| record.seq).collect();
        assert_eq!(seqs, [2]);
        assert_eq!(reader.identity(), SqliteInboxReader::open(&path).unwrap().identity());
    }

    #[test]
    fn a_commit_is_synced_before_it_returns() {
        // kill -9 cannot show this, and a loss of power is hard to come by: SQLite's own word for FULL is 2.
        let folder = tempfile::tempdir().unwrap();
        let inbox = SqliteInbox::open(&folder.path().join(super::super::INBOX_FILE)).unwrap();
        let pragma = |name| inbox.connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        let synchronous: i64 = inbox.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!((synchronous, pragma("journal_mode").unwrap().as_str()), (2, "wal"));
    }

    #[test]
    fn a_locked_inbox_takes_nothing_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::INBOX_FILE);
        let mut inbox = SqliteInbox::open(&path).unwrap();
        inbox.connection.busy_timeout(Duration::ZERO).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(matches!(inbox.deliver(&[entry(&[1])]), Err(InboxError::Locked(_))));
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(inbox.deliver(&[entry(&[1])]).unwrap(), [Receipt::Stored]);
    }

    #[test]
    fn a_row_with_hostile_proposals_is_an_ignored_delivery_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::INBOX_FILE);
        let mut hostile = entry(&[1]);
        hostile.proposals = r#"[{"event":{"kind":"push","provider_event":"push","ref":"refs/heads/../x"},"jobs":[]}]"#.to_owned();
        SqliteInbox::open(&path).unwrap().deliver(&[hostile]).unwrap();
        let record = rows(&path).remove(0);
        assert_eq!((record.answer, record.proposals.len()), (Answer::Ignored, 0));
        assert!(record.reason.unwrap().contains("cannot be read"));
    }

    #[test]
    fn a_file_of_a_later_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::INBOX_FILE);
        drop(SqliteInbox::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(SqliteInbox::open(&path).unwrap_err().to_string().contains("schema version 99"));
    }
}
