//! What runs when: lanes, slots, passes that meet; and who is told of it. That runs overlap or do not is proved by files
//! that they make and wait for, never by time.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;

use hookspool_tests::server::{Delivery, Server, Setup, text, wait_for};

/// A job for pushes that writes its commit's id to `$OUT/began`, waits for `$OUT/go`, and fails where two of its runs
/// overlap.
fn waiting_job(lines: &str) -> String {
    format!(
        "[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\n{lines}\n\
         build = {{ run = \"mkdir $OUT/busy; echo $HOOKSPOOL_SHA >>$OUT/began; while ! [ -e $OUT/go ]; do sleep 0.02; done; \
         rmdir $OUT/busy\", timeout = \"50s\" }}\nalways = \"rmdir $OUT/busy || true; echo $HOOKSPOOL_OUTCOME >>$OUT/ended\"\n"
    )
}

fn states(server: &Server) -> String {
    server.states().join(" ")
}

#[test]
fn a_queue_runs_everything_in_order_and_one_after_the_other() {
    let server = Server::new(&waiting_job("lane = { group = \"prod\", on_new = \"queue\" }"));
    let mut pushed = Vec::new();
    for number in 1..=3 {
        let sha = server.laptop.push_commit("master", &number.to_string());
        server.deliver(&Delivery::push("master", &sha));
        pushed.push(sha);
    }
    server.run_pass();
    server.wait_until_written("began");
    assert_eq!(states(&server), "running queued queued");
    server.release("go");
    server.settle();
    assert_eq!(states(&server), "succeeded succeeded succeeded");
    assert_eq!(server.written("began").unwrap().lines().collect::<Vec<_>>(), pushed);
    assert_eq!(server.written("ended").unwrap(), "succeeded\nsucceeded\nsucceeded");
}

#[test]
fn a_newcomer_takes_the_place_of_what_has_not_started_in_its_lane_alone() {
    // The default lane: this job and this ref.
    let server = Server::with(Setup { jobs: &waiting_job(""), slots: 1, ..Setup::default() });
    let first = server.laptop.push_commit("master", "1");
    server.deliver(&Delivery::push("master", &first));
    server.run_pass();
    server.wait_until_written("began");
    let bystander = server.laptop.push_commit("develop", "Another branch");
    server.deliver(&Delivery::push("develop", &bystander));
    for message in ["2", "3"] {
        let sha = server.laptop.push_commit("master", message);
        server.deliver(&Delivery::push("master", &sha));
        server.run_pass();
    }
    assert_eq!(states(&server), "running queued superseded queued");
    assert_eq!(server.outcome(3).1, "replaced by run 4");
    server.release("go");
    server.settle();
    assert_eq!(states(&server), "succeeded succeeded superseded succeeded");
    let began = server.written("began").unwrap();
    assert_eq!(began.lines().collect::<Vec<_>>(), [first, bystander, server.laptop.head()]);
    // Three ran, three mails.
    assert_eq!(server.mails().len(), 3);
}

#[test]
fn a_newcomer_may_cancel_what_runs_in_its_lane() {
    let server = Server::with(Setup {
        jobs: &waiting_job("lane = { on_new = \"cancel-running\" }").replace("$OUT/busy", "$OUT/busy-$HOOKSPOOL_BRANCH"),
        slots: 4,
        ..Setup::default()
    });
    let old = server.laptop.push_commit("master", "1");
    server.deliver(&Delivery::push("master", &old));
    server.deliver(&Delivery::push("develop", &server.laptop.push_commit("develop", "Another branch")));
    server.run_pass();
    wait_for("both to begin", || server.written("began").filter(|began| began.lines().count() == 2));
    let new = server.laptop.push_commit("master", "2");
    server.deliver(&Delivery::push("master", &new));
    server.run_pass();
    server.wait_for_state(1, "cancelled");
    assert_eq!(server.outcome(1).1, "build was ended for a newer run of its lane");
    assert_eq!(server.written("ended").as_deref(), Some("cancelled"));
    // The cancelled runner's own pass starts the newcomer: nobody else looks.
    server.wait_for_state(3, "running");
    assert_eq!(states(&server), "cancelled running running");
    server.release("go");
    server.settle();
    assert_eq!(states(&server), "cancelled succeeded succeeded");
    assert_eq!(server.written("began").unwrap().lines().last(), Some(&*new));
    // Of what was cancelled nobody is told.
    let told: Vec<String> = server.mails().iter().map(|mail| mail.header("X-Hookspool-Run").to_owned()).collect();
    assert_eq!(told, ["2", "3"]);
}

