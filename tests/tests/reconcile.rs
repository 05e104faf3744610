//! The gap closer: pushes of which no delivery came are found on a real repository, once, whatever comes late or dies between.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use hookspool_tests::server::{Delivery, Push, Server, kill_now, processes_with, text, wait_for};
use rusqlite::{Connection, OptionalExtension};

/// A job for each kind of thing that refs can show. Each run leaves a line.
const JOBS: &str = r#"reconcile = "1h"
[[job]]
name = "branch"
when = [{ event = "push" }]
build = "echo branch $HOOKSPOOL_BRANCH $(git rev-parse HEAD) >>$OUT/ran"
lane = { on_new = "queue" }

[[job]]
name = "site"
when = [{ event = "branch_created" }]
build = "echo site $HOOKSPOOL_BRANCH $(git rev-parse HEAD) >>$OUT/ran"

[[job]]
name = "gone"
when = [{ event = "branch_deleted" }]
build = "echo gone $HOOKSPOOL_BRANCH $(git rev-parse HEAD) >>$OUT/ran"

[[job]]
name = "tag"
when = [{ event = ["tag", "tag_deleted"] }]
build = "echo tag $HOOKSPOOL_TAG $(git rev-parse HEAD) >>$OUT/ran"
"#;

fn ledger(server: &Server) -> Connection {
    let ledger = Connection::open(server.state("ledger.db")).unwrap();
    ledger.busy_timeout(Duration::from_secs(30)).unwrap();
    ledger
}

fn asked_at(server: &Server) -> Option<i64> {
    ledger(server).query_row("SELECT asked_at FROM reconciled", [], |row| row.get(0)).optional().unwrap()
}

/// The processes that ask.
fn asking(server: &Server) -> Vec<i32> {
    processes_with(&[" reconcile ", &server.config().to_string_lossy()])
}

/// As if an hour had gone by.
fn make_due(server: &Server) {
    ledger(server).execute("UPDATE reconciled SET asked_at = 0", []).unwrap();
}

/// An hour later a pass comes, and all is done that comes of it.
fn an_hour_later(server: &Server) {
    if asked_at(server).is_some() {
        make_due(server);
    }
    server.run_pass();
    wait_for("the forge's answer", || asked_at(server).filter(|at| *at > 0));
    wait_for("the end of who asked", || asking(server).is_empty().then_some(()));
    server.settle();
}

/// A server that knows what its forge has.
fn server() -> Server {
    let server = Server::new(JOBS);
    server.run_pass();
    an_hour_later(&server);
    assert!(server.runs().is_empty(), "what was there before is no news: {:?}", server.runs());
    server
}

fn ran(server: &Server) -> Vec<String> {
    let mut ran: Vec<String> = server.written("ran").unwrap_or_default().lines().map(str::to_owned).collect();
    ran.sort();
    ran
}

