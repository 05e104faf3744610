//! kill -9 of the worker, at exact boundaries and at random instants: nothing is lost, nothing runs twice, nothing is
//! left running.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use hookspool_tests::server::{
    Delivery, Server, Setup, entries, is_root, kill_now, killed, processes_of, processes_with, text, wait_for,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;

/// Another process's transaction, for as long as it lives: while it does, nothing can be committed to the ledger.
struct LedgerLock(Connection);

impl LedgerLock {
    fn take(server: &Server) -> Self {
        let ledger = Connection::open(server.state("ledger.db")).expect("the ledger can be opened");
        ledger.busy_timeout(Duration::from_secs(30)).expect("a time-out can be set");
        ledger.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes for long");
        Self(ledger)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").expect("what was begun can be rolled back");
    }
}

/// Writes one line for each time that it runs.
const COUNTING: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nlane = { on_new = \"queue\" }\n\
    on_crash = \"fail\"\nbuild = \"echo once >>$OUT/$HOOKSPOOL_BRANCH\"\n";

/// The one runner of this server that is at work.
fn runner(server: &Server) -> i32 {
    let config = server.config().to_string_lossy().into_owned();
    wait_for("a runner", || processes_with(&[" runner ", &config]).first().copied())
}

#[test]
fn a_pass_killed_before_its_commit_took_nothing_over() {
    let server = Server::new(COUNTING);
    server.run_pass();
    let delivery = server.deliver(&Delivery::push("master", &server.laptop.head()));
    let lock = LedgerLock::take(&server);
    let mut pass = server.start_pass();
    // The importer has said everything and ended; the pass would commit now, and cannot.
    let is_ended_importer = || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pass.id())).unwrap_or_default();
        let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        children.split_whitespace().any(|pid| stat(pid).contains(") Z ")).then_some(())
    };
    wait_for("the importer's end", is_ended_importer);
    assert!(!server.spool().join("wake").exists());
    pass.kill().unwrap();
    pass.wait().unwrap();
    lock.release();
    assert!(server.runs().is_empty());
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
    assert_eq!(server.written("master").as_deref(), Some("once"));
    assert_eq!(text(&server.show(1)["delivery"]), delivery);
}

#[test]
fn a_pass_killed_after_its_commit_has_taken_everything_over_once() {
    let server = Server::new(COUNTING);
    server.run_pass();
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    // Whoever holds this lock is the run's only runner, so none can claim it.
    fs::create_dir_all(server.state("runs/1")).unwrap();
    let alive = File::create(server.state("runs/1/alive")).unwrap();
    alive.lock().unwrap();
    let mut pass = server.start_pass();
    wait_for("the run to be queued", || (server.states() == ["queued"]).then_some(()));
    pass.kill().unwrap();
    pass.wait().unwrap();
    assert_eq!((server.states(), server.written("master")), (vec!["queued".to_owned()], None));
    drop(alive);
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
    assert_eq!(server.written("master").as_deref(), Some("once"));
}

#[test]
fn a_run_that_nobody_can_claim_does_not_keep_passes_busy() {
    let server = Server::new(COUNTING);
    server.run_pass();
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    fs::create_dir_all(server.state("runs/1")).unwrap();
    let alive = File::create(server.state("runs/1/alive")).unwrap();
    alive.lock().unwrap();
    // It ends, although the run is still queued.
    server.run_pass();
    assert_eq!(server.states(), ["queued"]);
    drop(alive);
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
}

/// A push whose build goes on until `$OUT/go` is there, with a child in the background, one that hides in a session of
/// its own, and one that has also forgotten its environment. Gives the path by which all of them can be found.
fn a_run_at_work(server: &Server) -> String {
    let sleeper = server.make_sleeper();
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    let count = if is_root() { 4 } else { 3 };
    wait_for("all of them", || (processes_of(&sleeper).len() == count).then_some(()));
    sleeper
}