#[test]
fn whoever_opens_a_request_cannot_end_what_runs_for_a_branch_of_the_same_lane() {
    let jobs = waiting_job("forks = true\nlane = { group = \"tests\", on_new = \"cancel-running\" }")
        .replace("[{ event = \"push\" }]", "[{ event = \"push\" }, { event = \"pull_request\" }]");
    let server = Server::with(Setup { jobs: &jobs, slots: 4, ..Setup::default() });
    server.deliver(&Delivery::push("develop", &server.laptop.push_commit("develop", "Ours")));
    server.run_pass();
    server.wait_until_written("began");
    for number in [8, 9, 8] {
        let sha = server.laptop.commit("From a fork");
        server.laptop.push(&format!("+HEAD:refs/pull/{number}/head"));
        server.deliver(&Delivery::pull_request(number, &sha, "mallory/shop"));
    }
    server.run_pass();
    assert_eq!(states(&server), "running superseded queued queued");
    server.release("go");
    server.settle();
    assert_eq!(states(&server), "succeeded superseded succeeded succeeded");
}

#[test]
fn one_slot_runs_one_after_the_other_and_two_slots_two_at_once() {
    for (slots, at_once) in [(1, "running queued queued"), (2, "running running queued")] {
        let jobs = waiting_job("").replace("$OUT/busy", "$OUT/busy-$HOOKSPOOL_BRANCH");
        let server = Server::with(Setup { jobs: &jobs, slots, ..Setup::default() });
        for branch in ["a", "b", "c"] {
            server.deliver(&Delivery::push(branch, &server.laptop.push_commit(branch, branch)));
        }
        server.run_pass();
        let count = usize::try_from(slots).unwrap();
        wait_for("steps to begin", || server.written("began").filter(|began| began.lines().count() == count));
        server.run_pass();
        assert_eq!(states(&server), at_once);
        assert_eq!(server.written("began").unwrap().lines().count(), count);
        server.release("go");
        server.settle();
        assert_eq!(states(&server), "succeeded succeeded succeeded");
    }
}

#[test]
fn of_lanes_that_wait_for_a_slot_the_one_of_larger_priority_goes_first() {
    let job = |name: &str, tag: &str, priority: u8| {
        format!(
            "[[job]]\nname = \"{name}\"\nwhen = [{{ event = \"tag\", tag = \"{tag}\" }}]\nlane = {{ priority = {priority} }}\n\
             build = \"echo {name} >>$OUT/order\"\n"
        )
    };
    let jobs = [waiting_job(""), job("low", "v*", 10), job("high", "v*", 90), job("other", "w*", 90)].concat();
    let server = Server::with(Setup { jobs: &jobs, slots: 1, ..Setup::default() });
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    for tag in ["v1", "w1"] {
        server.laptop.git(&["push", "--quiet", "origin", &format!("HEAD:refs/tags/{tag}")]);
        server.deliver(&Delivery::tag(tag, &server.laptop.head()));
    }
    server.run_pass();
    assert_eq!(states(&server), "running queued queued queued");
    assert_eq!(server.show(2)["waiting"], "waits for a slot, or for the next pass");
    server.release("go");
    server.settle();
    assert_eq!(server.written("order").as_deref(), Some("high\nother\nlow"));
}

#[test]
fn a_pass_that_finds_another_at_work_waits_for_it_and_a_third_goes() {
    let server = Server::new(&waiting_job(""));
    server.run_pass();
    let held = File::open(server.state("pass.lock")).unwrap();
    held.lock().unwrap();
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let mut second = server.start_pass();
    wait_for("the second pass to wait", || File::open(server.state("pass.next")).ok()?.try_lock().err());
    server.run_pass();
    assert!(server.state("pass.again").exists() && server.runs().is_empty());
    drop(held);
    assert!(second.wait().unwrap().success());
    server.release("go");
    server.settle();
    assert!(!server.state("pass.again").exists());
    assert_eq!(states(&server), "succeeded");
}

#[test]
fn a_pass_looks_again_for_the_one_that_found_it_at_work() {
    // A mail server that takes the connection and says nothing holds the first run's pass where it has looked at the
    // inbox already.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let smtp = format!("smtp = \"smtp://{}\"", silent.local_addr().unwrap());
    let server = Server::with(Setup { jobs: &waiting_job(""), smtp: Some(&smtp), ..Setup::default() });
    server.release("go");
    server.deliver(&Delivery::push("master", &server.laptop.push_commit("master", "1")));
    server.run_pass();
    let (connection, _) = silent.accept().unwrap();
    server.deliver(&Delivery::push("master", &server.laptop.push_commit("master", "2")));
    let mut second = server.start_pass();
    wait_for("the second pass's mark", || server.state("pass.again").exists().then_some(()));
    assert_eq!(states(&server), "succeeded");
    // From here on nobody starts a pass: the one that was held does what it was asked to.
    drop(connection);
    drop(silent);
    assert!(second.wait().unwrap().success());
    wait_for("the second run", || (states(&server) == "succeeded succeeded").then_some(()));
    let mails = &server.show(1)["mails"];
    assert!(mails[0]["state"] == "due" && mails[0]["error"].is_string(), "{mails}");
}

