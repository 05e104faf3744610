//! One look at everything: import, reap, start, send; again while something changed; then gone.
//!
//! Level-triggered: each look reads what is there. Whoever calls, and how often, makes no difference but in time.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use anyhow::Context;
use hookspool_common::clock::{Clock, Instant};
use hookspool_common::config::{Config, OnNew};
use hookspool_common::ledger::{Ledger, RunState, SqliteLedger};
use hookspool_common::secrets::SecretStore;

use crate::alive::try_lock;
use crate::cancel::{self, Cancellation};
use crate::folders::Folders;
use crate::import::import;
use crate::lanes::does_to;
use crate::launcher::{Launcher, Order};
use crate::outbox::send_due;
use crate::reap::reap;
use crate::reconcile::ask_forges;
use crate::retention::tidy;
use crate::schedules::queue_due;

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
    let secrets = SecretStore::of_worker(config.directory(), credentials);
    ask_forges(config, folders, &mut ledger, launcher, clock.now())?;
    loop {
        // A spool that cannot be read must not keep admitted runs from starting, nor a mail server anything.
        let imported = import(config, &mut ledger, clock);
        let reaped = reap(config, &mut ledger, folders, launcher, clock)?;
        queue_due(config, &mut ledger, clock.now())?;
        cancel_for_newcomers(config, &ledger, folders)?;
        let started = start_runs(config, &ledger, launcher, clock.now())?;
        let sent = send_due(config, &mut ledger, &secrets, clock)?;
        let changed = *imported.as_ref().unwrap_or(&false) || reaped || started || sent || lock.take_mark();
        if !changed {
            tidy(config, &mut ledger, folders, clock, &|| lock.mark.exists());
            return imported.map(drop);
        }
    }
}

/// Starts what lanes and slots allow. Whether any runner claimed its run.
fn start_runs(config: &Config, ledger: &dyn Ledger, launcher: &dyn Launcher, now: Instant) -> anyhow::Result<bool> {
    let slots = usize::try_from(config.worker.slots).unwrap_or(usize::MAX);
    let free = slots.saturating_sub(ledger.running()?.len());
    let mut started = false;
    for id in ledger.startable(now, free)? {
        let Some(run) = ledger.run(id)? else { continue };
        if let Err(error) = launcher.start(&Order::new(config, &run)) {
            tracing::error!(run = %id, error = format!("{error:#}"), "cannot start a runner");
        }
        started |= ledger.run(id)?.is_some_and(|run| run.state != RunState::Queued);
    }
    Ok(started)
}

/// Ends running runs for a newcomer of their lane whose job says `cancel-running`. Derived anew by each pass, so that a
/// pass that dies forgets nothing.
fn cancel_for_newcomers(config: &Config, ledger: &dyn Ledger, folders: &Folders) -> anyhow::Result<()> {
    for running in ledger.running()? {
        let newcomers = ledger.queued_in(&running.lane)?;
        if newcomers.iter().any(|newcomer| does_to(config, newcomer, &running) == OnNew::CancelRunning) {
            tracing::info!(run = %running.id, "cancelling for a newer run of its lane");
            if let Err(error) = cancel::ask(folders, running.id, &Cancellation::ForNewer) {
                tracing::warn!(run = %running.id, %error, "cannot ask a run to end");
            }
        }
    }
    Ok(())
}
