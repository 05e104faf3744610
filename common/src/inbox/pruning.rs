//! Deliveries that may go: taken over by the ledger, and old or too many. Their keys stay, see [`super::seen`]; and until
//! when they came, so that whoever asks for a time is told whether all of it is still there.

use rusqlite::{Transaction, params};

use super::{Prunable, Tidied};

/// Deliveries that one transaction takes away at most, so that those which come meanwhile hardly wait for it.
const MAX_DELIVERIES: usize = 256;

/// Bytes after which it takes away no more; a body's pages are read to be freed.
const MAX_BYTES: i64 = 8 * 1024 * 1024;

/// Takes away a few of the oldest deliveries, if they may go.
pub(super) fn prune(transaction: &Transaction<'_>, prunable: &Prunable, used_bytes: u64) -> rusqlite::Result<Tidied> {
    let excess = i64::try_from(used_bytes.saturating_sub(prunable.above_bytes)).unwrap_or(i64::MAX);
    let (mut last, mut newest, mut freed, mut tidied) = (0, i64::MIN, 0, Tidied::default());
    let mut oldest = transaction.prepare_cached(
        "SELECT seq, received_at, octet_length(proposals) + octet_length(headers) + octet_length(zstd)
         FROM delivery JOIN body USING (seq) WHERE seq <= ?1 ORDER BY seq",
    )?;
    let mut oldest = oldest.query([prunable.taken_over])?;
    while let Some(row) = oldest.next()? {
        let received_at: i64 = row.get(1)?;
        let is_old = received_at < prunable.received_before.millis();
        if !is_old && freed >= excess {
            break;
        }
        if tidied.pruned == MAX_DELIVERIES || freed >= MAX_BYTES {
            tidied.has_more = true;
            break;
        }
        last = row.get(0)?;
        // The clock may have gone back meanwhile.
        newest = newest.max(received_at);
        freed += row.get::<_, i64>(2)?;
        tidied.pruned += 1;
    }
    if tidied.pruned > 0 {
        transaction.prepare_cached("DELETE FROM body WHERE seq <= ?1")?.execute(params![last])?;
        transaction.prepare_cached("DELETE FROM delivery WHERE seq <= ?1")?.execute(params![last])?;
        let remember = "UPDATE inbox SET newest_pruned_at = max(coalesce(newest_pruned_at, ?1), ?1) WHERE one = 1";
        transaction.prepare_cached(remember)?.execute(params![newest])?;
    }
    Ok(tidied)
}