fn hiding_job() -> String {
    // Without root there is no cgroup, and who forgets everything is found by nobody; see ARCHITECTURE.md.
    let forgetful = if is_root() { "env -i setsid sh -c '$OUT/sleeper 1003 & exit' & " } else { "" };
    format!(
        "[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\non_crash = \"fail\"\n\
         build = \"if [ -e $OUT/go ]; then exit 0; fi; $OUT/sleeper 1001 & setsid sh -c '$OUT/sleeper 1002 & exit' & {forgetful}\
         echo began >$OUT/began; touch secret-work; exec $OUT/sleeper 1004\"\ntest = \"echo x >$OUT/test\"\n"
    )
}

#[test]
fn a_runner_killed_in_a_step_leaves_an_interrupted_run_a_mail_and_no_process() {
    let server = Server::new(&hiding_job());
    let sleeper = a_run_at_work(&server);
    assert!(server.state("work/1/src").exists());
    kill_now(runner(&server));
    server.settle();
    assert_eq!(server.outcome(1), ("interrupted".to_owned(), "the runner died while `build` ran".to_owned()));
    assert_eq!(server.steps(1), [("checkout".to_owned(), "succeeded".to_owned()), ("build".to_owned(), String::new())]);
    assert_eq!(processes_with(&[&sleeper]), [0; 0]);
    assert!(!server.state("work/1").exists());
    assert_eq!(server.written("test"), None);
    let mail = &server.mails()[0];
    assert!(mail.subject().contains("interrupted on master"), "{}", mail.subject());
    assert!(mail.words().contains("the runner died while `build` ran"), "{}", mail.body);
    assert!(mail.body.contains("did not end"), "{}", mail.body);
    // The next push is none the worse for it.
    server.release("go");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.push_commit("master", "Next")));
    assert_eq!(server.states(), ["interrupted", "succeeded"]);
    assert_eq!(server.written("test").as_deref(), Some("x"));
}

#[test]
fn a_runner_that_lives_is_left_alone_by_every_pass() {
    let server = Server::new(&hiding_job());
    let sleeper = a_run_at_work(&server);
    let before = processes_of(&sleeper);
    for _ in 0..3 {
        server.run_pass();
    }
    assert_eq!((server.states(), processes_of(&sleeper)), (vec!["running".to_owned()], before));
    kill_now(runner(&server));
    server.settle();
}

#[test]
fn a_runner_killed_after_its_last_step_and_before_its_commit_loses_no_outcome() {
    let job = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\n\
        build = \"echo once >>$OUT/build; while ! [ -e $OUT/go ]; do sleep 0.02; done; exit 7\"\nalways = \"echo once >>$OUT/always\"\n";
    let server = Server::new(job);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("build");
    let runner = runner(&server);
    let lock = LedgerLock::take(&server);
    server.release("go");
    let journal = server.state("runs/1/journal");
    wait_for("the outcome in the journal", || {
        let mut text = String::new();
        File::open(&journal).ok()?.read_to_string(&mut text).ok()?;
        text.contains("\"outcome\"").then_some(())
    });
    kill_now(runner);
    wait_for("the runner's end", || processes_with(&[" runner ", &server.config().to_string_lossy()]).is_empty().then_some(()));
    lock.release();
    assert_eq!(server.states(), ["running"]);
    server.settle();
    assert_eq!(server.outcome(1), ("failed".to_owned(), "build exited with status 7".to_owned()));
    let steps = [("checkout", "succeeded"), ("build", "exited with status 7"), ("always", "succeeded")];
    assert_eq!(server.steps(1), steps.map(|(name, result)| (name.to_owned(), result.to_owned())));
    assert_eq!((server.written("build").as_deref(), server.written("always").as_deref()), (Some("once"), Some("once")));
    assert_eq!(server.mails().len(), 1);
    assert!(!server.state("work/1").exists());
}

