//! Deliveries that may go: taken over by the ledger, and old or too many. Their keys stay, see [`super::seen`]; and until
//! when they came, so that whoever asks for a time is told whether all of it is still there.

use rusqlite::{Transaction, params};

use super::{Prunable, Tidied};

/// Deliveries that one transaction looks at, and takes away, at most, so that those which come meanwhile hardly wait for it.
const MAX_DELIVERIES: usize = 256;

/// Bytes after which it takes away no more; a body's pages are read to be freed.
const MAX_BYTES: i64 = 8 * 1024 * 1024;

/// Takes away a few of the oldest deliveries, if they may go.
pub(super) fn prune(transaction: &Transaction<'_>, prunable: &Prunable, used_bytes: u64) -> rusqlite::Result<Tidied> {
    let excess = i64::try_from(used_bytes.saturating_sub(prunable.above_bytes)).unwrap_or(i64::MAX);
    let (mut last, mut looked_at, mut bytes, mut freed, mut tidied) = (0, 0, 0, 0, Tidied::default());
    let mut oldest = transaction.prepare_cached(
        "SELECT seq, received_at, octet_length(proposals) + octet_length(headers) + octet_length(zstd)
         FROM delivery JOIN body USING (seq) WHERE seq <= ?1 ORDER BY seq",
    )?;
    let mut oldest = oldest.query([prunable.taken_over])?;
    while let Some(row) = oldest.next()? {
        if looked_at == MAX_DELIVERIES || freed >= MAX_BYTES {
            tidied.has_more = tidied.pruned > 0;
            break;
        }
        // A clock that was ahead for a while must not keep what came after it: all of what came before an old one goes.
        let is_old = row.get::<_, i64>(1)? < prunable.received_before.millis();
        let is_too_much = tidied.pruned == looked_at && freed < excess;
        looked_at += 1;
        bytes += row.get::<_, i64>(2)?;
        if is_old || is_too_much {
            (last, freed, tidied.pruned) = (row.get(0)?, bytes, looked_at);
        }
    }
    if tidied.pruned > 0 {
        let remember = "UPDATE inbox SET newest_pruned_at = (
            SELECT max(received_at, coalesce(newest_pruned_at, received_at)) FROM delivery WHERE seq <= ?1
            ORDER BY received_at DESC LIMIT 1
        ) WHERE one = 1";
        transaction.prepare_cached(remember)?.execute(params![last])?;
        transaction.prepare_cached("DELETE FROM body WHERE seq <= ?1")?.execute(params![last])?;
        transaction.prepare_cached("DELETE FROM delivery WHERE seq <= ?1")?.execute(params![last])?;
    }
    Ok(tidied)
}
