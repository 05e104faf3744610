//! One run, from its claim to its outcome: `hookspool-worker runner N`.
//!
//! It lives outside the pass that started it, so that a pass may die, be upgraded or be stopped meanwhile. It holds the
//! run's lock for as long as it lives, and writes down each step before it begins.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use hookspool_common::clock::Clock;
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, SqliteLedger};
use hookspool_common::names::RunId;
use hookspool_common::secrets::SecretStore;

use crate::alive::Alive;
use crate::folders::Folders;
use crate::process::{hold_signals, release_signals};
use crate::report::{clean_up, conclude};
use crate::work::Work;

/// What a runner prints once the run is its own; the pass that started it waits for this.
pub const CLAIMED: &str = "claimed\n";

/// Runs the run with this number, if it is queued and nobody else has it. Whether that was so.
///
/// # Errors
/// When ledger, lock or folders cannot be used. The run is then queued still, or for a pass to end.
pub fn run(config: &Config, id: RunId, credentials: Option<PathBuf>, clock: &dyn Clock) -> anyhow::Result<bool> {
    // A group and session of its own: what ends the pass does not end the run. It fails where that is so already.
    let _ = nix::unistd::setsid();
    // Whoever holds the lock may be asked to end. That ends a step, never the runner: it still has the outcome to write.
    hold_signals().context("cannot hold signals back")?;
    let folders = Folders::new(&config.paths);
    let Some(lock) = Alive::take(&folders, id).with_context(|| format!("cannot lock run {id}"))? else { return Ok(false) };
    let mut ledger = SqliteLedger::open(&folders.ledger())?;
    let Some(run) = ledger.claim(id, clock.now())? else { return Ok(false) };
    announce();
    let secrets = SecretStore::of_worker(config.directory(), credentials);
    let ending = Work::begin(config, &folders, &run, &secrets, clock)?.execute(&mut ledger);
    conclude(config, &mut ledger, &folders, &lock, &ending, clock.now())?;
    clean_up(&folders, &lock);
    Ok(true)
}

/// Becomes a pass, which starts what waited for this run and sends its mail.
///
/// # Errors
/// What the system said; nothing is lost then but time.
pub fn become_pass(config: &Config) -> anyhow::Error {
    // They were meant for the run, which is over.
    release_signals();
    let error = Command::new("/proc/self/exe").arg0("hookspool-worker").arg("pass").arg("--config").arg(&config.file).exec();
    anyhow::Error::new(error).context("cannot go on as a pass")
}

/// The pass may be gone already; then nobody needs to hear it.
fn announce() {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(CLAIMED.as_bytes()).and_then(|()| stdout.flush());
}