#[test]
fn a_runner_that_is_asked_to_end_after_its_last_step_still_writes_its_outcome_down() {
    let server = Server::new(&COUNTING.replace("echo once", "while ! [ -e $OUT/go ]; do sleep 0.02; done; echo once"));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    let runner = runner(&server);
    let lock = LedgerLock::take(&server);
    server.release("go");
    let journal = server.state("runs/1/journal");
    wait_for("the outcome in the journal", || fs::read_to_string(&journal).ok()?.contains("\"outcome\"").then_some(()));
    // As a pass does for a newer run of the lane, too late.
    for _ in 0..3 {
        kill(Pid::from_raw(runner), Signal::SIGTERM).unwrap();
    }
    lock.release();
    // Nobody starts a pass: the runner itself ends the run, and becomes the pass that sends its mail.
    server.wait_for_state(1, "succeeded");
    wait_for("the mail", || (server.mails().len() == 1).then_some(()));
    assert_eq!(server.written("master").as_deref(), Some("once"));
}

#[test]
fn a_mail_that_was_not_sent_when_the_pass_died_is_sent_by_the_next() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let smtp = format!("smtp = \"smtp://{}\"", silent.local_addr().unwrap());
    let server = Server::with(Setup { jobs: COUNTING, smtp: Some(&smtp), ..Setup::default() });
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    let (connection, _) = silent.accept().unwrap();
    // It waits for the server's greeting.
    let config = server.config().to_string_lossy().into_owned();
    processes_with(&[" pass ", &config]).into_iter().for_each(kill_now);
    drop(connection);
    server.configure(Setup { jobs: COUNTING, ..Setup::default() });
    server.settle();
    assert_eq!((server.states(), server.mails().len()), (vec!["succeeded".to_owned()], 1));
}

/// Numbers that look random, the same in each run of the test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// How many processes are killed in all: passes, importers and runners, each counted once.
const KILLS: usize = 500;
/// How many of them are runners, at least.
const RUNNERS: usize = 60;
/// Rounds in which to do so; a machine on which they do not suffice kills nobody at work.
const MAX_ROUNDS: usize = 300;
/// The latest instant of the first round, in microseconds: about as long as a pass with something to do takes.
const LONGEST: u64 = 60_000;

/// Everybody who was killed. One who is slow to die is found twice and counts once.
#[derive(Default)]
struct Killed {
    all: HashSet<i32>,
    runners: HashSet<i32>,
}

impl Killed {
    fn kill(&mut self, pid: i32, is_runner: bool) {
        if killed(pid) {
            self.all.insert(pid);
            if is_runner {
                self.runners.insert(pid);
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.all.len() >= KILLS && self.runners.len() >= RUNNERS
    }
}

/// Writes one line for each time that it runs, with somebody who hides while it goes on for a while.
fn random_job() -> String {
    let forget = if is_root() { "env -i " } else { "" };
    COUNTING.replace(
        "echo once >>$OUT/$HOOKSPOOL_BRANCH",
        &format!("{forget}setsid sh -c '$OUT/sleeper 1001 & exit'; echo once >>$OUT/$HOOKSPOOL_BRANCH; sleep 0.1"),
    )
}

/// Deliveries for two more branches, two passes at once, and after a while everything of them is killed, in every other round
/// the runners too. Gives the deliveries with their branches.
fn kill_at_random(server: &Server, branches: &[String], killed: &mut Killed) -> Vec<(String, String)> {
    let (sha, config) = (server.laptop.head(), server.config().to_string_lossy().into_owned());
    let (mut dice, mut latest) = (Dice(7), LONGEST);
    let mut delivered = Vec::new();
    for (round, branches) in branches.chunks(2).enumerate() {
        if killed.is_enough() {
            break;
        }
        delivered.extend(branches.iter().map(|branch| (branch.clone(), server.deliver(&Delivery::push(branch, &sha)))));
        let mut passes = [server.start_pass(), server.start_pass()];
        std::thread::sleep(Duration::from_micros(dice.below(latest)));
        // These first, as looking for the others takes longer than some passes do. They count when it is known who killed them.
        passes.iter_mut().for_each(|pass| drop(pass.kill()));
        let own = passes.each_ref().map(|pass| pass.id().cast_signed());
        // Every pass and importer, also those that runners became.
        let words: &[&str] = if round % 2 == 1 { &[" runner ", " pass ", " import "] } else { &[" pass ", " import "] };
        for word in words {
            let others = processes_with(&[word, &config]).into_iter().filter(|pid| !own.contains(pid));
            others.for_each(|pid| killed.kill(pid, *word == " runner "));
        }
        let is_killed = |status: ExitStatus| status.signal() == Some(Signal::SIGKILL as i32);
        let hit: Vec<i32> = own
            .into_iter()
            .zip(&mut passes)
            .filter_map(|(pid, pass)| is_killed(pass.wait().expect("it is our child")).then_some(pid))
            .collect();
        // Where passes were over by then, the next instants come sooner.
        latest = if hit.len() == 2 { latest + latest / 20 } else { (latest * 7 / 8).max(1) };
        killed.all.extend(hit);
    }
    delivered
}

/// All files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(below).collect()
}

/// No process, cgroup, folder or lock.
fn nothing_is_left(server: &Server, sleeper: &str) {
    let config = server.config().to_string_lossy().into_owned();
    wait_for("the end of the last pass", || processes_with(&["hookspool-worker ", &config]).is_empty().then_some(()));
    assert_eq!(processes_of(sleeper), [0; 0]);
    for run in server.runs() {
        let run = run["run"].as_i64().expect("a run has a number");
        assert!(server.groups_of(run).is_none(), "of run {run}: {:?}", server.groups_of(run));
    }
    assert_eq!((entries(&server.state("work")), entries(&server.state("runs"))), (vec![], vec![]));
    let mirror = files_below(&server.state("repos/github.com/octo/shop.git"));
    assert!(!mirror.is_empty());
    let is_lock = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "lock");
    assert_eq!(mirror.iter().find(is_lock), None);
    let lock = File::open(server.state("pass.lock")).expect("there is a lock");
    lock.try_lock().expect("nobody holds the lock of the pass");
}

