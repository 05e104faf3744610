//! Who lives below this process, read from `/proc` (proc(5)).
//!
//! A runner is a child subreaper (prctl(2)), so that whatever a step leaves behind becomes the runner's own child,
//! however often it forked and whichever session it moved to.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every process's parent.
fn parents() -> HashMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent_of(pid)?))).collect()
}

/// The fourth field of `/proc/PID/stat`. The second is the command in parentheses, which may hold anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_command = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(&stat[after_command..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // A zombie is dead; it only waits for its parent to ask.
    (state != "Z").then_some(parent)
}

/// Every living descendant of this process.
pub(super) fn descendants() -> Vec<Pid> {
    let parents = parents();
    let own = std::process::id().cast_signed();
    let mut known: HashSet<i32> = HashSet::from([own]);
    loop {
        let more: Vec<i32> =
            parents.iter().filter(|(pid, parent)| known.contains(parent) && !known.contains(pid)).map(|(pid, _)| *pid).collect();
        if more.is_empty() {
            break;
        }
        known.extend(more);
    }
    known.remove(&own);
    known.into_iter().map(Pid::from_raw).collect()
}

pub(super) fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // Whoever is gone already is what we want.
        let _ = kill(*pid, signal);
    }
}

/// Kills every process whose environment has the variable `HOOKSPOOL_EVENT` set to this file, until none is left, and
/// gives how many there were. For what a dead runner left behind, where there is no cgroup to ask.
pub fn kill_marked(event_file: &Path) -> usize {
    let mark = format!("HOOKSPOOL_EVENT={}", event_file.display());
    let mut killed = 0;
    // A process that forks while it is being looked for is found in the next round; rounds are bounded, as a process
    // that cannot die must not hold up everybody else.
    for _ in 0..50 {
        let marked: Vec<Pid> = parents().into_keys().filter(|pid| has_mark(*pid, mark.as_bytes())).map(Pid::from_raw).collect();
        if marked.is_empty() {
            break;
        }
        killed += marked.len();
        signal_all(&marked, Signal::SIGKILL);
    }
    killed
}

fn has_mark(pid: i32, mark: &[u8]) -> bool {
    let own = std::process::id().cast_signed();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    pid != own && environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}
