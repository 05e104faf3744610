//! kill -9 of a pass and of a runner: at each boundary of the worker's own table, and at each system call by which they
//! change what others see. Whatever was done by then, one pass makes it right, and nothing runs twice.
//!
//! strace(1) kills, so that the programs are the real ones and the instants exact.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use hookspool_common::ledger::RunState;
use hookspool_tests::programs::program;
use hookspool_tests::server::{Delivery, Server, entries, processes_with, wait_for};
use hookspool_worker::boundaries::{BOUNDARIES, Boundary, Dying, Mark};
use nix::sys::signal::Signal;

/// Writes one line for each time that it runs. A run whose runner died is not made anew, so that nothing hides.
const COUNTING: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nlane = { on_new = \"queue\" }\non_crash = \"fail\"\n\
    build = \"echo once >>$OUT/built\"\n";

/// The system calls that change a file, a process or a lock; of those that come by the dozen for one purpose (the tree of
/// a workspace is given away, and removed), every fifth.
const CHANGES: [(&str, usize); 19] = [
    ("pwrite64", 1),
    ("write", 1),
    ("ftruncate", 1),
    ("fdatasync", 1),
    ("fsync", 1),
    ("flock", 1),
    ("mkdir", 1),
    ("rename", 1),
    ("renameat2", 1),
    ("link", 1),
    ("symlink", 1),
    ("unlink", 1),
    ("unlinkat", 5),
    ("fchownat", 5),
    ("clone", 1),
    ("clone3", 1),
    ("vfork", 1),
    ("kill", 1),
    ("execve", 1),
];

/// Runs a program of the worker and kills it at the `nth` time that it calls `call`. Whether it came to that.
fn killed_at(server: &Server, words: &[&str], call: &str, nth: usize) -> bool {
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(program("hookspool-worker")).args(words).arg("--config").arg(server.config()).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("strace can be run").signal() == Some(Signal::SIGKILL as i32)
}

/// Until nothing of the worker runs any more: what a killed pass had started goes on to its end. A runner that is just
/// becoming a pass has no command line for a moment, so one look is not enough.
fn wait_until_quiet(server: &Server) {
    let config = server.config().to_string_lossy().into_owned();
    let mut quiet_looks = 0;
    wait_for("the end of the worker's processes", || {
        let is_quiet = processes_with(&["hookspool-worker ", &config]).is_empty();
        quiet_looks = if is_quiet { quiet_looks + 1 } else { 0 };
        (quiet_looks == 2).then_some(())
    });
}

/// One pass, with whatever it starts.
fn one_pass(server: &Server) {
    wait_until_quiet(server);
    server.run_pass();
    wait_until_quiet(server);
}

/// What each of the runs came to, how often the job was built, and how many mails there are.
fn found(server: &Server) -> (Vec<String>, usize, usize) {
    let built = server.written("built").unwrap_or_default().lines().count();
    (server.states(), built, server.mails().len())
}

fn nothing_is_left(server: &Server) {
    let left = [server.state("work"), server.state("runs")].map(|folder| entries(&folder));
    assert!(left.iter().all(Vec::is_empty), "{left:?}");
    for mark in [server.spool().join("wake"), server.state("pass.again")] {
        assert!(!mark.exists(), "{}", mark.display());
    }
}

fn strace_is_here() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !works {
        println!("SKIPPED: strace cannot be run here");
    }
    works
}

/// At which call of its name the marked one came, in what strace wrote of a program that nobody killed.
fn nth_of(trace: &str, mark: &Mark) -> Option<usize> {
    let (mut has_begun, mut of_its_name, mut matching) = (mark.after.is_empty(), 0, 0);
    for line in trace.lines() {
        let is_call = line.strip_prefix(mark.call).is_some_and(|rest| rest.starts_with('('));
        of_its_name += usize::from(is_call);
        if has_begun && is_call && line.contains(mark.on) {
            matching += 1;
            if matching == mark.nth {
                return Some(of_its_name);
            }
        }
        has_begun = has_begun || line.contains(mark.after);
    }
    None
}

/// Runs a program of the worker under strace to its end; what it called.
fn traced(server: &Server, words: &[&str]) -> String {
    let output = server.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-y", "-s", "300", "-o"]).arg(&output).arg(program("hookspool-worker")).args(words);
    command
        .arg("--config")
        .arg(server.config())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(command.status().expect("strace can be run").success());
    String::from_utf8_lossy(&fs::read(output).expect("strace wrote something")).into_owned()
}

/// A server on which everything has run once, so that the second time is like the third.
fn warmed_up() -> Server {
    let server = Server::new(COUNTING);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    one_pass(&server);
    server
}

