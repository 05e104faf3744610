//! The inbox: deliveries on disk before they are answered.
//!
//! Only the receiver writes it. Root never opens it, because SQLite runs a planted trigger inside whoever does; the
//! importer, without privileges, reads it.

mod filter; // which keys a set may hold
mod folder; // the spool folder: may we write there, and what to do if not
mod pruning; // which deliveries go
mod seen; // the keys by which deliveries are known again
mod sqlite;
mod raw; // deliveries as they came, for the operator

use crate::clock::Instant;
use crate::delivery::SeenKey;
use crate::names::{DeliveryId, SourceName};
use crate::record::{Answer, InboxIdentity, Record};

pub use folder::{MARK_FILE, SpoolError, WAKE_FILE, check_folder, find_inbox, free_bytes, place_in, taken_over, wake};
pub use raw::{Extent, Kept, MAX_BODY_BYTES, Query, RawLine, SqliteRawReader};
pub use sqlite::{SqliteInbox, SqliteInboxReader};

/// The inbox's file within the spool folder.
pub const INBOX_FILE: &str = "inbox.db";

/// One delivery, ready to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: DeliveryId,
    /// The source it came to.
    pub source: SourceName,
    /// The forge's own id for it.
    pub provider_id: Option<String>,
    /// When it came.
    pub received_at: Instant,
    /// What is to be answered.
    pub answer: Answer,
    /// Why nothing is to run.
    pub reason: Option<String>,
    /// What is to run: a JSON list of [`crate::record::Proposal`]s.
    pub proposals: String,
    /// Under which keys it counts as seen.
    pub seen_keys: Vec<SeenKey>,
    /// The headers that were kept: a JSON object.
    pub headers: String,
    /// The body, compressed with zstd.
    pub body: Vec<u8>,
}

/// What became of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It is on disk.
    Stored,
    /// It had been seen before, as this delivery; nothing was written.
    Duplicate(DeliveryId),
}

/// Which deliveries may go: those that the ledger has taken over, from the oldest on.
#[derive(Debug, Clone, Copy)]
pub struct Prunable {
    /// The place of the last delivery that the ledger has taken over.
    pub taken_over: i64,
    /// What came earlier goes.
    pub received_before: Instant,
    /// More goes while the inbox uses more than this.
    pub above_bytes: u64,
}

/// What tidying did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Deliveries that are gone.
    pub pruned: usize,
    /// Whether more may go at once.
    pub has_more: bool,
    /// The inbox is an older copy of what it was, and has taken a new identity: more had been taken over from this
    /// identity than it ever stored, so what it stores next would pass for taken over, and never be read.
    pub is_renewed: bool,
}

/// Why the inbox took nothing. The whole batch is refused; nothing of it is on disk.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The disk, or the quota, is full.
    #[error("the spool's disk is full: {0}")]
    Full(String),
    /// Another process holds the file.
    #[error("the inbox is locked by another process: {0}")]
    Locked(String),
    /// The file cannot be opened, read or written.
    #[error("the inbox fails: {0}")]
    Failing(String),
}

/// The writing side.
pub trait Inbox {
    /// Writes a batch in one transaction. When it returns, what it says is stored is on disk, durably.
    ///
    /// # Errors
    /// [`InboxError`] when nothing was written.
    fn deliver(&mut self, batch: &[Entry]) -> Result<Vec<Receipt>, InboxError>;

    /// Writes a trifle, as durably as a delivery, to see whether writing works.
    ///
    /// # Errors
    /// [`InboxError`] when nothing was written.
    fn check(&mut self) -> Result<(), InboxError>;

    /// The delivery that was seen under one of the entry's keys. Writes nothing, so it works where nothing can be written.
    ///
    /// # Errors
    /// [`InboxError`] when the file cannot be read.
    fn find_earlier(&mut self, entry: &Entry) -> Result<Option<DeliveryId>, InboxError>;

    /// Does a little of what can wait: makes place, keeps the keys in order, notices that it was restored from a backup.
    /// Meant for when nobody waits for an answer.
    ///
    /// # Errors
    /// [`InboxError`] when nothing was done; another time will do.
    fn tidy(&mut self, prunable: &Prunable) -> Result<Tidied, InboxError>;

    /// Whether tidying has keys to put in order; they are in memory until then.
    fn has_keys_to_tidy(&self) -> bool;

    /// Bytes that deliveries use, as of the last write. The file is longer: the keys are in it, some 75 MiB of them in
    /// time, and what was freed in it is used again.
    fn used_bytes(&self) -> u64;

    /// Which inbox this is.
    fn identity(&self) -> &InboxIdentity;
}

/// The reading side.
pub trait InboxReader {
    /// Which inbox this is.
    fn identity(&self) -> &InboxIdentity;

    /// Up to `limit` deliveries whose place is after `seq`, in order.
    ///
    /// # Errors
    /// [`InboxError`] when the file cannot be read.
    fn read_after(&mut self, seq: i64, limit: usize) -> Result<Vec<Record>, InboxError>;
}

#[cfg(test)]
mod tests;
