//! What happens to a pass, and to the installed programs, while a run is at work: none of it reaches the run, and its exact
//! end is known.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use hookspool_tests::programs;
use hookspool_tests::server::{Delivery, Server, Setup, is_root, processes_with, wait_for};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rusqlite::Connection;

/// Says that it began, waits for leave to go on, and ends with status 7.
const WAITS: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nlane = { on_new = \"queue\" }\n\
    build = \"echo $HOOKSPOOL_RUN >>$OUT/began; while ! [ -e $OUT/go ]; do sleep 0.02; done; exit 7\"\n";

fn runner(server: &Server) -> i32 {
    let config = server.config().to_string_lossy().into_owned();
    wait_for("a runner", || processes_with(&[" runner ", &config]).first().copied())
}

fn cgroups(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

#[test]
fn a_run_outlives_its_pass_the_passs_process_group_and_whoever_started_it() {
    let server = Server::new(WAITS);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    // As cron starts it: by a shell, in a group of its own. The shell has more to do, and has done none of it when it dies.
    let pass = format!(
        "'{}' pass --config '{}'; sleep 1000",
        programs::program("hookspool-worker").display(),
        server.config().display()
    );
    let mut shell = Command::new("/bin/sh").args(["-c", &pass]).process_group(0).spawn().unwrap();
    server.wait_until_written("began");
    let runner = runner(&server);
    killpg(Pid::from_raw(shell.id().cast_signed()), Signal::SIGKILL).unwrap();
    shell.wait().unwrap();
    let session = nix::unistd::getsid(Some(Pid::from_raw(runner))).unwrap();
    assert_eq!(session.as_raw(), runner, "it leads a session of its own");
    if is_root() && fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ") {
        let own = cgroups(std::process::id().cast_signed());
        let unified = |groups: &str| groups.lines().find(|line| line.starts_with("0::")).map(str::to_owned);
        assert_ne!(unified(&cgroups(runner)), unified(&own), "it left the cgroup of its pass");
    }
    server.release("go");
    server.wait_for_state(1, "failed");
    assert_eq!(server.outcome(1), ("failed".to_owned(), "build exited with status 7".to_owned()));
    server.settle();
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn a_runner_goes_on_as_a_pass_of_the_program_that_is_installed_by_then() {
    let server = Server::with(Setup { jobs: WAITS, slots: 1, ..Setup::default() });
    let folder = server.path().join("bin");
    fs::create_dir(&folder).unwrap();
    programs::install(&folder);
    let worker = folder.join("hookspool-worker");
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.deliver(&Delivery::push("master", &server.laptop.push_commit("master", "Second")));
    let status = Command::new(&worker).arg("pass").arg("--config").arg(server.config()).status().unwrap();
    assert!(status.success());
    server.wait_until_written("began");
    // As a package manager does it: the new file takes the old one's name, while the old one is still executed.
    let new = folder.join("new");
    let script = format!(
        "#!/bin/sh\necho \"$1\" >>{}/started\nexec {} \"$@\"\n",
        server.path().display(),
        programs::program("hookspool-worker").display()
    );
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::rename(&new, &worker).unwrap();
    server.release("go");
    // Nobody starts a pass but the runner itself; it starts the second run, which ends in a pass too.
    server.wait_for_state(2, "failed");
    let started = wait_for("both", || fs::read_to_string(server.path().join("started")).ok().filter(|text| !text.is_empty()));
    assert!(started.starts_with("pass\n"), "{started}");
    server.settle();
    assert_eq!((server.states(), server.mails().len()), (vec!["failed".to_owned(); 2], 2));
}

#[test]
fn a_runner_whose_program_is_gone_goes_on_as_a_pass_all_the_same() {
    let server = Server::with(Setup { jobs: WAITS, slots: 1, ..Setup::default() });
    let folder = server.path().join("bin");
    fs::create_dir(&folder).unwrap();
    programs::install(&folder);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.deliver(&Delivery::push("master", &server.laptop.push_commit("master", "Second")));
    let status = Command::new(folder.join("hookspool-worker")).arg("pass").arg("--config").arg(server.config()).status().unwrap();
    assert!(status.success());
    server.wait_until_written("began");
    fs::remove_dir_all(&folder).unwrap();
    server.release("go");
    server.wait_for_state(2, "failed");
    server.settle();
    assert_eq!(server.mails().len(), 2);
}

#[test]
fn an_outcome_is_not_lost_when_a_newer_program_has_taken_over_the_ledger_meanwhile() {
    let server = Server::new(WAITS);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    let runner = runner(&server);
    let ledger = Connection::open(server.state("ledger.db")).unwrap();
    ledger.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    let version: u32 = ledger.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    ledger.pragma_update(None, "user_version", version + 1).unwrap();
    server.release("go");
    wait_for("the runner's end", || (!processes_with(&[&server.config().to_string_lossy()]).contains(&runner)).then_some(()));
    let state = || ledger.query_row("SELECT state FROM run WHERE id = 1", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(state(), "running", "the old program wrote nothing");
    assert!(server.worker_log().contains("newer Hookspool"), "{}", server.worker_log());
    assert!(server.state("runs/1/journal").exists());
    // The newer program, which knows this ledger, has its first pass.
    ledger.pragma_update(None, "user_version", version).unwrap();
    server.settle();
    assert_eq!(server.outcome(1), ("failed".to_owned(), "build exited with status 7".to_owned()));
    assert_eq!(server.written("began").as_deref(), Some("1"));
    assert_eq!(server.mails().len(), 1);
}
