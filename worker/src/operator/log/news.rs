//! Waits until a run's log, or the ledger, may have something new (inotify(7)). Never says what: whoever waited looks.

use std::os::fd::AsFd;

use hookspool_common::names::RunId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::folders::Folders;

/// Longest wait, in milliseconds. A ledger that several processes open may get a new write-ahead log that nobody watches, and
/// where the system gives no watch at all, this is how often one looks.
const LONGEST_WAIT: u16 = 1000;

/// What is watched.
pub(super) struct News {
    inotify: Option<Inotify>,
    /// How the names begin of what is waited for in the folder of logs.
    name: String,
}

impl News {
    /// News of this run: of its log, and of its end.
    pub(super) fn of(folders: &Folders, run: RunId) -> Self {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        let name = format!("{run}.log");
        if let (Some(inotify), Some(logs)) = (&inotify, folders.log(run).parent()) {
            let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            let _ = inotify.add_watch(logs, changes);
            let write_ahead_log = format!("{}-wal", folders.ledger().display());
            let _ = inotify.add_watch(write_ahead_log.as_str(), AddWatchFlags::IN_MODIFY);
        }
        Self { inotify, name }
    }

    /// Returns when there may be something new, and at the latest after [`LONGEST_WAIT`].
    pub(super) fn wait(&self) {
        loop {
            let mut watched: Vec<PollFd<'_>> =
                self.inotify.iter().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)).collect();
            if !matches!(poll(&mut watched, PollTimeout::from(LONGEST_WAIT)), Ok(1..)) {
                return;
            }
            let events = self.inotify.as_ref().and_then(|inotify| inotify.read_events().ok()).unwrap_or_default();
            // Other runs write logs too. The ledger's event has no name.
            let concerns_it = |name: Option<&str>| name.is_none_or(|name| name.starts_with(&self.name));
            if events.is_empty() || events.iter().any(|event| concerns_it(event.name.as_deref().and_then(|name| name.to_str()))) {
                return;
            }
        }
    }
}
