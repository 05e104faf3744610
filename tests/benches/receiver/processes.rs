//! What the kernel says of a process: memory, processor time, system calls.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the kernel says of a process: a line of /proc/PID/status in MiB.
pub(crate) fn memory(pid: u32, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>()? / 1024.0)
}

/// CPU time that a process has used, with the children that it has waited for, in seconds.
pub(crate) fn cpu(pid: u32) -> Result<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("a stat without a name")?;
    let ticks = fields.split(' ').skip(11).take(4).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_A_SECOND)
}

/// Counts what a process asks of the kernel, without slowing it down as strace would.
pub(crate) struct Counter(Child);

const CALLS: &str = "raw_syscalls:sys_enter";
const SYNCS: [&str; 2] = ["syscalls:sys_enter_fdatasync", "syscalls:sys_enter_fsync"];

impl Counter {
    /// Starts to count; none where perf is absent or may not.
    pub(crate) fn start(pid: u32) -> Option<Self> {
        let mut command = Command::new("perf");
        command.args(["stat", "-x,", "-e", CALLS, "-e", SYNCS[0], "-e", SYNCS[1], "-p", &pid.to_string()]);
        let child = command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        // It does not say when it has begun.
        std::thread::sleep(std::time::Duration::from_millis(300));
        Some(Self(child))
    }

    /// System calls and syncs since then.
    pub(crate) fn stop(self) -> Result<(f64, f64)> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGINT)?;
        let said = String::from_utf8(self.0.wait_with_output()?.stderr)?;
        let count = |event: &str| -> Result<f64> {
            let line = said.lines().find(|line| line.contains(event)).with_context(|| format!("perf says: {said}"))?;
            Ok(line.split(',').next().unwrap_or_default().parse()?)
        };
        Ok((count(CALLS)?, count(SYNCS[0])? + count(SYNCS[1])?))
    }
}