#[test]
fn what_deliveries_would_have_told_runs_once_and_they_may_come_late() {
    let mut server = server();
    let first = server.laptop.head();
    server.laptop.push("HEAD:refs/heads/old");
    an_hour_later(&server);
    assert_eq!(ran(&server), [format!("branch old {first}"), format!("site old {first}")]);
    server.stop_receiver();
    let second = server.laptop.push_commit("master", "Of which nobody is told");
    server.laptop.push("HEAD:refs/heads/feature/x");
    server.laptop.git(&["tag", "--annotate", "--message", "A release", "v1"]);
    server.laptop.push("refs/tags/v1");
    server.laptop.push(":refs/heads/old");
    an_hour_later(&server);
    let found = [
        format!("branch feature/x {second}"),
        format!("branch master {second}"),
        format!("branch old {first}"),
        format!("gone old {second}"),
        format!("site feature/x {second}"),
        format!("site old {first}"),
        format!("tag v1 {second}"),
    ];
    assert_eq!(ran(&server), found);
    let causes: BTreeSet<String> = server.runs().iter().map(|run| text(&run["cause"])).collect();
    assert_eq!(causes, BTreeSet::from(["reconcile".to_owned()]));
    let shown = String::from_utf8(server.hookspool(&["show", "1"]).stdout).unwrap();
    assert!(shown.contains("found on the forge; no delivery had told of it"), "{shown}");
    assert!(server.mails()[0].words().contains("found on the forge"));
    an_hour_later(&server);
    assert_eq!(ran(&server), found);

    // The receiver is back, and the forge tries again.
    server.start_receiver();
    let object = server.laptop.git(&["rev-parse", "refs/tags/v1"]);
    let created = |reference, after| Delivery::from(Push { created: true, ..Push::of(reference, after) });
    let late = [
        Delivery::push("master", &second),
        created("refs/heads/feature/x", &second),
        Delivery::other_telling("create", "branch", "feature/x"),
        Push { created: true, head_commit: Some(&second), ..Push::of("refs/tags/v1", &object) }.into(),
        Delivery::deleted("old"),
        Delivery::other_telling("delete", "branch", "old"),
        created("refs/heads/old", &first),
    ];
    for delivery in &late[..6] {
        let id = server.deliver_and_settle(delivery);
        let traced = String::from_utf8(server.hookspool(&["trace", &id]).stdout).unwrap();
        assert!(traced.contains("found on the forge"), "{traced}");
    }
    assert_eq!(ran(&server), found, "{:?}", server.runs());
    // A push after all that runs as ever.
    let third = server.laptop.push_commit("master", "Told of");
    server.deliver_and_settle(&Delivery::push("master", &third));
    assert_eq!(ran(&server).len(), found.len() + 1);
    an_hour_later(&server);
    assert_eq!(ran(&server).len(), found.len() + 1);
}

#[test]
fn what_was_told_of_is_not_found_again_whatever_became_of_it() {
    let server = server();
    let second = server.laptop.push_commit("master", "Told of");
    server.deliver_and_settle(&Delivery::push("master", &second));
    // Told of, and forced away before it ran.
    let third = server.laptop.push_commit("master", "Forced away");
    server.deliver(&Delivery::push("master", &third));
    server.laptop.git(&["reset", "--quiet", "--hard", &second]);
    let fourth = server.laptop.push_commit("master", "In its place");
    server.deliver_and_settle(&Delivery::push("master", &fourth));
    assert_eq!(server.states(), ["succeeded", "refused", "succeeded"]);
    an_hour_later(&server);
    assert_eq!(server.runs().len(), 3);
    // Forced back, and the delivery is lost.
    server.laptop.push(&format!("{second}:refs/heads/master"));
    ledger(&server).execute("UPDATE run SET queued_at = queued_at - 3600000", []).unwrap();
    an_hour_later(&server);
    let runs = server.runs();
    let last = runs.last().unwrap();
    assert_eq!((runs.len(), text(&last["cause"]), text(&last["sha"])), (4, "reconcile".to_owned(), second));
}

#[test]
fn a_forge_that_hangs_holds_no_pass_and_is_forgotten_nothing_of() {
    let mut server = server();
    server.stop_receiver();
    let sha = server.laptop.push_commit("master", "Of which nobody is told");
    // It takes connections, and says nothing.
    let forge = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = server.path().join("repositories/shop.toml");
    let good = fs::read_to_string(&file).unwrap();
    let address = format!("git://{}/shop.git", forge.local_addr().unwrap());
    fs::write(&file, good.replace(&*server.laptop.forge().to_string_lossy(), &address)).unwrap();
    make_due(&server);
    server.run_pass();
    let (connection, _) = forge.accept().unwrap();
    assert_eq!(asking(&server).len(), 1, "the pass is over, and somebody still waits for the forge");
    // Another pass starts no second one.
    server.run_pass();
    assert_eq!((asking(&server).len(), asked_at(&server)), (1, Some(0)));
    drop(connection);
    wait_for("the end of who asked", || asking(&server).is_empty().then_some(()));
    assert!(asked_at(&server).unwrap() > 0);
    assert!(server.worker_log().contains("was asked for its refs and did not say them"), "{}", server.worker_log());
    assert!(server.runs().is_empty());
    fs::write(&file, good).unwrap();
    an_hour_later(&server);
    assert_eq!(ran(&server), [format!("branch master {sha}")]);
}

