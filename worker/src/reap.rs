//! Runs whose runner died: its lock is free, so nobody else can end them.
//!
//! What the journal says is kept: a runner that died after its last step but before its commit loses nothing.

use std::io::ErrorKind;

use hookspool_common::clock::Clock;
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, Outcome, Run};

use crate::alive::Alive;
use crate::cancel;
use crate::folders::Folders;
use crate::journal::{self, Told};
use crate::launcher::{End, Launcher};
use crate::output::{self, RunLog};
use crate::process::{Containment, kill_marked};
use crate::report::{Ending, OUTPUT_END_BYTES, clean_up, conclude};

/// Ends every running run whose runner is dead, and removes what ended runs left behind. Whether there was any.
///
/// # Errors
/// When ledger or folders cannot be used.
pub fn reap(
    config: &Config,
    ledger: &mut dyn Ledger,
    folders: &Folders,
    launcher: &dyn Launcher,
    clock: &dyn Clock,
) -> anyhow::Result<bool> {
    let mut reaped = false;
    for run in ledger.running()? {
        let Some(lock) = Alive::take_over(folders, run.id)? else { continue };
        // Its runner may have ended it between the two looks.
        if ledger.run(run.id)?.is_some_and(|run| run.state.is_final()) {
            continue;
        }
        let end = match launcher.bury(&lock) {
            Ok(end) => end,
            Err(error) => {
                tracing::error!(run = %run.id, error = format!("{error:#}"), "cannot end what is left of a dead runner; the next pass tries again");
                continue;
            }
        };
        end_what_is_left(folders, &run);
        let ending = ending_of(folders, &run, end.as_ref());
        tracing::warn!(run = %run.id, outcome = %ending.outcome.state(), "the run's runner died");
        conclude(config, ledger, folders, &lock, &ending, clock.now())?;
        clean_up(folders, &lock);
        reaped = true;
    }
    sweep(ledger, folders, launcher)?;
    Ok(reaped)
}

/// Nothing that the dead runner's steps started goes on.
fn end_what_is_left(folders: &Folders, run: &Run) {
    if let Some(containment) = Containment::left_by(folders.state(), run.id) {
        containment.end();
    }
    let killed = kill_marked(&folders.event_file(run.id));
    if killed > 0 {
        tracing::warn!(run = %run.id, killed, "killed what the dead runner left running");
    }
}

fn ending_of(folders: &Folders, run: &Run, end: Option<&End>) -> Ending {
    let Told { boot, steps, outcome, log_at } = journal::read(&folders.run(run.id));
    let interrupted = || {
        let doing = match steps.last() {
            Some(step) if step.ended_at.is_none() => format!("while `{}` ran", step.name),
            Some(step) => format!("after `{}`", step.name),
            None => "before its first step".to_owned(),
        };
        let was_restarted = boot.is_some_and(|boot| Some(boot) != journal::present_boot());
        let died = match end {
            Some(end) => format!("the runner {end} {doing}"),
            None if was_restarted => format!("the machine was restarted {doing}"),
            None => format!("the runner died {doing}"),
        };
        match cancel::asked(folders, run.id) {
            Some(why) => Outcome::Cancelled(format!("{why}; {died}")),
            None => Outcome::Interrupted(died),
        }
    };
    let is_told = outcome.is_some();
    let outcome = outcome.unwrap_or_else(interrupted);
    let ending = Ending { outcome, output_end: output::end_of(&folders.log(run.id), log_at, OUTPUT_END_BYTES), steps };
    if !is_told {
        say(folders, run, &ending.outcome);
    }
    ending
}

/// The log says how the run ended, as it would if the runner had come to it. Once: a pass may die after it, and the next one
/// come here again.
fn say(folders: &Folders, run: &Run, outcome: &Outcome) {
    let line = format!("run {} {}: {}", run.id, outcome.state(), outcome.reason().unwrap_or_default());
    let log = folders.log(run.id);
    if output::end_of(&log, 0, OUTPUT_END_BYTES).ends_with(&format!("[hookspool] {line}\n")) {
        return;
    }
    match RunLog::reopen(&log) {
        Ok(mut log) => log.note(&line),
        // It died before it made one.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(run = %run.id, log = %log.display(), %error, "cannot say in the run's log how it ended"),
    }
}

/// Removes what is kept of runs that ended: their runner died between its commit and its cleaning up.
fn sweep(ledger: &dyn Ledger, folders: &Folders, launcher: &dyn Launcher) -> anyhow::Result<()> {
    for id in launcher.remembered()? {
        if ledger.run(id)?.is_none_or(|run| run.state.is_final()) {
            // It stands in nobody's way; the next pass tries again.
            if let Err(error) = launcher.forget(id) {
                tracing::warn!(run = %id, error = format!("{error:#}"), "cannot forget a runner");
            }
        }
    }
    for id in folders.runs_with_folders()? {
        let is_over = ledger.run(id)?.is_none_or(|run| run.state.is_final());
        if is_over && let Some(lock) = Alive::take_over(folders, id)? {
            clean_up(folders, &lock);
        }
    }
    Ok(())
}