#[test]
fn kills_at_random_instants_lose_nothing_and_repeat_nothing() {
    let server = Server::with(Setup { jobs: &random_job(), slots: 8, ..Setup::default() });
    let sleeper = server.make_sleeper();
    let branches: Vec<String> = (0..2 * MAX_ROUNDS).map(|number| format!("b{number}")).collect();
    let refs: Vec<String> = branches.iter().map(|branch| format!("HEAD:refs/heads/{branch}")).collect();
    let words: Vec<&str> = ["push", "--quiet", "origin"].into_iter().chain(refs.iter().map(String::as_str)).collect();
    server.laptop.git(&words);
    let mut killed = Killed::default();
    let delivered = kill_at_random(&server, &branches, &mut killed);
    println!(
        "killed {} processes, {} of them runners, of {} deliveries",
        killed.all.len(),
        killed.runners.len(),
        delivered.len()
    );
    assert!(killed.is_enough());
    server.settle();
    let mut interrupted = 0;
    for (branch, id) in &delivered {
        let traced = server.json(&["trace", id, "--json"]);
        let runs = traced[0]["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1, "{traced}");
        let count = server.written(branch).unwrap_or_default().lines().count();
        match runs[0]["state"].as_str() {
            Some("succeeded") => assert_eq!(count, 1, "{branch}: {traced}"),
            Some("interrupted") => {
                interrupted += 1;
                assert!(count <= 1, "{branch}: {traced}");
            }
            other => panic!("{other:?}: {traced}"),
        }
    }
    // Nobody dies but who was killed.
    assert!((1..=killed.runners.len()).contains(&interrupted), "{interrupted}");
    let mut runs: Vec<String> = server.runs().iter().map(|run| run["run"].to_string()).collect();
    let mut told: Vec<String> = server.mails().iter().map(|mail| mail.header("X-Hookspool-Run").to_owned()).collect();
    runs.sort_unstable();
    told.sort_unstable();
    assert_eq!((runs.len(), told), (delivered.len(), runs));
    // The next push is none the worse for it; its fetch removes what a killed git left in the mirror.
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.states().last().map(String::as_str), Some("succeeded"));
    nothing_is_left(&server, &sleeper);
}
