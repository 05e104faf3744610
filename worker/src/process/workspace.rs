//! How much a folder holds, and a watch that says when it is more than it may be.
//!
//! A step writes while it is measured, and may mean no good. So folders are opened without following links, each entry
//! counts for something, and measuring ends as soon as the answer is known. Sizes are blocks on disk: a file with holes
//! uses what it uses.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstatat};

/// What an entry counts for beside its blocks, in bytes: an inode and a name. So a million empty files are not nothing.
const ENTRY_BYTES: u64 = 256;

/// A block of `st_blocks` (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// How deep a workspace may be: each level is an open descriptor.
const MAX_DEPTH: usize = 500;

/// Measuring takes at most one part in so many of the time.
const SHARE: u32 = 20;

/// Time between two measurements, least and most.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// How much a child may leave in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The folder; it is measured with everything below it.
    pub folder: PathBuf,
    /// What it may hold, in bytes.
    pub bytes: u64,
    /// The limit that is said when it holds more, in bytes.
    pub limit: u64,
}

/// What a measurement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// The folder holds so many bytes; some of its folders could not be looked into.
    Within {
        /// Bytes.
        bytes: u64,
        /// Folders that are closed to the worker, which is not root then.
        closed: usize,
    },
    /// It holds more than it may.
    Exceeded,
    /// It cannot be measured, which counts as more.
    Unmeasurable(String),
}

impl Measure {
    /// Measures a folder until it is more than `most` bytes.
    #[must_use]
    pub fn of(folder: &Path, most: u64) -> Self {
        Self::unless_stopped(folder, most, &AtomicBool::new(false))
    }

    /// The same, until somebody says that the answer is not wanted any more; then it is not the answer.
    fn unless_stopped(folder: &Path, most: u64, stopped: &AtomicBool) -> Self {
        let mut tally = Tally { bytes: 0, most, closed: 0, linked: HashSet::new(), stopped };
        let measured = Dir::open(folder, FOLDER, Mode::empty()).and_then(|folder| tally.add_entries(folder, MAX_DEPTH));
        match measured {
            Ok(Step::On) => Self::Within { bytes: tally.bytes, closed: tally.closed },
            Ok(Step::Enough) => Self::Exceeded,
            Err(Errno::ELOOP) => Self::Unmeasurable(format!("its workspace is more than {MAX_DEPTH} folders deep")),
            Err(error) => Self::Unmeasurable(format!("its workspace cannot be measured: {error}")),
        }
    }

    /// Whether it holds no more than it may.
    #[must_use]
    pub const fn is_within(&self) -> bool {
        matches!(self, Self::Within { .. })
    }
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

enum Step {
    On,
    Enough,
}

struct Tally<'a> {
    bytes: u64,
    most: u64,
    closed: usize,
    /// Files with several names, which count once. There are no more than fit in what may be used.
    linked: HashSet<(u64, u64)>,
    stopped: &'a AtomicBool,
}

