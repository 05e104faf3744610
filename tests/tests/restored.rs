//! A database that comes back from a backup, older than the other: nothing runs twice, and nothing new is lost. With the
//! real receiver and real passes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use hookspool_common::inbox::{INBOX_FILE, MARK_FILE};
use hookspool_tests::server::{Delivery, RECEIVER_USER, Server, entries, give, wait_for};
use rusqlite::Connection;

/// Writes one line for each time that it runs.
const COUNTING: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nlane = { on_new = \"queue\" }\n\
    build = \"echo $HOOKSPOOL_SHA >>$OUT/ran\"\n";

/// A copy of a database that is in use, as `sqlite3 FILE 'VACUUM INTO ...'` makes it.
fn back_up(server: &Server, database: &Path) -> PathBuf {
    let copy = server.path().join(database.file_name().unwrap()).with_extension("backup");
    Connection::open(database).unwrap().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    copy
}

/// Nobody has the database open meanwhile.
fn restore(copy: &Path, database: &Path) {
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", database.display()));
    }
    fs::copy(copy, database).unwrap();
}

fn restore_inbox(server: &Server, copy: &Path) {
    restore(copy, &server.spool().join(INBOX_FILE));
    entries(&server.spool()).iter().for_each(|file| give(file, RECEIVER_USER));
}

/// Pushes, and lets its run end; gives the commit.
fn push_and_run(server: &Server, number: u32) -> String {
    let sha = server.laptop.push_commit("master", &format!("Commit {number}"));
    server.deliver_and_settle(&Delivery::push("master", &sha));
    sha
}

fn ran(server: &Server) -> Vec<String> {
    server.written("ran").unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn an_older_ledger_runs_nothing_again_and_says_what_it_does_not_know() {
    let server = Server::new(COUNTING);
    let ledger = server.state("ledger.db");
    let mut expected = vec![push_and_run(&server, 1)];
    let copy = back_up(&server, &ledger);
    expected.extend([push_and_run(&server, 2), push_and_run(&server, 3)]);
    restore(&copy, &ledger);
    server.settle();
    server.settle();
    assert_eq!(ran(&server), expected);
    // Said once, with the remedy.
    let log = server.worker_log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("the ledger is older")).collect();
    assert!(
        matches!(said[..], [line] if line.contains("deliveries=2 from=2 to=3") && line.contains("hookspool replay")),
        "{log}"
    );
    // What comes next runs, and what is asked for by name.
    expected.push(push_and_run(&server, 4));
    let deliveries = server.json(&["deliveries", "--json"]);
    let is_unknown = |delivery: &&serde_json::Value| delivery["runs"].as_array().is_none_or(Vec::is_empty);
    let unknown = deliveries.as_array().unwrap().iter().find(is_unknown).unwrap();
    assert!(server.hookspool(&["replay", unknown["delivery"].as_str().unwrap()]).status.success(), "{deliveries:#}");
    server.settle();
    let again = ran(&server).pop().unwrap();
    assert_eq!(ran(&server)[..4], expected);
    assert!(expected[1..3].contains(&again), "{again}");
}

#[test]
fn what_comes_to_an_older_inbox_runs_and_what_ran_does_not() {
    let mut server = Server::new(COUNTING);
    let inbox = server.spool().join(INBOX_FILE);
    let mut expected = vec![push_and_run(&server, 1)];
    let copy = back_up(&server, &inbox);
    expected.extend([push_and_run(&server, 2), push_and_run(&server, 3)]);
    server.stop_receiver();
    restore_inbox(&server, &copy);
    server.start_receiver();
    expected.push(push_and_run(&server, 4));
    assert_eq!(ran(&server), expected);
}

#[test]
fn what_comes_to_a_spool_that_is_older_as_a_whole_runs_too() {
    let mut server = Server::new(COUNTING);
    let (inbox, mark) = (server.spool().join(INBOX_FILE), server.spool().join(MARK_FILE));
    let mut expected = vec![push_and_run(&server, 1)];
    let (copy, old_mark) = (back_up(&server, &inbox), fs::read_to_string(&mark).unwrap());
    expected.extend([push_and_run(&server, 2), push_and_run(&server, 3)]);
    server.stop_receiver();
    fs::write(&mark, &old_mark).unwrap();
    restore_inbox(&server, &copy);
    server.start_receiver();
    // The receiver cannot know yet. The next pass tells it, and it wakes the next but one.
    let sha = server.laptop.push_commit("master", "Commit 4");
    server.deliver(&Delivery::push("master", &sha));
    server.run_pass();
    wait_for("the receiver to notice", || server.spool().join("wake").exists().then_some(()));
    server.settle();
    expected.push(sha);
    assert_eq!(ran(&server), expected);
}
