//! What goes when its time is over: logs are packed, then runs with their logs, deliveries, kept workspaces, caches, and the
//! mirrors of repositories that are configured no more.
//!
//! It is the last thing that a pass does, in small pieces, and it breaks off when somebody waits for the pass: the next one
//! goes on. What it cannot do is said and tried again; it fails neither a pass nor the rest of what is to go: on a full disk,
//! where nothing can be packed, something must go.

mod leftovers; // what lies in folders and belongs to nothing any more

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::Context;
use hookspool_common::clock::{Clock, Instant};
use hookspool_common::config::Config;
use hookspool_common::ledger::{Keeping, Overdue, Pruning, SqliteLedger};

use crate::folders::Folders;
use crate::packed_log;

/// Logs that one pass packs.
const MAX_PACKED: usize = 64;

/// Runs that one transaction removes: few enough that nobody waits for it.
const RUNS_AT_ONCE: usize = 200;

/// Runs that one pass looks at.
const MAX_RUNS: usize = 20_000;

/// Deliveries that one transaction looks at.
const DELIVERIES_AT_ONCE: usize = 500;

/// Between two looks through everything.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// What tidying needs.
struct Tidying<'a> {
    config: &'a Config,
    folders: &'a Folders,
    now: Instant,
    /// Whether somebody waits for this pass.
    is_awaited: &'a dyn Fn() -> bool,
}

/// Whether all of it was done, or something is left for the next pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    More,
}

/// Packs the logs of runs that are over and, once in a while, removes what is kept no longer.
pub fn tidy(config: &Config, ledger: &mut SqliteLedger, folders: &Folders, clock: &dyn Clock, is_awaited: &dyn Fn() -> bool) {
    let tidying = Tidying { config, folders, now: clock.now(), is_awaited };
    for outcome in [tidying.pack_logs(ledger), tidying.remove_what_is_over(ledger)] {
        outcome.unwrap_or_else(|error| not_done(&error));
    }
}

/// Says what could not be done, and is tried again.
fn not_done(error: &anyhow::Error) {
    tracing::warn!(error = format!("{error:#}"), "cannot pack or remove all that is kept no longer; it is tried again");
}

/// Whether something was removed; where it was not, that is said, and it is tried again with the next look.
fn removed(result: io::Result<()>, what: impl Fn() -> String) -> bool {
    if let Err(error) = &result {
        tracing::warn!(what = what(), %error, "cannot remove what is kept no longer; it is tried again");
    }
    result.is_ok()
}

impl Tidying<'_> {
    /// However many logs cannot be packed, those after them are; of those that cannot, the first is named.
    fn pack_logs(&self, ledger: &mut SqliteLedger) -> anyhow::Result<()> {
        let (mut packed, mut after) = (Vec::new(), None);
        let (mut first_failure, mut failures) = (None, 0_usize);
        while packed.len() < MAX_PACKED && !(self.is_awaited)() {
            let Some(run) = ledger.unpacked(after, 1)?.pop() else { break };
            after = Some(run);
            match packed_log::pack(self.folders, run) {
                Ok(bytes) => packed.push((run, bytes)),
                Err(error) => {
                    failures += 1;
                    first_failure.get_or_insert((run, error));
                }
            }
        }
        if !packed.is_empty() {
            ledger.packed(&packed)?;
        }
        let Some((run, error)) = first_failure else { return Ok(()) };
        Err(error).with_context(|| format!("cannot pack {failures} logs; the first is that of run {run}"))
    }

    fn remove_what_is_over(&self, ledger: &mut SqliteLedger) -> anyhow::Result<()> {
        if !self.is_time() || (self.is_awaited)() {
            return Ok(());
        }
        let retention = &self.config.worker.retention;
        let keeping = Keeping { since: self.before(retention.age), count: retention.count, log_bytes: retention.size };
        // The inbox may still hold what is younger than its own retention; were it forgotten here, a spool that lost its place
        // would have it run again.
        let known = retention.age.max(self.config.receiver.spool.kept_for);
        let parts = [
            self.remove_runs(ledger, &keeping),
            self.remove_deliveries(ledger, self.before(known)),
            leftovers::remove(self, ledger),
        ];
        let mut is_done = true;
        for part in parts {
            is_done &= part.inspect_err(not_done).is_ok_and(|progress| progress == Progress::Done);
        }
        if !is_done {
            return Ok(());
        }
        fs::write(self.folders.tidied(), self.now.millis().to_string()).context("cannot write down that all was looked through")
    }

    /// Whether the last look is long enough ago; or in the future, as after a clock was wrong.
    fn is_time(&self) -> bool {
        let last = fs::read_to_string(self.folders.tidied()).ok().and_then(|text| text.trim().parse().ok());
        let Some(last) = last.map(Instant::from_millis) else { return true };
        last > self.now || u128::from(self.now.since(last)) >= LOOK_EVERY.as_millis()
    }

    fn before(&self, age: Duration) -> Instant {
        self.now.plus_millis(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }

    fn remove_runs(&self, ledger: &mut SqliteLedger, keeping: &Keeping) -> anyhow::Result<Progress> {
        let Some(until) = ledger.overdue_until(keeping)? else { return Ok(Progress::Done) };
        let (mut after, mut pruned) = (None, 0);
        let mut progress = Progress::More;
        for _ in 0..MAX_RUNS / RUNS_AT_ONCE {
            let overdue = ledger.overdue(after, until, RUNS_AT_ONCE)?;
            let Some(last) = overdue.last() else {
                progress = Progress::Done;
                break;
            };
            after = Some(last.place);
            // The logs first: were it the other way round, a crash in between would leave logs that belong to nothing.
            let without_log = |one: &&Overdue| {
                let what = || format!("the log of run {}", one.run);
                !one.has_log || removed(packed_log::remove(self.folders, one.run), what)
            };
            pruned += ledger.prune(&overdue.iter().filter(without_log).map(|one| one.run).collect::<Vec<_>>(), self.now)?;
            if (self.is_awaited)() {
                break;
            }
        }
        if pruned > 0 {
            tracing::info!(runs = pruned, "removed runs whose time was over");
        }
        Ok(progress)
    }

    fn remove_deliveries(&self, ledger: &mut SqliteLedger, before: Instant) -> anyhow::Result<Progress> {
        let mut after = None;
        while !(self.is_awaited)() {
            after = ledger.prune_deliveries(after, before, DELIVERIES_AT_ONCE)?;
            if after.is_none() {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }
}

#[cfg(test)]
mod tests;
