//! A tree changes its owner: only what the former owner owns, and never through a link.
//!
//! Somebody may be changing the tree meanwhile, as other runs of the same user can. So every folder is opened without
//! following links and everything in it is named relative to that descriptor: whatever is swapped in between, nothing
//! outside the tree is reached.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{Uid, fchownat, geteuid};

use crate::process::Account;

/// How deep a tree may be: each level is an open descriptor. git itself and most file systems give up near this.
const MAX_DEPTH: usize = 500;

/// What no call says here: every name comes from its folder, and was not too long for that.
const TOO_DEEP: Errno = Errno::ENAMETOOLONG;

/// Gives everything below `folder` that belongs to `from` to `account`. The folder itself stays whose it is.
///
/// What is within a folder changes hands before the folder does, so that a tree that nobody but root could enter is
/// closed until all of it is given away.
///
/// # Errors
/// What the system said.
pub fn hand_over(folder: &Path, from: Uid, account: &Account) -> io::Result<()> {
    // Without root there is only one user, and root needs nothing to be given to it.
    if !geteuid().is_root() || account.is_root() || from == account.uid {
        return Ok(());
    }
    let opened = Dir::open(folder, FOLDER, Mode::empty())?;
    match hand_over_entries(opened, from, account, MAX_DEPTH) {
        Err(TOO_DEEP) => Err(io::Error::other(format!("it is more than {MAX_DEPTH} folders deep"))),
        other => Ok(other?),
    }
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn hand_over_entries(mut folder: Dir, from: Uid, account: &Account, depth: usize) -> nix::Result<()> {
    let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
    let mut names = Vec::new();
    for entry in folder.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    for name in names {
        match hand_over_entry(folder.as_fd(), &name, from, account, depth) {
            // Gone, or another thing than a moment ago: whoever did that owns it.
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn hand_over_entry(folder: BorrowedFd<'_>, name: &CStr, from: Uid, account: &Account, depth: usize) -> nix::Result<()> {
    let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        hand_over_entries(Dir::openat(folder, name, FOLDER, Mode::empty())?, from, account, depth)?;
    }
    // A hard link to a file of somebody else does not belong to `from`, and stays theirs.
    if found.st_uid == from.as_raw() {
        fchownat(folder, name, Some(account.uid), Some(account.gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_tree_changes_hands_but_nothing_that_a_link_points_to() {
        if !geteuid().is_root() {
            println!("SKIPPED: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (tree, outside) = (folder.path().join("tree"), folder.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [tree.join("a/b/file"), outside.join("file")] {
            fs::write(file, "").unwrap();
        }
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        let account = Account::named("nobody").unwrap();
        hand_over(&tree, Uid::from_raw(0), &account).unwrap();
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for given in ["a", "a/b", "a/b/file", "a/link"] {
            assert_eq!(owner(&tree.join(given)), account.uid.as_raw(), "{given}");
        }
        assert_eq!([owner(&tree), owner(&outside), owner(&outside.join("file"))], [0, 0, 0]);
    }

    #[test]
    fn a_tree_that_is_too_deep_is_said_to_be_and_not_given_in_part() {
        if !geteuid().is_root() {
            println!("SKIPPED: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(["d"; MAX_DEPTH + 1].join("/"))).unwrap();
        let error = hand_over(folder.path(), Uid::from_raw(0), &Account::named("nobody").unwrap()).unwrap_err();
        assert!(error.to_string().contains("more than 500 folders deep"), "{error}");
    }
}
