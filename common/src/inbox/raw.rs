//! Deliveries as they came: headers and bodies, for the operator's program.
//!
//! What is read here is whatever the receiver's user left in the file. So only a program without privileges may read it;
//! it hands [`RawLine`]s over a pipe, each followed by the body's bytes. Bodies are bounded before they are unpacked, and
//! while they are.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use serde::{Deserialize, Serialize};

use super::InboxError;
use super::sqlite::{MIGRATIONS, inbox_error, record};
use crate::clock::Instant;
use crate::names::{DeliveryId, SourceName};
use crate::record::{Answer, InboxIdentity, Record};
use crate::sqlite;

/// Largest body that the receiver takes, in bytes: GitHub's own cap (docs.github.com, "Webhook events and payloads",
/// "Payload cap").
pub const MAX_BODY_BYTES: usize = 25 * 1024 * 1024;

/// Longest packed body, in bytes: what cannot be compressed becomes a little longer (zstd's own bound is a 256th).
const MAX_PACKED_BYTES: usize = MAX_BODY_BYTES + MAX_BODY_BYTES / 128;

/// Longest JSON of kept headers, in bytes: four times a head of 16 KiB, with every character escaped.
const MAX_HEADERS_BYTES: usize = 6 * 64 * 1024;

/// Memory that unpacking may ask for, as a power of two: 32 MiB hold the largest body whole.
const MAX_WINDOW_LOG: u32 = 25;

/// Which deliveries are asked for. What is absent asks for nothing in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Only those with one of these ids, ours or the forge's.
    pub ids: Option<Vec<String>>,
    /// Only those that came at this instant or later.
    pub since: Option<Instant>,
    /// Only those of this source.
    pub source: Option<SourceName>,
    /// Only those that were answered like this.
    pub answer: Option<Answer>,
    /// At most this many.
    pub limit: Option<usize>,
    /// The newest first, instead of in the order in which they came.
    pub newest_first: bool,
}

/// What is left of a delivery's headers and body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kept {
    /// Both; the body's bytes follow the line.
    Whole {
        /// The headers that were kept; never a signature or token.
        headers: BTreeMap<String, String>,
        /// How many bytes follow.
        body_bytes: usize,
    },
    /// Nothing: their time was over.
    Removed,
    /// Something that no receiver writes.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

/// One delivery, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLine {
    /// What was read and answered when it came.
    pub record: Record,
    /// What is left of it.
    pub kept: Kept,
}

/// Which time an inbox tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// When the newest of the deliveries came that were removed; `None` while none was.
    pub newest_pruned_at: Option<Instant>,
}

impl Extent {
    /// Whether everything is still there that came at `since` or later.
    #[must_use]
    pub fn covers(&self, since: Instant) -> bool {
        self.newest_pruned_at.is_none_or(|at| at < since)
    }
}

/// The inbox, opened to read deliveries as they came.
#[derive(Debug)]
pub struct SqliteRawReader {
    connection: Connection,
    identity: InboxIdentity,
}

impl SqliteRawReader {
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

    /// Which inbox this is.
    #[must_use]
    pub const fn identity(&self) -> &InboxIdentity {
        &self.identity
    }

    /// Which time it tells of.
    ///
    /// # Errors
    /// [`InboxError`] when the file cannot be read, or when no receiver of this version has opened it yet.
    pub fn extent(&self) -> Result<Extent, InboxError> {
        let version: u32 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(inbox_error)?;
        if (version as usize) < MIGRATIONS.len() {
            let why = "it is of an older Hookspool; restart hookspool-receiver, which brings it up to date";
            return Err(InboxError::Failing(why.to_owned()));
        }
        let newest = "SELECT newest_pruned_at FROM inbox";
        let newest: Option<i64> = self.connection.query_row(newest, [], |row| row.get(0)).map_err(inbox_error)?;
        Ok(Extent { newest_pruned_at: newest.map(Instant::from_millis) })
    }

    /// Gives each delivery that `query` asks for to `each`, with its body, one at a time.
    ///
    /// # Errors
    /// What `each` says, or [`InboxError`] when the file cannot be read.
    pub fn read<E: From<InboxError>>(
        &self,
        query: &Query,
        mut each: impl FnMut(RawLine, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sql, values) = select(query);
        let failing = |error| E::from(inbox_error(error));
        let mut select = self.connection.prepare(&sql).map_err(failing)?;
        let mut rows = select.query(params_from_iter(values)).map_err(failing)?;
        while let Some(row) = rows.next().map_err(failing)? {
            let (kept, body) = kept(row).map_err(failing)?;
            each(RawLine { record: record(row).map_err(failing)?, kept }, &body)?;
        }
        Ok(())
    }
}

/// What is too long is not even read.
fn select(query: &Query) -> (String, Vec<Value>) {
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    if let Some(ids) = &query.ids {
        let marks = vec!["?"; ids.len()].join(", ");
        conditions.push(format!("(delivery.id IN ({marks}) OR provider_id IN ({marks}))"));
        let own = |id: &String| id.parse::<DeliveryId>().map_or(Value::Null, |id| Value::Blob(id.as_bytes().to_vec()));
        values.extend(ids.iter().map(own));
        values.extend(ids.iter().cloned().map(Value::Text));
    }
    if let Some(since) = query.since {
        conditions.push("received_at >= ?".to_owned());
        values.push(Value::Integer(since.millis()));
    }
    for (column, wanted) in
        [("source", query.source.as_ref().map(SourceName::as_str)), ("answer", query.answer.map(Answer::as_str))]
    {
        if let Some(wanted) = wanted {
            conditions.push(format!("{column} = ?"));
            values.push(Value::Text(wanted.to_owned()));
        }
    }
    let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let order = if query.newest_first { "DESC" } else { "ASC" };
    values.push(Value::Integer(query.limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT delivery.seq, id, source, provider_id, received_at, answer, reason, proposals,
             CASE WHEN length(CAST(headers AS BLOB)) <= {MAX_HEADERS_BYTES} THEN headers END,
             CASE WHEN length(zstd) <= {MAX_PACKED_BYTES} THEN zstd END,
             body.seq IS NULL OR zstd IS NULL
         FROM delivery LEFT JOIN body ON body.seq = delivery.seq {filter} ORDER BY delivery.seq {order} LIMIT ?"
    );
    (sql, values)
}

fn kept(row: &Row<'_>) -> rusqlite::Result<(Kept, Vec<u8>)> {
    let unreadable = |reason: String| Ok((Kept::Unreadable { reason }, Vec::new()));
    if row.get(10)? {
        return Ok((Kept::Removed, Vec::new()));
    }
    let (Some(headers), Some(packed)) = (row.get::<_, Option<String>>(8)?, row.get::<_, Option<Vec<u8>>>(9)?) else {
        return unreadable("its headers or body are longer than any that the receiver takes".to_owned());
    };
    let headers: BTreeMap<String, String> = match serde_json::from_str(&headers) {
        Ok(headers) => headers,
        Err(error) => return unreadable(format!("its headers are no JSON object of texts: {error}")),
    };
    match unpacked(&packed) {
        Ok(body) if body.len() <= MAX_BODY_BYTES => Ok((Kept::Whole { headers, body_bytes: body.len() }, body)),
        Ok(_) => unreadable(format!("its body is longer than the {MAX_BODY_BYTES} bytes that the receiver takes")),
        Err(error) => unreadable(format!("its body cannot be unpacked: {error}")),
    }
}

/// At most one byte more than may be, however much the packed bytes promise.
fn unpacked(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    let mut body = Vec::new();
    decoder.take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests;
