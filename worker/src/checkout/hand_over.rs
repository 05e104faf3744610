//! A tree changes its owner: only what the former owner owns, and never through a link.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use nix::unistd::{Uid, geteuid};

use crate::process::Account;

/// Gives everything below `folder` that belongs to `from` to `account`. The folder itself stays whose it is.
///
/// Nothing may be running that could change the tree meanwhile. A step may have made hard links to files of others;
/// those do not belong to `from` and stay theirs.
///
/// # Errors
/// What the system said.
pub fn hand_over(folder: &Path, from: Uid, account: &Account) -> io::Result<()> {
    // Without root there is only one user, and root needs nothing to be given to it.
    if !geteuid().is_root() || account.is_root() || from == account.uid {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            hand_over(&path, from, account)?;
        }
        if metadata.uid() == from.as_raw() {
            lchown(&path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))?;
        }
    }
    Ok(())
}