#[test]
fn whoever_asks_takes_its_git_along_when_it_is_killed() {
    let server = server();
    let forge = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = server.path().join("repositories/shop.toml");
    let address = format!("git://{}/shop.git", forge.local_addr().unwrap());
    let config = fs::read_to_string(&file).unwrap().replace(&*server.laptop.forge().to_string_lossy(), &address);
    fs::write(&file, config).unwrap();
    make_due(&server);
    server.run_pass();
    let _connection = forge.accept().unwrap();
    wait_for("git", || (!processes_with(&["ls-remote", &address]).is_empty()).then_some(()));
    asking(&server).into_iter().for_each(kill_now);
    wait_for("git's end", || processes_with(&["ls-remote", &address]).is_empty().then_some(()));
}

#[test]
fn who_turns_it_off_and_on_is_not_told_of_what_happened_meanwhile() {
    let server = server();
    let file = server.path().join("repositories/shop.toml");
    let on = fs::read_to_string(&file).unwrap();
    fs::write(&file, on.replace("reconcile = \"1h\"", "")).unwrap();
    server.run_pass();
    assert_eq!(asked_at(&server), None);
    server.laptop.push_commit("master", "Meanwhile");
    fs::write(&file, on).unwrap();
    an_hour_later(&server);
    assert!(server.runs().is_empty());
}

#[test]
fn kills_at_random_instants_lose_no_push_and_repeat_none() {
    let server = server();
    for round in 0..25_u64 {
        let sha = server.laptop.push_commit("master", &format!("Commit {round}"));
        make_due(&server);
        for delay in [round, 2 * round + 5] {
            let mut pass = server.start_pass();
            std::thread::sleep(Duration::from_millis(delay));
            pass.kill().unwrap();
            pass.wait().unwrap();
            asking(&server).into_iter().for_each(kill_now);
        }
        if round % 2 == 0 {
            server.deliver(&Delivery::push("master", &sha));
        }
        an_hour_later(&server);
        server.deliver_and_settle(&Delivery::push("master", &sha));
        let wanted = format!("branch master {sha}");
        let times = ran(&server).iter().filter(|line| **line == wanted).count();
        // Of the even rounds' commit two deliveries told, of which each counts.
        let expected = if round % 2 == 0 { 2 } else { 1 };
        assert_eq!(times, expected, "round {round}: {:?}\n{}", server.runs(), server.worker_log());
    }
}

#[test]
fn what_its_commit_or_its_paths_want_no_run_for_runs_nothing_although_nobody_told_of_it() {
    let job = "reconcile = \"1h\"\n[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", paths = [\"**\", \"!docs/**\"] }]\n\
        build = \"git rev-parse HEAD >>$OUT/ran\"\n";
    let mut server = Server::new(job);
    server.run_pass();
    an_hour_later(&server);
    server.stop_receiver();
    server.laptop.push_commit("master", "Fix a typo [skip ci]");
    an_hour_later(&server);
    assert_eq!(server.outcome(1), ("refused".to_owned(), "the event does not match: its commit says [skip ci]".to_owned()));
    fs::create_dir_all(server.laptop.file("docs")).unwrap();
    fs::write(server.laptop.file("docs/manual"), "words").unwrap();
    server.laptop.git(&["add", "--all"]);
    server.laptop.git(&["commit", "--quiet", "--message", "Words"]);
    server.laptop.push("HEAD:refs/heads/master");
    an_hour_later(&server);
    let (state, why) = server.outcome(2);
    assert!(state == "refused" && why.contains("no changed path fits"), "{why}");
    assert!(server.mails().is_empty() && server.written("ran").is_none());
    let wanted = server.laptop.push_commit("master", "Work");
    an_hour_later(&server);
    assert_eq!(ran(&server), [wanted]);
}
