//! Who runs on this machine, by the words of the command line (proc(5)).

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The living processes in whose command line all of `words` stand. Paths in a temporary folder make them unique.
#[must_use]
pub fn processes_with(words: &[&str]) -> Vec<i32> {
    processes(|line| words.iter().all(|word| line.contains(word)))
}

/// The living processes that were started as `program`.
#[must_use]
pub fn processes_of(program: &str) -> Vec<i32> {
    processes(|line| line.split(' ').next() == Some(program))
}

fn processes(is_one: impl Fn(&str) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<i32> = pids
        .filter(|pid| {
            // What is dead and not yet asked after has no command line.
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_one(&String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect();
    found.sort_unstable();
    found
}

/// kill -9. Whoever is gone already is as dead as was wanted.
pub fn kill_now(pid: i32) {
    killed(pid);
}

/// kill -9; whether there was somebody to kill.
pub fn killed(pid: i32) -> bool {
    assert!(pid > 1, "{pid} is no single process");
    kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}
