//! How old and how large what waits in the spool is, looked up when somebody asks.
//!
//! The inbox is read through a connection of its own, which never holds up the writer: a reader of a WAL takes no lock that
//! a writer waits for, and this one reads a single row by its key.

use std::fs;
use std::io;
use std::path::Path;

use hookspool_common::clock::Instant;
use hookspool_common::inbox::{self, INBOX_FILE, InboxError, InboxReader, SqliteInboxReader};

/// What waits in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpoolState {
    /// How long the oldest delivery waits that the worker has not taken over.
    pub(super) age_millis: i64,
    /// The inbox and its write-ahead log.
    pub(super) bytes: u64,
}

/// Why that is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolUnknown {
    #[error("{0}")]
    Inbox(#[from] InboxError),
    #[error("{0}")]
    File(#[from] io::Error),
}

impl SpoolState {
    /// Looks, which reads from the disk.
    pub(super) fn look(spool: &Path, now: Instant) -> Result<Self, SpoolUnknown> {
        let mut reader = SqliteInboxReader::open(&spool.join(INBOX_FILE))?;
        let taken_over = inbox::taken_over(spool, reader.identity())?;
        let oldest = reader.read_after(taken_over, 1)?.pop();
        let age = oldest.map_or(0, |record| now.since(record.received_at));
        let bytes = size(&spool.join(INBOX_FILE))? + size(&spool.join(format!("{INBOX_FILE}-wal")))?;
        Ok(Self { age_millis: i64::try_from(age).unwrap_or(i64::MAX), bytes })
    }
}

fn size(file: &Path) -> io::Result<u64> {
    match fs::metadata(file) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
