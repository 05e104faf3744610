//! The ledger, opened by a person who changes it, and who that is.

use anyhow::{Context, bail};
use hookspool_common::config::Config;
use hookspool_common::ledger::SqliteLedger;
use nix::unistd::{AccessFlags, User, access, geteuid, getuid};

use super::passing::Passing;
use crate::folders::Folders;

/// The ledger, or `None` while no pass has ever run. Only whoever runs the worker may change it.
pub(super) fn ledger(config: &Config) -> anyhow::Result<Option<SqliteLedger>> {
    let path = Folders::new(&config.paths).ledger();
    let whose = "only whoever runs the worker, mostly root, may change its runs";
    let exists = path.try_exists().with_context(|| format!("cannot look at {}; {whose}", path.display()))?;
    if !exists {
        return Ok(None);
    }
    access(&path, AccessFlags::R_OK | AccessFlags::W_OK).with_context(|| format!("cannot write {}; {whose}", path.display()))?;
    Ok(Some(SqliteLedger::open(&path)?))
}

/// The ledger of a worker that has passed at least once.
pub(super) fn existing_ledger(config: &Config) -> anyhow::Result<SqliteLedger> {
    match ledger(config)? {
        Some(ledger) => Ok(ledger),
        None => bail!("there is no ledger yet; `hookspool-worker pass` makes it"),
    }
}

/// The person who asks, also when it is root by sudo.
pub(super) fn who() -> String {
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| geteuid().is_root() && !name.is_empty());
    let own = || User::from_uid(getuid()).ok().flatten().map_or_else(|| getuid().to_string(), |user| user.name);
    by_sudo.unwrap_or_else(own)
}

/// Has a pass look at what was changed.
pub(super) fn pass(config: &Config) -> anyhow::Result<Passing> {
    let passing = Passing::of(config);
    passing.start(config).context("it is in the ledger, and the next pass goes on with it; this one failed")?;
    Ok(passing)
}
