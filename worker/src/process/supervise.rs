//! Waits for a child while its output streams by; ends it, and everything it started, when its time is over.
//!
//! Signals are read from a descriptor (signalfd(2)): nothing is decided in a handler.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hookspool_common::ledger::ProcessResult;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::descendants::{descendants, signal_all};
use super::{Containment, Launch};

/// Between the polite signal and the other.
const GRACE: Duration = Duration::from_secs(10);

/// After everything was killed: how long to look for what is still there, and for the end of its output.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How much output is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Whether SIGTERM to the runner ends the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It does.
    Ends,
    /// It is remembered, and the child goes on: it is the step that must run whatever happens.
    Waits,
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended itself.
    pub result: ProcessResult,
    /// How many processes it left behind, which were killed.
    pub left_behind: usize,
}

/// Runs children one at a time. There is one in a process, because it takes over the process's signals.
#[derive(Debug)]
pub struct Supervisor {
    signals: SignalFd,
    cancelled: bool,
    containment: Option<Containment>,
}

/// A child that lives, and what is to become of it.
struct Child {
    pid: Pid,
    status: Option<WaitStatus>,
    /// Why it is being ended, and when politeness ends.
    ending: Option<(ProcessResult, Instant)>,
}

impl Supervisor {
    /// Takes over the signals of [`hold_signals`], and becomes the parent of every orphan below this process.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(containment: Option<Containment>) -> io::Result<Self> {
        hold_signals()?;
        let signals = signal_descriptor()?;
        prctl::set_child_subreaper(true)?;
        Ok(Self { signals, cancelled: false, containment })
    }

    /// Whether this process was asked to end.
    pub fn is_cancelled(&mut self) -> bool {
        self.read_signals();
        self.cancelled
    }

    /// Removes the cgroup, with whatever is in it. The signals stay held.
    pub fn end(self) {
        if let Some(containment) = self.containment {
            containment.end();
        }
    }

    /// Runs `launch` to its end, its output given to `sink` as it comes.
    pub fn run(&mut self, launch: &Launch, timeout: Duration, cancel: Cancel, sink: &mut dyn FnMut(&[u8])) -> Ended {
        let not_started = |why: String| Ended { result: ProcessResult::NotStarted(why), left_behind: 0 };
        let started = self.start(launch);
        let (pid, mut output) = match started {
            Ok(started) => started,
            Err(error) => return not_started(error.to_string()),
        };
        let mut child = Child { pid, status: None, ending: None };
        let deadline = Instant::now() + timeout;
        let mut output_is_open = true;
        loop {
            // In this order: a SIGCHLD that is read here is followed by a look at the children, so that none is slept
            // through.
            let is_cancelled = self.is_cancelled();
            child.reap();
            if child.status.is_some() {
                break;
            }
            if is_cancelled && cancel == Cancel::Ends {
                child.end_politely(ProcessResult::Cancelled);
            }
            if Instant::now() >= deadline {
                child.end_politely(ProcessResult::TimedOut);
            }
            let until = child.ending.as_ref().map_or(deadline, |(_, grace_ends)| *grace_ends);
            if child.ending.is_some() && Instant::now() >= until {
                self.kill_everything(&child);
            }
            self.wait_for_news(&output, output_is_open, until.max(Instant::now() + Duration::from_millis(1)));
            output_is_open = output_is_open && read_some(&mut output, sink);
        }
        let left_behind = self.kill_what_is_left(&mut child, &mut output, sink, &mut output_is_open);
        drain(&mut output, output_is_open, sink);
        Ended { result: child.result(), left_behind }
    }

    fn start(&self, launch: &Launch) -> io::Result<(Pid, PipeReader)> {
        let (reader, writer) = io::pipe()?;
        let admission = self.containment.as_ref().map(Containment::admission).transpose()?;
        let child = launch.spawn(&writer, admission.as_ref())?;
        Ok((Pid::from_raw(child.id().cast_signed()), reader))
    }

    /// Sleeps until a signal comes, output comes, or `until`.
    fn wait_for_news(&self, output: &PipeReader, output_is_open: bool, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if output_is_open {
            watched.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        // An interrupted wait is a short one; the loop looks again in any case.
        let _ = poll(&mut watched, timeout);
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = signal.ssi_signo.cast_signed();
            self.cancelled |= number == Signal::SIGTERM as i32 || number == Signal::SIGINT as i32;
        }
    }

    fn kill_everything(&self, child: &Child) {
        if let Some(containment) = &self.containment {
            containment.kill();
        }
        // Once it was reaped its number may be somebody else's. What it left in its group is among the descendants.
        if child.status.is_none() {
            let _ = killpg(child.pid, Signal::SIGKILL);
        }
        signal_all(&descendants(), Signal::SIGKILL);
    }

    /// After the child's own end: kills what it left running, until nothing is left.
    fn kill_what_is_left(
        &self,
        child: &mut Child,
        output: &mut PipeReader,
        sink: &mut dyn FnMut(&[u8]),
        open: &mut bool,
    ) -> usize {
        let last_look = Instant::now() + LAST_LOOK;
        let mut seen = std::collections::HashSet::new();
        loop {
            let left = descendants();
            let contained = self.containment.as_ref().is_none_or(Containment::is_empty);
            if left.is_empty() && contained {
                return seen.len();
            }
            seen.extend(left);
            if Instant::now() >= last_look {
                tracing::error!(processes = ?seen, "processes do not die");
                return seen.len();
            }
            self.kill_everything(child);
            self.wait_for_news(output, *open, Instant::now() + Duration::from_millis(20));
            *open = *open && read_some(output, sink);
            child.reap();
        }
    }
}

