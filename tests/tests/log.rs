//! Logs of runs: the same whether the run waits, goes on or is long over, and however the log lies on disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use hookspool_tests::programs::program;
use hookspool_tests::server::{Delivery, Server, Setup, wait_for};

const JOB: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\n\
    build = \"echo first; echo x >>$OUT/began; while ! [ -e $OUT/go ]; do sleep 0.02; done; echo last\"\n";

/// `hookspool log N -f`, and what it prints.
struct Follower {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Follower {
    fn of(server: &Server, run: &str) -> Self {
        let mut command = Command::new(program("hookspool"));
        command.args(["log", run, "-f"]).arg("--config").arg(server.config());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Reads up to this line.
    fn until(&mut self, line: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(&format!("{line}\n")) {
            assert!(self.out.read_line(&mut read).unwrap() > 0, "it ended before {line:?}: {read}");
        }
        read
    }

    /// The rest, once it has ended by itself.
    fn rest(mut self) -> String {
        let mut read = String::new();
        self.out.read_to_string(&mut read).unwrap();
        assert!(self.child.wait().unwrap().success());
        read
    }
}

fn stored(server: &Server) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(server.path().join("logs/runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn whoever_follows_a_run_sees_all_of_it_and_its_end_however_early_they_came() {
    let server =
        Server::with(Setup { jobs: &JOB.replace("[[job]]", "[[job]]\nlane = { on_new = \"queue\" }"), ..Setup::default() });
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    let second = server.laptop.push_commit("master", "Second");
    server.deliver(&Delivery::push("master", &second));
    server.run_pass();
    assert_eq!(server.states(), ["running", "queued"]);
    let (mut of_the_first, of_the_second) = (Follower::of(&server, "1"), Follower::of(&server, "2"));
    assert!(of_the_first.until("first").contains("build: as user"));
    server.release("go");
    let rest = of_the_first.rest();
    assert!(rest.starts_with("last\n") && rest.ends_with("[hookspool] run 1 succeeded\n"), "{rest}");
    let whole = of_the_second.rest();
    assert!(
        whole.starts_with("[hookspool] run 2: ")
            && whole.ends_with("first\nlast\n[hookspool] build succeeded\n[hookspool] run 2 succeeded\n"),
        "{whole}"
    );
    server.settle();
    // Packed meanwhile, and read alike.
    assert_eq!(stored(&server), ["1.log.zst", "2.log.zst"]);
    assert_eq!((server.log(2), Follower::of(&server, "2").rest()), (whole.clone(), whole));
}

#[test]
fn a_log_that_is_packed_while_somebody_follows_it_is_seen_to_its_end() {
    let server = Server::new(JOB);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    let mut follower = Follower::of(&server, "1");
    follower.until("first");
    // It is stopped while the run ends and its log is packed.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(follower.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    server.release("go");
    wait_for("the log to be packed", || (stored(&server) == ["1.log.zst"]).then_some(()));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    let rest = follower.rest();
    assert!(rest.starts_with("last\n") && rest.ends_with("run 1 succeeded\n"), "{rest}");
    server.settle();
}

#[test]
fn the_last_lines_can_be_had_alone_and_a_pruned_log_is_said_to_be_gone() {
    let server = Server::new("[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"seq 1 20\"\n");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    let tail = server.hookspool(&["log", "1", "--tail", "3"]);
    assert_eq!(String::from_utf8_lossy(&tail.stdout), "20\n[hookspool] build succeeded\n[hookspool] run 1 succeeded\n");
    fs::remove_file(server.path().join("logs/runs/1.log.zst")).unwrap();
    let gone = server.hookspool(&["log", "1"]);
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(gone.status.code() == Some(1) && said.contains("has no log any more"), "{said}");
}

#[test]
fn whoever_follows_a_run_that_ends_without_starting_is_told_how_it_ended() {
    let server =
        Server::with(Setup { jobs: &JOB.replace("[[job]]", "[[job]]\nlane = { on_new = \"queue\" }"), ..Setup::default() });
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    server.deliver(&Delivery::push("master", &server.laptop.push_commit("master", "Second")));
    server.run_pass();
    let mut command = Command::new(program("hookspool"));
    command.args(["log", "2", "-f"]).arg("--config").arg(server.config());
    let mut follower = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = follower.id();
    // It watches, so it has looked once and seen the run wait.
    wait_for("the follower to watch", || {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut open = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        open.any(|target| target.to_string_lossy().contains("inotify")).then_some(())
    });
    assert!(server.hookspool(&["cancel", "2"]).status.success());
    let mut said = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "hookspool: run 2 is cancelled and has no log, as it never started\n");
    assert_eq!(follower.wait().unwrap().code(), Some(1));
    server.release("go");
    server.settle();
}

#[test]
fn the_mail_says_how_to_see_the_log_and_names_no_file_that_will_be_gone() {
    let server = Server::new("[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"exit 1\"\n");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    let body = &server.mails()[0].body;
    assert!(body.contains("  hookspool log 1 ") && !body.contains("logs/runs"), "{body}");
}
