//! The ledger, opened to look into it, and what is said of a run that it does not have.

use anyhow::Context;
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, SqliteLedger};
use hookspool_common::names::RunId;
use nix::unistd::{AccessFlags, access};

use super::Exit;
use crate::folders::Folders;

/// The ledger, or `None` while no pass has ever run.
pub(super) fn ledger(config: &Config) -> anyhow::Result<Option<Box<dyn Ledger>>> {
    let path = Folders::new(&config.paths).ledger();
    let exists = path.try_exists().with_context(|| format!("cannot look at {}; it is root's", path.display()))?;
    if !exists {
        return Ok(None);
    }
    access(&path, AccessFlags::R_OK).context("cannot read the ledger; it belongs to whoever runs the worker")?;
    let ledger = SqliteLedger::open_to_read(&path).context("cannot read the ledger")?;
    Ok(Some(Box::new(ledger)))
}

pub(super) fn no_such_run(run: RunId) -> Exit {
    eprintln!("hookspool: there is no run {run}; `hookspool runs` lists them");
    Exit::NotFound
}

/// A run that the ledger does not have: there was one, or there never was.
pub(super) fn no_run(ledger: &dyn Ledger, run: RunId) -> anyhow::Result<Exit> {
    if !ledger.was_pruned(run)? {
        return Ok(no_such_run(run));
    }
    eprintln!("hookspool: run {run} was removed when its time was over; [worker.retention] says how long runs are kept");
    Ok(Exit::NotFound)
}
