//! The spool folder and the small files in it: the wake file, and the mark of what has been taken over.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, Uid, access};

use super::INBOX_FILE;
use crate::record::InboxIdentity;
use crate::trusted::{user_name, whose};

/// Exists while there is something to import. `PathExists=` of a path unit watches it.
pub const WAKE_FILE: &str = "wake";

/// Holds an inbox's identity and the place in it up to which the ledger has taken deliveries over, as the importer was
/// last told. The receiver may prune up to there.
pub const MARK_FILE: &str = "taken-over";

/// The spool folder is not one that this program can write to.
#[derive(Debug, thiserror::Error)]
#[error("spool folder {}: {problem}; as root, run: install -d -o {user} -g {user} -m 0750 {}", folder.display(), folder.display())]
pub struct SpoolError {
    folder: PathBuf,
    problem: String,
    user: String,
}

/// Checks that the present user may write to the spool folder.
///
/// # Errors
/// [`SpoolError`], which names the folder, the user, the folder's owner and mode, and the command that mends it.
pub fn check_folder(folder: &Path) -> Result<(), SpoolError> {
    let user = user_name(Uid::effective().as_raw());
    let fail = |problem: String| Err(SpoolError { folder: folder.to_owned(), problem, user: user.clone() });
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) => return fail(format!("user {user} cannot look at it: {error}")),
    };
    let whose = format!("it {}", whose(metadata.uid(), metadata.gid(), metadata.mode()));
    if !metadata.is_dir() {
        return fail(format!("it is not a folder; {whose}"));
    }
    match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok(()),
        Err(error) => fail(format!("user {user} may not write to it ({error}); {whose}")),
    }
}

/// The inbox of this spool folder, if there is one. What lies in its place and is no file is not opened: whoever opens a pipe
/// waits for its other end.
///
/// # Errors
/// What the system says, or that it is no file.
pub fn find_inbox(folder: &Path) -> io::Result<Option<PathBuf>> {
    let path = folder.join(INBOX_FILE);
    match fs::metadata(&path) {
        Ok(found) if found.is_file() => Ok(Some(path)),
        Ok(_) => Err(io::Error::other(format!("{} is no file", path.display()))),
        // A link that leads nowhere is something else than nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Makes the wake file, unless it is there.
///
/// # Errors
/// What the system says. A failure costs time, not deliveries: the timer finds them.
pub fn wake(folder: &Path) -> io::Result<()> {
    // If it is removed right after this, then before the importer reads the inbox, which holds the delivery by now.
    if folder.join(WAKE_FILE).try_exists()? {
        return Ok(());
    }
    fs::OpenOptions::new().append(true).create(true).open(folder.join(WAKE_FILE)).map(drop)
}

/// The place in this inbox up to which the ledger has taken over; 0 where nobody has said so yet.
///
/// # Errors
/// What the system says of a mark that is there and cannot be read.
pub fn taken_over(folder: &Path, inbox: &InboxIdentity) -> io::Result<i64> {
    let mark = match fs::read_to_string(folder.join(MARK_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        mark => mark?,
    };
    Ok(place_in(&mark, inbox))
}

/// The place that `mark` names in this inbox; one of another inbox, or of none, is 0.
#[must_use]
pub fn place_in(mark: &str, inbox: &InboxIdentity) -> i64 {
    let of_this_inbox = mark.trim_end().split_once(' ').filter(|(identity, _)| *identity == inbox.as_str());
    of_this_inbox.and_then(|(_, seq)| seq.parse().ok()).unwrap_or(0)
}

/// What the file system that holds the folder has left for ordinary users.
///
/// # Errors
/// What the system says.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let room = statvfs(folder)?;
    Ok(room.blocks_available().saturating_mul(room.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_folder_and_one_that_is_a_file_are_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("spool");
        let message = check_folder(&absent).unwrap_err().to_string();
        assert!(message.contains(&*absent.to_string_lossy()) && message.contains("install -d -o "), "{message}");
        fs::write(&absent, "").unwrap();
        assert!(check_folder(&absent).unwrap_err().to_string().contains("not a folder"));
        assert!(check_folder(folder.path()).is_ok());
    }

    #[test]
    fn what_is_no_file_is_no_inbox() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = folder.path().join(INBOX_FILE);
        assert_eq!(find_inbox(folder.path()).unwrap(), None);
        std::os::unix::fs::symlink("nowhere", &inbox).unwrap();
        assert!(find_inbox(folder.path()).is_err());
        fs::remove_file(&inbox).unwrap();
        nix::unistd::mkfifo(&inbox, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(find_inbox(folder.path()).unwrap_err().to_string().ends_with("inbox.db is no file"));
        fs::remove_file(&inbox).unwrap();
        fs::write(&inbox, "").unwrap();
        assert_eq!(find_inbox(folder.path()).unwrap(), Some(inbox));
    }

    #[test]
    fn a_mark_counts_only_for_the_inbox_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, others) = (InboxIdentity::generate(), InboxIdentity::generate());
        assert_eq!(taken_over(folder.path(), &ours).unwrap(), 0);
        for (text, seq) in
            [(format!("{ours} 7\n"), 7), (format!("{others} 7\n"), 0), (format!("{ours} x\n"), 0), (String::new(), 0)]
        {
            fs::write(folder.path().join(MARK_FILE), &text).unwrap();
            assert_eq!(taken_over(folder.path(), &ours).unwrap(), seq, "{text:?}");
        }
    }

    #[test]
    fn waking_twice_is_waking() {
        let folder = tempfile::tempdir().unwrap();
        wake(folder.path()).unwrap();
        wake(folder.path()).unwrap();
        assert!(folder.path().join(WAKE_FILE).exists());
    }
}
