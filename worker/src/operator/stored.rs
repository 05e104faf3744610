//! The ledger, opened to look into it.

use anyhow::Context;
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, SqliteLedger};
use nix::unistd::{AccessFlags, access};

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
