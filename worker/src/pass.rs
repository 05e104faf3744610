//! One look at everything: import, reap, start, send; again while something changed; then gone.
//!
//! Level-triggered: each look reads what is there. Whoever calls, and how often, makes no difference but in time.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use anyhow::Context;
use hookspool_common::clock::{Clock, Instant};
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, RunState, SqliteLedger};
use hookspool_common::names::RunId;
use hookspool_common::secrets::SecretStore;

use crate::alive::try_lock;
use crate::cancel::{self, Cancellation};
use crate::folders::Folders;
use crate::import::import;
use crate::lanes::is_cancelled;
use crate::launcher::{Launcher, Order};
use crate::outbox::send_due;
use crate::reap::reap;
use crate::reconcile::ask_forges;
use crate::retention::tidy;
use crate::schedules::queue_due;

/// Runs beyond the free slots that are tried where others cannot be started.
const MAX_TRIED_INSTEAD: usize = 64;

/// "I am the one pass." While it is held, others leave a mark instead of looking themselves.
#[derive(Debug)]
struct PassLock {
    _file: File,
    mark: PathBuf,
}

impl PassLock {
    fn take(folders: &Folders) -> io::Result<Option<Self>> {
        let held = try_lock(&folders.pass_lock())?;
        Ok(held.map(|file| Self { _file: file, mark: folders.pass_mark() }))
    }

    /// Leaves a mark for the pass that holds the lock and waits for its end. `None` when another waits already: its
    /// wait is as good as this one's.
    fn take_after_the_other(folders: &Folders) -> io::Result<Option<Self>> {
        let mark = folders.pass_mark();
        File::create(&mark)?;
        let Some(_next) = try_lock(&folders.next_pass_lock())? else { return Ok(None) };
        let file = File::options().append(true).create(true).open(folders.pass_lock())?;
        file.lock()?;
        Ok(Some(Self { _file: file, mark }))
    }

    /// Whether another pass came meanwhile; asked once for each mark.
    fn take_mark(&self) -> bool {
        fs::remove_file(&self.mark).is_ok()
    }
}

/// Does what there is to do, then returns. When another pass is at it, that one looks once more instead, and this one
/// returns when that is done; so whoever was woken need not be woken again.
///
/// # Errors
/// What could not be done, after everything else was.
pub fn pass(config: &Config, credentials: Option<PathBuf>, launcher: &dyn Launcher, clock: &dyn Clock) -> anyhow::Result<()> {
    let folders = Folders::new(&config.paths);
    folders.make()?;
    let mut lock = match PassLock::take(&folders).context("cannot take the pass's lock")? {
        Some(lock) => lock,
        None => match PassLock::take_after_the_other(&folders).context("cannot wait for the pass that runs")? {
            // The other has looked since the mark was left.
            Some(lock) if !lock.mark.exists() => return Ok(()),
            Some(lock) => lock,
            None => return Ok(()),
        },
    };
    loop {
        lock.take_mark();
        let outcome = look_at_everything(config, &folders, credentials.clone(), launcher, clock, &lock);
        let mark = lock.mark.clone();
        drop(lock);
        // A mark that was left between the last look and the lock's end; whoever waits for the lock may have it too.
        match mark.exists().then(|| PassLock::take(&folders)).transpose()?.flatten() {
            Some(again) => lock = again,
            None => return outcome,
        }
    }
}

fn look_at_everything(
    config: &Config,
    folders: &Folders,
    credentials: Option<PathBuf>,
    launcher: &dyn Launcher,
    clock: &dyn Clock,
    lock: &PassLock,
) -> anyhow::Result<()> {
    let mut ledger = SqliteLedger::open(&folders.ledger())?;
    let outcome = look_while_it_changes(config, folders, &mut ledger, credentials, launcher, clock, lock);
    // What failed may have failed for want of the room that this makes.
    tidy(config, &mut ledger, folders, clock, &|| lock.mark.exists());
    outcome
}

fn look_while_it_changes(
    config: &Config,
    folders: &Folders,
    ledger: &mut SqliteLedger,
    credentials: Option<PathBuf>,
    launcher: &dyn Launcher,
    clock: &dyn Clock,
    lock: &PassLock,
) -> anyhow::Result<()> {
    let secrets = SecretStore::of_worker(config.directory(), credentials);
    let mut not_startable = HashSet::new();
    // What nobody told of must not keep what somebody did tell of from running.
    if let Err(error) = ask_forges(config, folders, ledger, launcher, clock.now()) {
        tracing::error!(error = format!("{error:#}"), "the forges cannot be asked for what no delivery told of");
    }
    loop {
        // A spool that cannot be read must not keep admitted runs from starting, nor a mail server anything.
        let imported = import(config, ledger, clock);
        let reaped = reap(config, ledger, folders, launcher, clock)?;
        queue_due(config, ledger, clock.now())?;
        cancel_for_newcomers(config, ledger, folders)?;
        let started = start_runs(config, ledger, launcher, clock.now(), &mut not_startable)?;
        let sent = send_due(config, ledger, &secrets, clock)?;
        let changed = *imported.as_ref().unwrap_or(&false) || reaped || started || sent || lock.take_mark();
        if !changed {
            return imported.map(drop);
        }
    }
}

/// Starts what lanes and slots allow. Whether any runner claimed its run. One whose runner did not takes no slot from the
/// others, and is not tried again by this pass, which might never end.
fn start_runs(
    config: &Config,
    ledger: &dyn Ledger,
    launcher: &dyn Launcher,
    now: Instant,
    not_startable: &mut HashSet<RunId>,
) -> anyhow::Result<bool> {
    let slots = usize::try_from(config.worker.slots).unwrap_or(usize::MAX);
    let mut free = slots.saturating_sub(ledger.running()?.len());
    let mut started = false;
    let candidates = free.saturating_add(MAX_TRIED_INSTEAD).saturating_add(not_startable.len());
    for id in if free > 0 { ledger.startable(now, candidates)? } else { Vec::new() } {
        if free == 0 {
            break;
        }
        let Some(run) = ledger.run(id)?.filter(|_| !not_startable.contains(&id)) else { continue };
        if let Err(error) = launcher.start(&Order::new(config, &run)) {
            tracing::error!(run = %id, error = format!("{error:#}"), "cannot start a runner");
        }
        if ledger.run(id)?.is_some_and(|run| run.state == RunState::Queued) {
            not_startable.insert(id);
        } else {
            (free, started) = (free - 1, true);
        }
    }
    Ok(started)
}

/// Ends running runs for a newcomer of their lane whose job says `cancel-running`. Derived anew by each pass, so that a
/// pass that dies forgets nothing.
fn cancel_for_newcomers(config: &Config, ledger: &dyn Ledger, folders: &Folders) -> anyhow::Result<()> {
    for running in ledger.running()? {
        if is_cancelled(config, ledger, &running)? {
            tracing::info!(run = %running.id, "cancelling for a newer run of its lane");
            if let Err(error) = cancel::ask(folders, running.id, &Cancellation::ForNewer) {
                tracing::warn!(run = %running.id, %error, "cannot ask a run to end");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
