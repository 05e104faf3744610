//! One run, from its claim to its outcome: `hookspool-worker runner N`.
//!
//! It lives outside the pass that started it, so that a pass may die, be upgraded or be stopped meanwhile. It holds the
//! run's lock for as long as it lives, and writes down each step before it begins.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use hookspool_common::clock::Clock;
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, Run, SqliteLedger};
use hookspool_common::names::RunId;
use hookspool_common::secrets::SecretStore;
use sd_notify::NotifyState;

use crate::alive::Alive;
use crate::folders::Folders;
use crate::launcher::{self, Program};
use crate::process::{hold_signals, release_signals};
use crate::report::{clean_up, conclude};
use crate::work::Work;

/// What a runner prints once the run is its own; the pass that started it waits for this.
pub const CLAIMED: &str = "claimed\n";

/// The exit status of a runner that did not get its run (`EX_TEMPFAIL` of sysexits.h(3)): nobody need look at what came of it.
pub const NOT_MINE: u8 = 75;

/// Runs the run with this number, if it is queued and nobody else has it. Whether that was so; then a pass should look at
/// what came of it, also after an error.
///
/// # Errors
/// When ledger, lock or folders cannot be used. The run is then queued still.
pub fn run(config: &Config, id: RunId, credentials: Option<PathBuf>, clock: &dyn Clock) -> anyhow::Result<bool> {
    launcher::leave_the_pass();
    // Whoever holds the lock may be asked to end. That ends a step, never the runner: it still has the outcome to write.
    hold_signals().context("cannot hold signals back")?;
    let folders = Folders::new(&config.paths);
    let claimed = claim(&folders, id, clock);
    // Also when there is nothing to claim: whoever waits need not wait longer, and asks the ledger.
    announce(matches!(claimed, Ok(Some(_))));
    let Some((lock, mut ledger, run)) = claimed? else { return Ok(false) };
    let secrets = SecretStore::of_worker(config.directory(), credentials);
    if let Err(error) = to_its_end(config, &folders, &lock, &mut ledger, &run, &secrets, clock) {
        // What it came to is in the journal. The ledger may be one that only a newer program knows; a pass will see.
        tracing::error!(run = %id, error = format!("{error:#}"), "cannot write down what became of the run; a pass is to do it");
    }
    Ok(true)
}

fn claim(folders: &Folders, id: RunId, clock: &dyn Clock) -> anyhow::Result<Option<(Alive, SqliteLedger, Run)>> {
    let Some(lock) = Alive::take(folders, id).with_context(|| format!("cannot lock run {id}"))? else { return Ok(None) };
    let mut ledger = SqliteLedger::open(&folders.ledger())?;
    Ok(ledger.claim(id, clock.now())?.map(|run| (lock, ledger, run)))
}

fn to_its_end(
    config: &Config,
    folders: &Folders,
    lock: &Alive,
    ledger: &mut dyn Ledger,
    run: &Run,
    secrets: &SecretStore,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let ending = Work::begin(config, folders, run, secrets, clock)?.execute(ledger);
    conclude(config, ledger, folders, lock, &ending, clock.now())?;
    clean_up(folders, lock);
    Ok(())
}

/// Has a pass start what waited for this run and send its mail. Where a unit makes the passes, systemd leaves a mark for it
/// at the end of this one; elsewhere the runner becomes a pass.
///
/// # Errors
/// What the system said; nothing is lost then but time.
pub fn hand_over_to_a_pass(config: &Config, program: &Program) -> anyhow::Result<()> {
    if launcher::pass_unit().is_some() {
        return Ok(());
    }
    // They were meant for the run, which is over.
    release_signals();
    become_pass(config, program)
}

/// Goes on as a pass: of the program that is installed now, or when that cannot be started, of this one.
///
/// # Errors
/// What the system said; nothing is lost then but time.
pub fn become_pass(config: &Config, program: &Program) -> anyhow::Result<()> {
    let execute =
        |program: &Path| Command::new(program).arg0("hookspool-worker").arg("pass").arg("--config").arg(&config.file).exec();
    let installed = program.installed();
    let error = execute(&installed);
    tracing::warn!(program = %installed.display(), %error, "cannot go on as a pass of the installed program; this one goes on");
    Err(execute(Program::running())).context("cannot go on as a pass")
}

/// The pass may be gone already; then nobody needs to hear it.
fn announce(is_claimed: bool) {
    if is_claimed {
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(CLAIMED.as_bytes()).and_then(|()| stdout.flush());
    }
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!(%error, "systemd cannot be told that the runner has its run");
    }
}