impl Tally<'_> {
    fn add_entries(&mut self, mut folder: Dir, depth: usize) -> nix::Result<Step> {
        let depth = depth.checked_sub(1).ok_or(Errno::ELOOP)?;
        let mut folders = Vec::new();
        // While a folder is read its descriptor is in use by the reading; so its folders come afterwards.
        let handle = nix::unistd::dup(folder.as_fd())?;
        for entry in folder.iter() {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            match self.add(handle.as_fd(), entry.file_name()) {
                Ok(true) => folders.push(entry.file_name().to_owned()),
                // Gone meanwhile.
                Ok(false) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
            if self.bytes > self.most || self.stopped.load(Ordering::Relaxed) {
                return Ok(Step::Enough);
            }
        }
        drop(folder);
        for name in folders {
            match Dir::openat(handle.as_fd(), name.as_c_str(), FOLDER, Mode::empty()) {
                Ok(folder) => {
                    if matches!(self.add_entries(folder, depth)?, Step::Enough) {
                        return Ok(Step::Enough);
                    }
                }
                // Gone, or another thing than a moment ago.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(Errno::EACCES) => self.closed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(Step::On)
    }

    /// Counts one entry; whether it is a folder.
    fn add(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> nix::Result<bool> {
        let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let is_folder = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
        let is_new = is_folder || found.st_nlink < 2 || self.linked.insert((found.st_dev, found.st_ino));
        let blocks = if is_new { u64::try_from(found.st_blocks).unwrap_or(0) } else { 0 };
        self.bytes = self.bytes.saturating_add(ENTRY_BYTES).saturating_add(blocks.saturating_mul(BLOCK_BYTES));
        Ok(is_folder)
    }
}

/// Measures a folder again and again, in a thread of its own, until it holds more than it may or nobody wants to know.
#[derive(Debug)]
pub(super) struct Watch {
    /// Can be read once the folder holds more.
    exceeded: PipeReader,
    stop: Option<Sender<()>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch. The thread has the signal mask of its maker, and takes none of the supervisor's signals.
    pub(super) fn begin(allowance: &Allowance) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let (stop, stopped) = channel();
        let allowance = allowance.clone();
        let flag = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&flag);
        let work = move || watch(&allowance, &stopped, &seen, writer);
        let thread = std::thread::Builder::new().name("workspace".to_owned()).spawn(work)?;
        Ok(Self { exceeded: reader, stop: Some(stop), stopped: flag, thread: Some(thread) })
    }
}

impl Watch {
    /// Whether there was too much.
    pub(super) fn has_spoken(&self) -> bool {
        let mut watched = [PollFd::new(self.exceeded.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut watched, PollTimeout::ZERO), Ok(1..)) && watched[0].any() == Some(true)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exceeded.as_fd()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there is its own; the last measurement is made in any case.
            let _ = thread.join();
        }
    }
}

fn watch(allowance: &Allowance, stopped: &Receiver<()>, is_stopped: &AtomicBool, mut exceeded: PipeWriter) {
    loop {
        let began = Instant::now();
        if !Measure::unless_stopped(&allowance.folder, allowance.bytes, is_stopped).is_within() {
            // Whoever reads it measures for itself. When nobody does any more, nobody needs it.
            let _ = exceeded.write_all(b"x");
            return;
        }
        let pause = began.elapsed().saturating_mul(SHARE).clamp(SHORTEST, LONGEST);
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PLENTY: u64 = 1 << 40;

    fn bytes(folder: &Path) -> u64 {
        match Measure::of(folder, PLENTY) {
            Measure::Within { bytes, closed: 0 } => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blocks_count_once_and_every_name_for_something() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a/b");
        fs::create_dir_all(&inside).unwrap();
        let empty = bytes(folder.path());
        fs::write(inside.join("file"), vec![1; 1 << 20]).unwrap();
        let one = bytes(folder.path());
        assert!((1 << 20..(1 << 20) + 65_536).contains(&(one - empty)), "{empty} {one}");
        fs::hard_link(inside.join("file"), inside.join("same")).unwrap();
        assert_eq!(bytes(folder.path()), one + ENTRY_BYTES);
        let holes = fs::File::create(inside.join("holes")).unwrap();
        holes.set_len(1 << 30).unwrap();
        assert!(bytes(folder.path()) < one + 65_536);
    }

    #[test]
    fn links_lead_nowhere_and_a_tree_that_is_too_deep_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("root")).unwrap();
        assert!(bytes(folder.path()) < 65_536);
        assert_eq!(Measure::of(folder.path(), 100), Measure::Exceeded);
        let deep = "d/".repeat(MAX_DEPTH + 1);
        fs::create_dir_all(folder.path().join(deep)).unwrap();
        assert!(matches!(Measure::of(folder.path(), PLENTY), Measure::Unmeasurable(why) if why.contains("folders deep")));
    }

    #[test]
    fn a_watch_speaks_up_when_there_is_too_much_and_ends_when_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let allowance = Allowance { folder: folder.path().to_owned(), bytes: 100_000, limit: 100_000 };
        let watch = Watch::begin(&allowance).unwrap();
        fs::write(folder.path().join("file"), vec![1; 200_000]).unwrap();
        let mut watched = [nix::poll::PollFd::new(watch.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut watched, nix::poll::PollTimeout::from(60_000u16)), Ok(1));
        drop(watch);
        drop(Watch::begin(&Allowance { bytes: PLENTY, ..allowance }).unwrap());
    }
}
