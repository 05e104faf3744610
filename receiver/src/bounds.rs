//! Whether the spool has room for more, and what may go from it. It looks, and decides; it writes nothing to disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hookspool_common::clock::Clock;
use hookspool_common::config::Spool;
use hookspool_common::inbox::{self, Prunable};
use hookspool_common::record::InboxIdentity;

/// How long a look at the file system counts. What comes in that time is less than a sensible reserve.
const LOOK_FOR: Duration = Duration::from_secs(1);

/// Why nothing new is accepted, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    #[error(
        "the inbox uses more than [receiver] spool_limit ({limit} bytes); see why the worker takes nothing over \
         (hookspool-worker pass), or raise spool_limit"
    )]
    Limit { limit: u64 },
    #[error(
        "the file system of {} has less than [receiver] spool_reserve ({reserve} bytes) left; free some, or lower \
         spool_reserve", spool.display()
    )]
    Reserve { spool: PathBuf, reserve: u64 },
}

/// The spool's bounds, and where it is.
pub(crate) struct Bounds {
    pub(crate) spool: PathBuf,
    /// As they are in force at the time.
    limits: Box<dyn Fn() -> Spool + Send>,
    clock: Arc<dyn Clock>,
    /// The last look at the file system.
    looked: Option<(Instant, Result<(), NoRoom>)>,
    /// What was found last, for whoever reads the metrics.
    is_full: Arc<AtomicBool>,
}

impl Bounds {
    pub(crate) fn new(
        spool: PathBuf,
        limits: impl Fn() -> Spool + Send + 'static,
        clock: Arc<dyn Clock>,
        is_full: Arc<AtomicBool>,
    ) -> Self {
        Self { spool, limits: Box::new(limits), clock, looked: None, is_full }
    }

    /// Whether an inbox that uses so much may grow.
    pub(crate) fn room(&mut self, used_bytes: u64) -> Result<(), NoRoom> {
        let room = self.find_room(used_bytes);
        self.is_full.store(room.is_err(), Relaxed);
        room
    }

    fn find_room(&mut self, used_bytes: u64) -> Result<(), NoRoom> {
        let limit = (self.limits)().limit;
        if used_bytes > limit {
            return Err(NoRoom::Limit { limit });
        }
        match &self.looked {
            Some((when, found)) if when.elapsed() < LOOK_FOR => found.clone(),
            _ => {
                let found = self.look();
                self.looked = Some((Instant::now(), found.clone()));
                found
            }
        }
    }

    fn look(&self) -> Result<(), NoRoom> {
        let reserve = (self.limits)().reserve;
        match inbox::free_bytes(&self.spool) {
            Ok(free) if free < reserve => Err(NoRoom::Reserve { spool: self.spool.clone(), reserve }),
            Ok(_) => Ok(()),
            Err(error) => {
                // The write itself will show.
                tracing::warn!(%error, spool = %self.spool.display(), "the file system cannot be asked for its room");
                Ok(())
            }
        }
    }

    /// Whether an inbox that uses so much is to be pruned.
    pub(crate) fn is_ample(&self, used_bytes: u64) -> bool {
        used_bytes > (self.limits)().kept_bytes
    }

    /// What may go from this inbox. Without a mark that can be read, nothing.
    pub(crate) fn prunable(&self, inbox: &InboxIdentity) -> Prunable {
        let taken_over = inbox::taken_over(&self.spool, inbox).unwrap_or_else(|error| {
            tracing::warn!(%error, spool = %self.spool.display(), "the worker's mark cannot be read; nothing is pruned");
            0
        });
        let limits = (self.limits)();
        let kept_for = i64::try_from(limits.kept_for.as_millis()).unwrap_or(i64::MAX);
        let received_before = self.clock.now().plus_millis(-kept_for);
        Prunable { taken_over, received_before, above_bytes: limits.kept_bytes }
    }
}
