//! Where kill -9 may come between two things that a pass or a runner does, and what is made of what is left.
//!
//! Nothing of the worker reads this: it is the map by which its parts are written, and the tests kill at each of these
//! instants and let one pass come. They find an instant by the system call that would have been next.

use hookspool_common::ledger::RunState;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dying {
    /// A pass, while one delivery waits in the inbox.
    Pass,
    /// The runner of a queued run, also as the pass that it becomes.
    Runner,
}

/// The system call that would have been next: the `nth` one of this name whose line in strace(1), with paths for
/// descriptors, holds `on`, counted after the first line that holds `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Where to begin to count; everywhere if it is empty.
    pub after: &'static str,
    /// Its name.
    pub call: &'static str,
    /// What it is about.
    pub on: &'static str,
    /// Which one; from 1.
    pub nth: usize,
}

/// One instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// Who dies.
    pub dying: Dying,
    /// What was done, and what was not.
    pub between: &'static str,
    /// The next system call.
    pub mark: Mark,
    /// What the ledger says of the run then; nothing where there is none.
    pub left: Option<RunState>,
    /// What the next pass makes of it.
    pub then: &'static str,
    /// What the run ends as.
    pub end: RunState,
}

const fn mark(after: &'static str, call: &'static str, on: &'static str, nth: usize) -> Mark {
    Mark { after, call, on, nth }
}

const LEDGER: &str = "ledger.db-wal>";
const JOURNAL: &str = "/journal>";

/// The instants, in the order of a run's life. The journal's five lines are: checkout begins, ends, the step begins, ends,
/// the outcome.
pub const BOUNDARIES: [Boundary; 15] = [
    Boundary {
        dying: Dying::Pass,
        between: "the pass's lock is held; the importer is not started",
        mark: mark("pass.lock", "clone", "", 1),
        left: None,
        then: "the lock went with the process; the inbox is read as if nothing had been",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Pass,
        between: "the wake file is gone and the inbox is read; nothing is taken over",
        mark: mark("clone(", "pwrite64", LEDGER, 1),
        left: None,
        then: "the watermark stands where it stood, so the same is read again: by the timer or cron, as nobody wakes",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Pass,
        between: "the delivery, its run and the watermark are written, not synced",
        mark: mark("clone(", "fdatasync", LEDGER, 1),
        left: None,
        then: "what was no whole transaction is none",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Pass,
        between: "the delivery is taken over; the importer, which marks that for the receiver, is not told",
        mark: mark("admitted", "kill", "", 1),
        left: Some(RunState::Queued),
        then: "the importer reads nothing after the watermark, and marks as far as that; the run starts",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the run's lock is held; the run is not claimed",
        mark: mark("alive", "pwrite64", LEDGER, 1),
        left: Some(RunState::Queued),
        then: "the lock is free again, and another runner claims the run",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the run is claimed; there is no journal",
        mark: mark("alive", "openat", "/journal\"", 1),
        left: Some(RunState::Running),
        then: "the lock is free and nothing says that a step began: interrupted",
        end: RunState::Interrupted,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the journal says that the checkout begins; git does not run",
        mark: mark(JOURNAL, "clone", "", 1),
        left: Some(RunState::Running),
        then: "interrupted while `checkout` ran; mirror locks that git left are removed by the next runner",
        end: RunState::Interrupted,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the workspace is at the commit; the journal does not say so",
        mark: mark("", "write", JOURNAL, 2),
        left: Some(RunState::Running),
        then: "interrupted while `checkout` ran; the workspace goes",
        end: RunState::Interrupted,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the step is about to begin; the journal does not say so, so it does not",
        mark: mark("", "write", JOURNAL, 3),
        left: Some(RunState::Running),
        then: "interrupted after `checkout`",
        end: RunState::Interrupted,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the step has ended; the journal does not say how",
        mark: mark("", "write", JOURNAL, 4),
        left: Some(RunState::Running),
        then: "interrupted while the step ran: nobody can know how it ended, so it counts as not ended",
        end: RunState::Interrupted,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the last step's end is in the journal, the outcome is not",
        mark: mark("", "write", JOURNAL, 5),
        left: Some(RunState::Running),
        then: "interrupted after the step: what was to follow it is not known to be over",
        end: RunState::Interrupted,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the outcome is in the journal; the ledger does not know it",
        mark: mark("\\\"outcome\\\"", "pwrite64", LEDGER, 1),
        left: Some(RunState::Running),
        then: "the journal's outcome is written down with its mails, as the runner would have done",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Runner,
        between: "outcome and mails are written down; the run's folders are there",
        mark: mark("\\\"outcome\\\"", "unlinkat", "", 1),
        left: Some(RunState::Succeeded),
        then: "the folders of runs that are over are removed, the log is packed",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the run is over and its folders are gone; its runner is no pass yet",
        mark: mark("\\\"outcome\\\"", "flock", "pass.lock", 1),
        left: Some(RunState::Succeeded),
        then: "the mail is due, and is sent; what waited for the run starts",
        end: RunState::Succeeded,
    },
    Boundary {
        dying: Dying::Runner,
        between: "the mail is where it should be; the ledger does not know that",
        mark: mark("/new/", "pwrite64", LEDGER, 1),
        left: Some(RunState::Succeeded),
        then: "it is sent again, under the same name and `Message-ID`",
        end: RunState::Succeeded,
    },
];
