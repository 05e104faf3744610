//! The gap closer: what the forge has on its branches and tags, and no delivery told of.
//!
//! A forge may hang, and a pass must not. So a pass only starts a process that asks (`hookspool-worker reconcile`), one at a
//! time for all repositories, and goes on. That process becomes a pass when it found something.

mod changes; // two states of a repository, and the events between them
pub(crate) mod commits; // what its commits say, once they are fetched
mod forge; // what git says that the forge has

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use hookspool_common::clock::{Clock, Instant};
use hookspool_common::config::{Config, Repository};
use hookspool_common::ledger::{Ledger, Reconciled, RefAnswer, SqliteLedger};
use hookspool_common::repository_name::RepositoryName;
use hookspool_common::secrets::SecretStore;

use crate::alive::try_lock;
use crate::folders::Folders;
use crate::git::Remote;
use crate::launcher::Launcher;
use changes::changes;
use forge::{NoAnswer, ask};

/// Passes come every minute, but not to the second.
const EARLY_MILLIS: i64 = 10 * 1000;

/// Starts a process that asks the forges whose time has come, if there are any and nobody is at it, and does not wait for it.
///
/// # Errors
/// When ledger or lock cannot be used, or the process cannot be started.
pub fn ask_forges(
    config: &Config,
    folders: &Folders,
    ledger: &mut dyn Ledger,
    launcher: &dyn Launcher,
    now: Instant,
) -> anyhow::Result<()> {
    let known = ledger.reconciled()?;
    // Whoever turns it on again must not be told of all that happened meanwhile.
    for state in known.iter().filter(|state| !wanted(config).any(|wanted| wanted.name == state.repository)) {
        ledger.forget_refs(&state.repository)?;
    }
    if due(config, &known, now).is_empty() || try_lock(&folders.reconcile_lock())?.is_none() {
        return Ok(());
    }
    launcher.start_aside("reconcile")
}

/// Asks the forges whose time has come, one after the other. Whether anything is to run that no delivery told of.
///
/// # Errors
/// When the ledger or the lock cannot be used.
pub fn reconcile(config: &Config, credentials: Option<PathBuf>, clock: &dyn Clock) -> anyhow::Result<bool> {
    // What ends the pass does not end this. It fails where that is so already.
    let _ = nix::unistd::setsid();
    let folders = Folders::new(&config.paths);
    let Some(_lock) = try_lock(&folders.reconcile_lock()).context("cannot lock the questions to the forges")? else {
        return Ok(false);
    };
    let mut ledger = SqliteLedger::open(&folders.ledger())?;
    let secrets = SecretStore::of_worker(config.directory(), credentials);
    let mut silent = BTreeSet::new();
    let mut found = false;
    for name in due(config, &ledger.reconciled()?, clock.now()) {
        let host = name.as_str().split('/').next().unwrap_or_default().to_owned();
        // A forge that hangs would hold up those that do not, once for each of its repositories.
        let outcome = if silent.contains(&host) {
            Err(NoAnswer::Silent)
        } else {
            reconcile_one(config, &folders, &mut ledger, &secrets, &name, clock)?
        };
        match outcome {
            Ok(runs) => found |= runs > 0,
            Err(why) => {
                tracing::warn!(repository = %name, "the forge was asked for its refs and did not say them: {why}; it is asked again");
                ledger.not_reconciled(&name, clock.now())?;
                if matches!(why, NoAnswer::Silent) {
                    silent.insert(host);
                }
            }
        }
    }
    Ok(found)
}

/// Asks one forge and takes its answer over; how many runs came of it.
fn reconcile_one(
    config: &Config,
    folders: &Folders,
    ledger: &mut dyn Ledger,
    secrets: &SecretStore,
    name: &RepositoryName,
    clock: &dyn Clock,
) -> anyhow::Result<Result<usize, NoAnswer>> {
    let files: Vec<&Repository> = wanted(config).filter(|repository| repository.name == *name).collect();
    let Some(first) = files.first() else { return Ok(Ok(0)) };
    let (asked_at, newest_run) = (clock.now(), ledger.newest_run()?);
    let remote = match Remote::of(first, config.directory(), secrets) {
        Ok(remote) => remote,
        Err(error) => return Ok(Err(NoAnswer::Failed(error.to_string()))),
    };
    let refs = match ask(folders.state(), &remote) {
        Ok(refs) => refs,
        Err(why) => return Ok(Err(why)),
    };
    let is_first = !ledger.reconciled()?.iter().any(|state| state.repository == *name && state.answered_at.is_some());
    let jobs = if is_first { &[] } else { files.as_slice() };
    let changes = changes(name, &ledger.known_refs(name)?, &refs, jobs);
    let runs = ledger.reconcile(&RefAnswer { repository: name.clone(), asked_at, newest_run, changes }, clock.now())?;
    for run in &runs {
        tracing::info!(%run, repository = %name, "queued: the forge has it, and no delivery told of it");
    }
    Ok(Ok(runs.len()))
}

/// The repositories whose forge is to be asked, each of their files.
fn wanted(config: &Config) -> impl Iterator<Item = &Repository> {
    config.repositories.iter().filter(|repository| repository.reconcile.is_some())
}

/// Those whose time has come, longest not asked first.
fn due(config: &Config, known: &[Reconciled], now: Instant) -> Vec<RepositoryName> {
    let mut due: Vec<(Option<Instant>, RepositoryName)> = Vec::new();
    for repository in wanted(config) {
        let asked_at = known.iter().find(|state| state.repository == repository.name).map(|state| state.asked_at);
        let interval = repository.reconcile.map(interval_millis).unwrap_or_default();
        // A clock that was set back says nothing of how long ago that was.
        let is_due = asked_at.is_none_or(|asked_at| asked_at > now || now >= asked_at.plus_millis(interval - EARLY_MILLIS));
        if is_due && !due.iter().any(|(_, name)| *name == repository.name) {
            due.push((asked_at, repository.name.clone()));
        }
    }
    due.sort();
    due.into_iter().map(|(_, name)| name).collect()
}

fn interval_millis(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
