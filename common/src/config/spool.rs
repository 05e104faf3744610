//! How much the receiver's spool may hold, and how long: `spool_limit`, `spool_reserve` and `[receiver.retention]`.

use std::time::Duration;

use super::problem::Report;
use super::table::Table;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MIB: u64 = 1024 * 1024;

/// The spool's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spool {
    /// While deliveries use more bytes of the inbox than this, nothing new is accepted. The keys do not count.
    pub limit: u64,
    /// While the file system has fewer bytes left than this, nothing new is accepted.
    pub reserve: u64,
    /// After this time a delivery goes, once the ledger has taken it over.
    pub kept_for: Duration,
    /// While deliveries use more bytes of the inbox than this, they go, once the ledger has taken them over.
    pub kept_bytes: u64,
}

/// GitHub shows, and sends again, what is up to thirty days old. The reserve is more than comes in a second, which is how
/// often it is looked at.
pub(super) const fn default() -> Spool {
    Spool { limit: 2048 * MIB, reserve: 128 * MIB, kept_for: Duration::from_secs(30 * DAY.as_secs()), kept_bytes: 1024 * MIB }
}

/// Reads the keys of `[receiver]` that are about its spool.
pub(super) fn read(receiver: &mut Table<'_, '_>, report: &mut Report) -> Spool {
    let mut spool = default();
    spool.limit = receiver.size("spool_limit", report).unwrap_or(spool.limit);
    spool.reserve = receiver.size("spool_reserve", report).unwrap_or(spool.reserve);
    if let Some(mut retention) = receiver.table("retention", "[receiver.retention]", report) {
        spool.kept_for = retention.duration("age", report).unwrap_or(spool.kept_for);
        spool.kept_bytes = retention.size("size", report).unwrap_or(spool.kept_bytes);
        retention.finish(report);
    }
    if spool.kept_bytes >= spool.limit {
        let message = format!(
            "the retention's `size` is {} bytes, and `spool_limit` {}: the spool would be closed before anything is pruned",
            spool.kept_bytes, spool.limit
        );
        let help = "make `spool_limit` the larger one".to_owned();
        receiver.wrong(receiver.span(), message, Some(help), report);
    }
    spool
}