/// After each of these exit codes in turn: for which runs somebody was told, and in which words.
fn told(on: &str, exits: &[i32]) -> Vec<(String, String)> {
    let server = Server::new(&format!(
        "[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\nbuild = \"exit $(cat $OUT/exit)\"\n\
         notify = {{ to = [\"pusher\"], on = \"{on}\" }}\n"
    ));
    for exit in exits {
        std::fs::write(server.out("exit"), exit.to_string()).expect("a file can be written");
        server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    }
    let word =
        |subject: &str| ["still failing", "broke", "fixed", "failed", "succeeded"].map(|word| (word, subject.contains(word)));
    let mails = server.mails();
    let said = mails.iter().map(|mail| {
        let (word, _) = word(mail.subject()).into_iter().find(|(_, is_said)| *is_said).expect("a subject says the result");
        (mail.header("X-Hookspool-Run").to_owned(), word.to_owned())
    });
    said.collect()
}

#[test]
fn who_wants_changes_is_told_when_a_job_breaks_and_when_it_is_fixed() {
    let pairs = [("2", "broke"), ("4", "fixed"), ("6", "broke")].map(|(run, word)| (run.to_owned(), word.to_owned()));
    assert_eq!(told("change", &[0, 1, 1, 0, 0, 1]), pairs);
}

#[test]
fn who_wants_failures_is_told_of_each() {
    let pairs = [("1", "failed"), ("2", "still failing"), ("4", "broke")].map(|(run, word)| (run.to_owned(), word.to_owned()));
    assert_eq!(told("failure", &[1, 1, 0, 1]), pairs);
}

#[test]
fn a_pusher_who_may_not_be_mailed_is_not_and_the_fallback_is() {
    let server = Server::new("[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"true\"\n");
    let head = server.laptop.head();
    for email in ["mallory@evil.test", "1+mona@users.noreply.github.com", "mona@example.org.evil.test", "not an address"] {
        let mut delivery = Delivery::push("master", &head);
        delivery.body["pusher"]["email"] = email.into();
        server.deliver_and_settle(&delivery);
    }
    let to: Vec<String> = server.mails().iter().map(|mail| mail.header("To").to_owned()).collect();
    assert_eq!(to, ["ops@example.org"; 4]);
    let shown: Vec<String> = (1..=4).map(|run| text(&server.show(run)["mails"][0]["to"])).collect();
    assert_eq!(shown, ["ops@example.org"; 4]);
}

#[test]
fn the_log_can_be_read_while_the_run_goes_on() {
    let server = Server::new(
        "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\n\
         build = \"echo first; while ! [ -e $OUT/go ]; do sleep 0.02; done; echo last\"\n",
    );
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    let log = wait_for("the first line", || {
        let mut log = String::new();
        File::open(server.path().join("logs/runs/1.log")).ok()?.read_to_string(&mut log).ok()?;
        log.contains("\nfirst\n").then_some(log)
    });
    assert!(!log.contains("\nlast\n"));
    assert_eq!(server.steps(1).last().unwrap(), &("build".to_owned(), String::new()));
    server.release("go");
    server.settle();
    assert!(server.log(1).contains("\nfirst\nlast\n"), "{}", server.log(1));
}

#[test]
fn a_runner_that_is_asked_to_end_by_a_shutdown_leaves_an_interrupted_run_and_tells_of_it() {
    let server = Server::new(&waiting_job("on_crash = \"fail\"\nnotify = { to = [\"pusher\"], on = \"failure\" }"));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    server.wait_until_written("began");
    let lock = std::fs::read_to_string(server.state("runs/1/alive")).unwrap();
    let runner = nix::unistd::Pid::from_raw(lock.trim().parse().unwrap());
    nix::sys::signal::kill(runner, nix::sys::signal::Signal::SIGTERM).unwrap();
    server.wait_for_state(1, "interrupted");
    server.settle();
    assert_eq!(server.show(1)["reason"], "build was ended, because the runner was asked to end");
    assert_eq!(server.mails().len(), 1);
}