/// From here on SIGCHLD, SIGTERM and SIGINT end nothing by themselves: they wait until a [`Supervisor`] reads them.
///
/// # Errors
/// What the system said.
pub fn hold_signals() -> io::Result<()> {
    Ok(watched_signals().thread_block()?)
}

/// Forgets the signals that wait, and lets those that come do again what they do by themselves.
pub fn release_signals() {
    if let Ok(signals) = signal_descriptor() {
        while let Ok(Some(_)) = signals.read_signal() {}
    }
    // Should it fail, signals stay blocked in a process that is about to end.
    let _ = watched_signals().thread_unblock();
}

fn watched_signals() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

fn signal_descriptor() -> io::Result<SignalFd> {
    Ok(SignalFd::with_flags(&watched_signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

impl Child {
    /// TERM to its group and to all it started; KILL follows after the grace.
    fn end_politely(&mut self, why: ProcessResult) {
        if self.ending.is_none() {
            self.ending = Some((why, Instant::now() + GRACE));
            let _ = killpg(self.pid, Signal::SIGTERM);
            signal_all(&descendants(), Signal::SIGTERM);
        }
    }

    /// Asks after every child that ended; orphans are asked after too, so that none stays a zombie.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(status) if status.pid() == Some(self.pid) => self.status = Some(status),
                Ok(_) => {}
            }
        }
    }

    fn result(self) -> ProcessResult {
        match (self.ending, self.status) {
            (Some((why, _)), _) => why,
            (None, Some(WaitStatus::Exited(_, status))) => ProcessResult::Exited(status),
            (None, Some(WaitStatus::Signaled(_, signal, _))) => ProcessResult::Signaled(signal as i32),
            (None, other) => ProcessResult::NotStarted(format!("the system reported {other:?}")),
        }
    }
}

/// Reads what is there; whether more may come.
fn read_some(output: &mut PipeReader, sink: &mut dyn FnMut(&[u8])) -> bool {
    let mut watched = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    if !matches!(poll(&mut watched, PollTimeout::ZERO), Ok(1..)) {
        return true;
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    match output.read(&mut chunk) {
        Ok(0) => false,
        Ok(bytes) => {
            sink(&chunk[..bytes]);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
    }
}

/// Reads to the end. Somebody outside may hold the pipe open for ever, hence the bound on silence.
fn drain(output: &mut PipeReader, mut open: bool, sink: &mut dyn FnMut(&[u8])) {
    let last_look = Instant::now() + LAST_LOOK;
    while open && Instant::now() < last_look {
        let mut watched = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut watched, 100u8), Ok(1..)) {
            return;
        }
        open = read_some(output, sink);
    }
}

#[cfg(test)]
mod tests;
