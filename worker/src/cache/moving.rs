//! Folders into a workspace and out of it. The workspace belongs to its user, whose other processes may be changing it: every
//! folder on the way is opened without following links, and what is moved is looked at where nobody else can reach it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{Uid, fchown, geteuid};

use crate::process::Account;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// How deep a cache may be: each level is an open descriptor.
const MAX_DEPTH: usize = 500;

/// Moves `place` to `name` in the workspace, where nothing may be yet. Folders on the way are made for `account`.
pub(super) fn put_in(place: &Path, source: &Path, name: &Path, account: &Account) -> io::Result<()> {
    let mut folder = open(source, FOLDER, Mode::empty())?;
    for part in name.parent().iter().flat_map(|parent| parent.components()) {
        folder = enter_or_make(&folder, part.as_os_str(), account)?;
    }
    let last = name.file_name().ok_or(Errno::EINVAL)?;
    // An empty folder may be there; anything else is an error here.
    Ok(renameat(AT_FDCWD, place, &folder, last)?)
}

fn enter_or_make(folder: &OwnedFd, part: &std::ffi::OsStr, account: &Account) -> nix::Result<OwnedFd> {
    match openat(folder, part, FOLDER, Mode::empty()) {
        Err(Errno::ENOENT) => {
            mkdirat(folder, part, Mode::from_bits_truncate(0o755))?;
            let made = openat(folder, part, FOLDER, Mode::empty())?;
            if geteuid().is_root() {
                fchown(&made, Some(account.uid), Some(account.gid))?;
            }
            Ok(made)
        }
        other => other,
    }
}

/// Moves `name` out of the workspace to `place`, if it is a folder; whose it is.
pub(super) fn take_out(source: &Path, name: &Path, place: &Path) -> io::Result<Option<Uid>> {
    match move_out(source, name, place) {
        Ok(()) => {}
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let moved = std::fs::symlink_metadata(place)?;
    if moved.is_dir() {
        return Ok(Some(Uid::from_raw(moved.uid())));
    }
    std::fs::remove_file(place)?;
    Ok(None)
}

fn move_out(source: &Path, name: &Path, place: &Path) -> nix::Result<()> {
    let mut folder = open(source, FOLDER, Mode::empty())?;
    for part in name.parent().iter().flat_map(|parent| parent.components()) {
        folder = openat(&folder, part.as_os_str(), FOLDER, Mode::empty())?;
    }
    let last = name.file_name().ok_or(Errno::EINVAL)?;
    renameat(&folder, last, AT_FDCWD, place)
}

/// What a tree uses on disk, in bytes.
pub(super) fn size(folder: &Path) -> io::Result<u64> {
    Ok(size_of(Dir::open(folder, FOLDER, Mode::empty())?, MAX_DEPTH)?)
}

fn size_of(mut folder: Dir, depth: usize) -> nix::Result<u64> {
    let depth = depth.checked_sub(1).ok_or(Errno::ELOOP)?;
    let names: Vec<_> = folder.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect::<nix::Result<_>>()?;
    let mut bytes = 0_u64;
    for name in names.iter().map(|name| name.as_c_str()).filter(|name: &&CStr| !matches!(name.to_bytes(), b"." | b"..")) {
        let found = fstatat(folder.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        bytes = bytes.saturating_add(u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512));
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
            bytes = bytes.saturating_add(size_of(Dir::openat(folder.as_fd(), name, FOLDER, Mode::empty())?, depth)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn folders_go_out_and_in_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let own = Account::own().unwrap();
        for name in ["src/a/target", "outside/target", "src/c"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("src/a/target/x"), "kept").unwrap();
        fs::write(at("outside/target/x"), "foreign").unwrap();
        symlink(at("outside"), at("src/link")).unwrap();
        symlink(at("outside/target"), at("src/b")).unwrap();
        assert_eq!(take_out(&at("src"), Path::new("a/target"), &at("0")).unwrap(), Some(own.uid));
        for name in ["link/target", "b", "absent", "absent/target", "a/target"] {
            assert_eq!(take_out(&at("src"), Path::new(name), &at("1")).unwrap(), None, "{name}");
        }
        assert!(!at("1").exists() && at("outside/target/x").exists());
        assert!(size(&at("0")).unwrap() >= 512);
        assert!(put_in(&at("0"), &at("src"), Path::new("link/deep/target"), &own).is_err());
        fs::write(at("src/c/x"), "in the commit").unwrap();
        assert!(put_in(&at("0"), &at("src"), Path::new("c"), &own).is_err());
        put_in(&at("0"), &at("src"), Path::new("new/deep/target"), &own).unwrap();
        assert_eq!(fs::read_to_string(at("src/new/deep/target/x")).unwrap(), "kept");
        assert!(!at("outside/deep").exists());
    }
}
