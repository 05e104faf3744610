//! Waits for a child while its output streams by; ends it, and everything it started, when its time is over.
//!
//! Signals are read from a descriptor (signalfd(2)): nothing is decided in a handler.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hookspool_common::config::{Limits, size_text};
use hookspool_common::ledger::{ExceededLimit, ProcessResult};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::containment::Met;
use super::descendants::{descendants, signal_all};
use super::workspace::{Measure, Watch};
use super::{Containment, GroupLimit, Launch};

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
    /// What else is to be said of it: limits that it met.
    pub remarks: Vec<String>,
}

/// Runs children one at a time. There is one in a process, because it takes over the process's signals.
#[derive(Debug)]
pub struct Supervisor {
    signals: SignalFd,
    cancelled: bool,
    containment: Option<Containment>,
}

/// A child that was started, and what is heard of it.
struct Started {
    pid: Pid,
    output: PipeReader,
    watch: Option<Watch>,
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

    /// Whether this process is asked to end before `time` is over.
    pub fn is_cancelled_within(&mut self, time: Duration) -> bool {
        if !self.is_cancelled() {
            let mut watched = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            // Whether it was interrupted, or its time is over: whoever waits looks again.
            let _ = poll(&mut watched, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        }
        self.is_cancelled()
    }

    /// Limits what all children from now on use together, and says what became of each limit that is asked for. Once in
    /// a run.
    pub fn limit(&mut self, limits: &Limits) -> Vec<GroupLimit> {
        match &mut self.containment {
            Some(containment) => containment.limit(limits),
            None => GroupLimit::none_of(limits),
        }
    }

    /// Removes the cgroups, with whatever is in them. The signals stay held.
    pub fn end(self) {
        if let Some(containment) = self.containment {
            containment.end();
        }
    }

    /// Runs `launch` to its end, its output given to `sink` as it comes.
    pub fn run(&mut self, launch: &Launch, timeout: Duration, cancel: Cancel, sink: &mut dyn FnMut(&[u8])) -> Ended {
        let met = self.met();
        let started = self.start(launch);
        let Started { pid, mut output, watch } = match started {
            Ok(started) => started,
            Err(error) => {
                return Ended { result: ProcessResult::NotStarted(error.to_string()), left_behind: 0, remarks: Vec::new() };
            }
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
            if let Some(limit) = watch.as_ref().filter(|watch| watch.has_spoken()).map(|_| limit_of(launch)) {
                child.end_at_once(limit);
            }
            let until = child.ending.as_ref().map_or(deadline, |(_, grace_ends)| *grace_ends);
            if child.ending.is_some() && Instant::now() >= until {
                self.kill_everything(&child);
            }
            let until = until.max(Instant::now() + Duration::from_millis(1));
            self.wait_for_news(&output, output_is_open, watch.as_ref().filter(|_| child.ending.is_none()), until);
            output_is_open = output_is_open && read_some(&mut output, sink);
        }
        drop(watch);
        let left_behind = self.kill_what_is_left(&mut child, &mut output, sink, &mut output_is_open);
        drain(&mut output, output_is_open, sink);
        verdict(child, launch, (met, self.met()), left_behind)
    }

    fn met(&self) -> Met {
        self.containment.as_ref().map(Containment::met).unwrap_or_default()
    }

    fn start(&self, launch: &Launch) -> io::Result<Started> {
        let (output, writer) = io::pipe()?;
        let watch = launch.allowance.as_ref().map(Watch::begin).transpose()?;
        let admissions = self.containment.as_ref().map(Containment::admissions).transpose()?.unwrap_or_default();
        let pid = launch.spawn(&writer, &admissions)?;
        Ok(Started { pid, output, watch })
    }

    /// Sleeps until a signal comes, output comes, the watch speaks, or `until`.
    fn wait_for_news(&self, output: &PipeReader, output_is_open: bool, watch: Option<&Watch>, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if output_is_open {
            watched.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        watched.extend(watch.map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
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
            let left = if has_children() { descendants() } else { Vec::new() };
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
            self.wait_for_news(output, *open, None, Instant::now() + Duration::from_millis(20));
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

    /// KILL to everything as soon as that is possible: what fills the disk would go on through its grace.
    fn end_at_once(&mut self, why: ProcessResult) {
        if self.ending.is_none() {
            self.ending = Some((why, Instant::now()));
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

/// The result of a child that was ended because it filled its workspace.
fn limit_of(launch: &Launch) -> ProcessResult {
    let bytes = launch.allowance.as_ref().map_or(0, |allowance| allowance.limit);
    ProcessResult::LimitExceeded { limit: ExceededLimit::Workspace(bytes), end: None }
}

/// What is to be said of a child that is gone with all that it started. `met` is how often limits were met before and after.
fn verdict(child: Child, launch: &Launch, met: (Met, Met), left_behind: usize) -> Ended {
    let fills = matches!(child.ending, Some((ProcessResult::LimitExceeded { .. }, _)));
    let was_ended = child.ending.is_some() && !fills;
    let mut result = child.result();
    let mut remarks = Vec::new();
    let grown = |of: fn(&Met) -> Option<(u64, u64)>| {
        let (after, limit) = of(&met.1)?;
        let times = after.saturating_sub(of(&met.0).map_or(0, |(before, _)| before));
        (times > 0).then_some((times, limit))
    };
    if let Some((times, limit)) = grown(|met| met.processes) {
        remarks.push(format!("{times} times it could not start a process: its limit is {limit}"));
    }
    if let Some((times, limit)) = grown(|met| met.memory) {
        remarks.push(format!("the system killed {times} of its processes: its limit of memory is {}", size_text(limit)));
        result = result.because_of(ExceededLimit::Memory(limit));
    }
    // Between two looks of the watch it may have written more, and ended.
    if let Some(allowance) = launch.allowance.as_ref().filter(|_| !was_ended) {
        match Measure::of(&allowance.folder, allowance.bytes) {
            Measure::Within { closed: 0, .. } => {}
            Measure::Within { closed, .. } => remarks.push(format!("{closed} closed folders of its workspace are not measured")),
            Measure::Exceeded => result = exceeded(result, allowance.limit),
            Measure::Unmeasurable(why) => {
                remarks.push(why);
                result = exceeded(result, allowance.limit);
            }
        }
    }
    Ended { result, left_behind, remarks }
}

/// Also what succeeded has failed then: the next step would find the workspace as full.
fn exceeded(result: ProcessResult, limit: u64) -> ProcessResult {
    let limit = ExceededLimit::Workspace(limit);
    match result.because_of(limit) {
        result @ ProcessResult::LimitExceeded { .. } => result,
        _ => ProcessResult::LimitExceeded { limit, end: None },
    }
}

/// Whether this process has any child, dead or alive. Orphans below it become its children, so without one there is nobody
/// below it, and nobody need be looked for.
fn has_children() -> bool {
    waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT) != Err(Errno::ECHILD)
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
