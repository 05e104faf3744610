//! Removes a folder that a step may have filled: with locked folders, with links, and however deep.
//!
//! Somebody may be changing the tree meanwhile, as other runs of the same user can. So every folder is opened without
//! following links and everything in it is named relative to that descriptor. What is deeper than a bound comes up to the top
//! of the tree before it is looked into, so that no depth needs more descriptors than there are; the top is a part of what
//! is removed, so that nothing lies elsewhere when this process dies on its way.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use nix::unistd::{UnlinkatFlags, dup, geteuid, unlinkat};

/// How deep a part of the tree is looked into where it lies. Each level takes two descriptors.
const MAX_DEPTH: usize = 100;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes `folder` and everything in it, also where a step took away its own permissions. The folder that it lies in is the
/// worker's own.
///
/// # Errors
/// What the system said to the first thing that cannot be removed.
pub(crate) fn remove_tree(folder: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no folder to be removed", folder.display())));
    };
    let name = CString::new(name.as_bytes())?;
    let above = match open(above, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(()),
        above => above?,
    };
    if is_unlinked(above.as_fd(), &name)? {
        return Ok(());
    }
    let Some(top) = open_folder(above.as_fd(), &name)? else { return Ok(()) };
    let mut removal = Removal { top: top.as_fd(), moved: 0 };
    let mut moved = None;
    // Again as long as something came up.
    while moved != Some(removal.moved) {
        moved = Some(removal.moved);
        removal.empty(dup(&top)?, MAX_DEPTH)?;
    }
    Ok(remove_empty(above.as_fd(), &name)?)
}

/// A tree that is being removed.
struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// How many folders came up to the top.
    moved: u64,
}

impl Removal<'_> {
    fn empty(&mut self, folder: OwnedFd, depth: usize) -> nix::Result<()> {
        // While a folder is read its descriptor is in use by the reading.
        let mut entries = Dir::from_fd(dup(&folder)?)?;
        for entry in entries.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || is_unlinked(folder.as_fd(), name)? {
                continue;
            }
            match depth.checked_sub(1) {
                None => self.bring_up(folder.as_fd(), name)?,
                Some(depth) => {
                    if let Some(inner) = open_folder(folder.as_fd(), name)? {
                        self.empty(inner, depth)?;
                        remove_empty(folder.as_fd(), name)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves a folder to the top of the tree, under a name that is free there.
    fn bring_up(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
        if !geteuid().is_root() {
            // To move a folder is to write its `..`.
            let _ = unlock(folder, name);
        }
        loop {
            self.moved += 1;
            match renameat(folder, name, self.top, format!("removed-{}", self.moved).as_str()) {
                // Of a former try, or the step's own.
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR | Errno::EISDIR) => {}
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Removes what is no folder; whether nothing is there any more.
fn is_unlinked(folder: BorrowedFd<'_>, name: &CStr) -> nix::Result<bool> {
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EISDIR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A folder that can be emptied; `None` where there is none any more, or another thing than a moment ago, which whoever put
/// it there owns.
fn open_folder(above: BorrowedFd<'_>, name: &CStr) -> nix::Result<Option<OwnedFd>> {
    // Root is denied nothing by permissions, and must not change any in a folder of somebody else.
    let may_unlock = !geteuid().is_root();
    let opened = match openat(above, name, FOLDER, Mode::empty()) {
        Err(Errno::EACCES) if may_unlock => unlock(above, name).and_then(|()| openat(above, name, FOLDER, Mode::empty())),
        opened => opened,
    };
    match opened {
        Ok(folder) => {
            if may_unlock {
                // Should it be another user's, what is in it says so.
                let _ = fchmod(&folder, Mode::S_IRWXU);
            }
            Ok(Some(folder))
        }
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives the owner back the right to enter and empty a folder.
fn unlock(above: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    fchmodat(above, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink)
}

fn remove_empty(above: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    match unlinkat(above, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use nix::sys::stat::mkdirat;

    use super::*;

    /// Folders within folders below `folder`, and a file in the last.
    fn dig(folder: &Path, levels: usize) {
        fs::create_dir_all(folder).unwrap();
        let mut at = open(folder, FOLDER, Mode::empty()).unwrap();
        for _ in 0..levels {
            mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at = openat(&at, "d", FOLDER, Mode::empty()).unwrap();
        }
        openat(&at, "file", OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRWXU).unwrap();
    }

    #[test]
    fn a_tree_whose_folders_were_locked_is_removed_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let locked = folder.path().join("a/b");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("file"), "").unwrap();
        std::os::unix::fs::symlink("/", locked.join("link")).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&folder.path().join("a")).unwrap();
        assert!(!folder.path().join("a").exists() && Path::new("/bin").exists());
        remove_tree(&folder.path().join("a")).unwrap();
    }

    #[test]
    fn a_tree_that_is_deeper_than_there_are_descriptors_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        dig(&tree, 3000);
        dig(&tree.join("other"), 250);
        // The names that folders get which come up may be taken.
        fs::write(tree.join("removed-1"), "").unwrap();
        fs::create_dir_all(tree.join("removed-2/x")).unwrap();
        remove_tree(&tree).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_removed_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, link) = (folder.path().join("kept"), folder.path().join("link"));
        fs::create_dir_all(kept.join("x")).unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        remove_tree(&link).unwrap();
        assert!(fs::symlink_metadata(&link).is_err() && kept.join("x").exists());
    }
}