/// What was there before a boundary is killed at, in the order in which it comes: once to look, once to kill.
fn kill_at(boundary: &Boundary) {
    let server = warmed_up();
    let mut runs = 1;
    let mut prepare = || {
        runs += 1;
        match boundary.dying {
            Dying::Pass => {
                server.deliver(&Delivery::push("master", &server.laptop.head()));
                vec!["pass".to_owned()]
            }
            Dying::Runner => {
                drop(queued_run(&server, runs));
                vec!["runner".to_owned(), runs.to_string()]
            }
        }
    };
    let words = prepare();
    let trace = traced(&server, &words.iter().map(String::as_str).collect::<Vec<_>>());
    wait_until_quiet(&server);
    let nth = nth_of(&trace, &boundary.mark).unwrap_or_else(|| panic!("{boundary:?} does not come\n{trace}"));
    let words = prepare();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert!(killed_at(&server, &words, boundary.mark.call, nth), "{boundary:?}");
    wait_until_quiet(&server);
    let expected = boundary.left.map(|state| state.as_str().to_owned());
    assert_eq!(server.states().get(2), expected.as_ref(), "{boundary:?}");
    one_pass(&server);
    assert_eq!(server.states()[2..], [boundary.end.as_str()], "{boundary:?}");
    let built = server.written("built").unwrap_or_default().lines().count();
    assert!(built == 3 || (built == 2 && boundary.end == RunState::Interrupted), "{boundary:?}: built {built} times");
    assert_eq!(server.mails().len(), 3, "{boundary:?}");
    nothing_is_left(&server);
}

fn kill_at_all(dying: Dying) {
    if strace_is_here() {
        BOUNDARIES.iter().filter(|boundary| boundary.dying == dying).for_each(kill_at);
    }
}

#[test]
fn a_pass_killed_at_each_boundary_of_the_table_leaves_what_one_pass_makes_right() {
    kill_at_all(Dying::Pass);
}

#[test]
fn a_runner_killed_at_each_boundary_of_the_table_leaves_what_one_pass_makes_right() {
    kill_at_all(Dying::Runner);
}

fn a_pass_killed_at(calls: &[(&str, usize)]) -> usize {
    let server = Server::new(COUNTING);
    server.run_pass();
    let mut killed = 0;
    for (call, every) in calls {
        for nth in (1..).step_by(*every) {
            server.deliver(&Delivery::push("master", &server.laptop.head()));
            let was_killed = killed_at(&server, &["pass"], call, nth);
            one_pass(&server);
            let (states, built, mails) = found(&server);
            assert!(states.iter().all(|state| state == "succeeded"), "killed at {call} {nth}: {states:?}");
            assert_eq!((built, mails), (states.len(), states.len()), "killed at {call} {nth}");
            nothing_is_left(&server);
            if !was_killed {
                break;
            }
            killed += 1;
        }
    }
    killed
}

/// A queued run whose runner is started here, because no pass could claim it.
fn queued_run(server: &Server, number: usize) -> File {
    fs::create_dir_all(server.state(&format!("runs/{number}"))).expect("a folder can be made");
    let alive = File::create(server.state(&format!("runs/{number}/alive"))).expect("a file can be made");
    alive.lock().expect("nobody holds it");
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    alive
}

fn a_runner_killed_at(calls: &[(&str, usize)]) -> usize {
    let server = Server::new(COUNTING);
    server.run_pass();
    let (mut killed, mut runs, mut succeeded) = (0, 0, 0);
    for (call, every) in calls {
        for nth in (1..).step_by(*every) {
            runs += 1;
            drop(queued_run(&server, runs));
            let was_killed = killed_at(&server, &["runner", &runs.to_string()], call, nth);
            one_pass(&server);
            let (states, built, mails) = found(&server);
            assert_eq!((states.len(), mails), (runs, runs), "killed at {call} {nth}: {states:?}");
            let last = states.iter().filter(|state| *state == "succeeded").count() - succeeded;
            succeeded += last;
            // Who was interrupted may have built or not.
            assert!(states.iter().all(|state| state == "succeeded" || state == "interrupted"), "{states:?}");
            assert!(built >= succeeded && built <= runs, "killed at {call} {nth}: built {built} times");
            assert!(was_killed || last == 1, "the run that nobody killed is {states:?}");
            nothing_is_left(&server);
            if !was_killed {
                break;
            }
            killed += 1;
        }
    }
    killed
}

#[test]
fn a_pass_killed_at_any_change_is_made_right_by_the_next() {
    if strace_is_here() {
        let killed = a_pass_killed_at(&CHANGES);
        println!("{killed} kills");
        assert!(killed >= 40, "{killed}");
    }
}

#[test]
fn a_runner_killed_while_it_writes_leaves_what_one_pass_makes_right() {
    if strace_is_here() {
        let killed = a_runner_killed_at(&CHANGES[..6]);
        println!("{killed} kills");
        assert!(killed >= 60, "{killed}");
    }
}

#[test]
fn a_runner_killed_while_it_moves_things_or_starts_them_leaves_what_one_pass_makes_right() {
    if strace_is_here() {
        let killed = a_runner_killed_at(&CHANGES[6..]);
        println!("{killed} kills");
        assert!(killed >= 30, "{killed}");
    }
}
