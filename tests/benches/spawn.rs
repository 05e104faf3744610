//! How long a step's process takes to start and end, as another user, beside posix_spawn(3) of the same program and a fork
//! that changes users, in processes of several sizes.
//!
//! `cargo bench -p hookspool-tests --bench spawn`, as root for other users. Absolute figures drift with the machine; the
//! ratios of one run hold.

use std::hint::black_box;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hookspool_common::config::Limits;
use hookspool_common::names::RunId;
use hookspool_worker::process::{Account, Cancel, Containment, Launch, Supervisor};
use nix::sys::wait::waitpid;
use nix::unistd::{User, geteuid};

/// Rounds of all, in turn.
const ROUNDS: usize = 400;

/// Memory of the parent, in MiB, beside its own.
const SIZES: [usize; 3] = [0, 20, 200];

const PROGRAM: &str = "/bin/true";

fn time(one: impl FnOnce()) -> Duration {
    let started = Instant::now();
    one();
    started.elapsed()
}

/// The median, in microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn posix_spawn() {
    // Without anything that needs code between fork and exec, this is what std does.
    let status = Command::new(PROGRAM).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()));
}

fn fork(account: &Account) {
    let mut command = Command::new(PROGRAM);
    if geteuid().is_root() {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()));
}

fn ours(launch: &Launch, output: &io::PipeWriter) {
    let pid = launch.spawn(output, &[]).expect("it starts");
    assert!(waitpid(pid, None).is_ok());
}

fn supervised(supervisor: &mut Supervisor, launch: &Launch) {
    assert!(supervisor.run(launch, Duration::from_secs(60), Cancel::Ends, &mut |_| {}).result.is_success());
}

fn main() {
    let account = User::from_name("nobody").ok().flatten().filter(|_| geteuid().is_root());
    let account = account.map_or_else(Account::own, |user| Account::named(&user.name)).expect("there is an account");
    let launch = Launch::new(PROGRAM, "/").env("PATH", "/usr/bin:/bin").account(account.clone());
    let state = tempfile::tempdir().expect("a folder can be made");
    println!("{PROGRAM} as {}, from birth to end; medians of {ROUNDS} rounds, in microseconds", account.name);
    println!(
        "{:>10} {:>11} {:>11} {:>11} {:>11} {:>11}   posix_spawn / ours",
        "parent", "posix_spawn", "fork, ids", "ours", "supervised", "limited"
    );
    for (number, size) in SIZES.into_iter().enumerate() {
        let mut ballast = vec![1u8; size << 20];
        let (_reader, output) = io::pipe().expect("a pipe can be made");
        let run = RunId::new(i64::try_from(number).unwrap_or(0) + 1);
        let mut plain = Supervisor::new(Containment::make(state.path(), run)).expect("children can be watched");
        let mut limited =
            Supervisor::new(Containment::make(state.path(), RunId::new(run.number() + 10))).expect("children can be watched");
        limited.limit(&Limits { memory: Some(1 << 30), processes: Some(100), cpu_weight: Some(100), ..Limits::default() });
        let mut times: [Vec<Duration>; 5] = Default::default();
        for round in 0..ROUNDS {
            // A parent that works has pages of its own, which a fork has to mark.
            ballast.iter_mut().step_by(4096).for_each(|byte| *byte = byte.wrapping_add(u8::try_from(round % 256).unwrap_or(0)));
            black_box(&ballast);
            times[0].push(time(posix_spawn));
            times[1].push(time(|| fork(&account)));
            times[2].push(time(|| ours(&launch, &output)));
            times[3].push(time(|| supervised(&mut plain, &launch)));
            times[4].push(time(|| supervised(&mut limited, &launch)));
        }
        plain.end();
        limited.end();
        let [posix_spawn, fork, ours, supervised, limited] = times.map(median);
        println!(
            "{:>6} MiB {posix_spawn:>11.0} {fork:>11.0} {ours:>11.0} {supervised:>11.0} {limited:>11.0}   {:.2} (aim: 0.9)",
            size,
            posix_spawn / ours
        );
    }
}
