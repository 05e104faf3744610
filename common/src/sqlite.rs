//! Opening a SQLite file the way both databases need it: time-outs before anything else, then durability, then schema.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// How long one process waits for another's write.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens `path`, making it where it is absent, and brings its schema up to the last of `migrations`.
///
/// `page_bytes` counts only for a new file.
pub(crate) fn open(path: &Path, page_bytes: u32, busy: Duration, migrations: &[&str]) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // First of all: two processes that switch a new file to WAL at once would otherwise fail with BUSY.
    connection.busy_timeout(busy)?;
    connection.pragma_update(None, "page_size", page_bytes)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", 500)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A migration may put a table in another's place, which references to it must survive (sqlite.org/lang_altertable.html,
    // section 7).
    connection.pragma_update(None, "foreign_keys", false)?;
    migrate(&mut connection, migrations)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Opens `path` for reading only.
pub(crate) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Forward only. A file that a later version has migrated is refused rather than misread.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let version = |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    let newest = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if version(connection)? == newest {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = version(&transaction)?;
    if done > newest {
        let message = format!("it has schema version {done}, and this program knows {newest}; install the newer Hookspool");
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR), Some(message)));
    }
    for migration in migrations.iter().skip(done as usize) {
        transaction.execute_batch(migration)?;
    }
    let dangling = transaction.prepare("PRAGMA foreign_key_check")?.exists([])?;
    if dangling {
        let message = "a migration would leave references to rows that are not there; nothing was changed".to_owned();
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT), Some(message)));
    }
    transaction.pragma_update(None, "user_version", newest)?;
    transaction.commit()
}
