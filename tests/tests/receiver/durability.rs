//! What was answered 2xx is on disk, whatever happens to the receiver or the inbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use hookspool_common::inbox::{INBOX_FILE, InboxReader, SqliteInboxReader};
use hookspool_tests::receiver::{Connection, Installation, Post, RunningReceiver, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The ids in the inbox, with the forge's ids.
fn stored(installation: &Installation) -> BTreeMap<String, String> {
    let records = installation.records().unwrap();
    records.iter().map(|record| (record.id.to_string(), record.provider_id.clone().unwrap())).collect()
}

/// Posts pushes that all differ on eight connections, until the receiver is gone; kills it after `enough` were accepted.
fn accepted_until_killed(receiver: RunningReceiver, numbers: &AtomicU64, enough: usize) -> Vec<(String, u64)> {
    let accepted = Mutex::new(Vec::new());
    let pid = Pid::from_raw(i32::try_from(receiver.pid()).unwrap());
    thread::scope(|scope| {
        // All of them before the first delivery, as the receiver may be dead after it.
        let connections: Vec<Connection> = (0..8).map(|_| receiver.connect().unwrap()).collect();
        for mut connection in connections {
            let (numbers, accepted) = (&numbers, &accepted);
            scope.spawn(move || {
                loop {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let sent = connection.send(&Post::push("master", number).bytes());
                    let Ok(answer) = sent.and_then(|()| connection.answer()) else { return };
                    assert_eq!(answer.status, 202, "{}", answer.body);
                    let mut accepted = accepted.lock().unwrap();
                    accepted.push((answer.text("delivery"), number));
                    if accepted.len() == enough {
                        kill(pid, Signal::SIGKILL).unwrap();
                    }
                }
            });
        }
    });
    receiver.kill().unwrap();
    accepted.into_inner().unwrap()
}

/// How often the receiver is killed: from before its first commit to after hundreds of them.
const KILLS: usize = 400;

#[test]
fn killed_under_load_it_has_every_delivery_that_it_answered() {
    let installation = Installation::new().unwrap();
    let numbers = AtomicU64::new(1);
    let (mut accepted, mut seq) = (BTreeMap::new(), 0);
    for kill in 0..KILLS {
        let enough = if kill % 50 == 49 { 400 } else { 1 + kill * 7 % 40 };
        let before = numbers.load(Ordering::Relaxed);
        let round = accepted_until_killed(installation.start().unwrap(), &numbers, enough);
        assert!(round.len() >= enough, "kill {kill}");
        let stored = stored_after(&installation, &mut seq);
        for (id, number) in &round {
            assert_eq!(stored.get(id), Some(&format!("push-master-{number}")), "kill {kill}: {id} was answered 202");
        }
        // What was stored and not answered in time is stored once, too.
        let sent = numbers.load(Ordering::Relaxed) - before;
        assert!(stored.len() as u64 <= sent && stored.values().collect::<BTreeSet<_>>().len() == stored.len(), "kill {kill}");
        accepted.extend(round);
    }
    let receiver = installation.start().unwrap();
    for (id, number) in accepted.iter().step_by(17) {
        let again = receiver.post(&Post::push("master", *number)).unwrap();
        assert_eq!((again.text("status").as_str(), &again.text("delivery")), ("duplicate", id));
    }
    assert!(stored_after(&installation, &mut seq).is_empty());
}

/// The ids and the forge's ids of what was stored after `seq`, which goes on to the last of them.
fn stored_after(installation: &Installation, seq: &mut i64) -> BTreeMap<String, String> {
    let mut reader = SqliteInboxReader::open(&installation.spool().join(INBOX_FILE)).unwrap();
    let records = reader.read_after(*seq, 10_000).unwrap();
    *seq = records.last().map_or(*seq, |record| record.seq);
    records.iter().map(|record| (record.id.to_string(), record.provider_id.clone().unwrap())).collect()
}

#[test]
fn a_request_in_flight_at_sigterm_is_answered_and_stored() {
    let installation = Installation::new().unwrap();
    let mut receiver = installation.start().unwrap();
    let post = Post::push("master", 1).and("expect", "100-continue");
    let bytes = post.bytes();
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut connection = receiver.connect().unwrap();
    connection.send(&bytes[..head_end]).unwrap();
    // It says so when it begins to read the body: then the request is in flight.
    assert_eq!(connection.answer().unwrap().status, 100);
    receiver.terminate().unwrap();
    until("nobody else is let in", || Ok(receiver.connect().is_err().then_some(()))).unwrap();
    connection.send(&bytes[head_end..]).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, stored(&installation).len()), (202, 1));
    assert_eq!(receiver.wait().unwrap().code(), Some(0));
}

#[test]
fn idle_it_ends_at_once_and_clears_up() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    assert_eq!(receiver.stop().unwrap().code(), Some(0));
    assert!(!installation.spool().join("inbox.db-wal").exists(), "the inbox was closed");
    assert_eq!(stored(&installation).len(), 1);
}

#[test]
fn a_locked_inbox_is_503_and_loses_nothing_and_afterwards_it_goes_on() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let before = receiver.post(&Post::push("master", 1)).unwrap().text("delivery");
    let other = rusqlite::Connection::open(installation.spool().join(INBOX_FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = receiver.post(&Post::push("master", 2)).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_eq!(answer.body, r#"{"status":"unavailable"}"#);
    assert_eq!(receiver.ready().unwrap().status, 503);
    other.execute_batch("ROLLBACK").unwrap();
    let after = receiver.post(&Post::push("master", 2)).unwrap();
    assert_eq!((after.status, receiver.ready().unwrap().status), (202, 200));
    let expected = [(before, "push-master-1"), (after.text("delivery"), "push-master-2")];
    assert_eq!(stored(&installation), expected.map(|(id, provider_id)| (id, provider_id.to_owned())).into());
    assert!(installation.log().unwrap().contains("locked by another process"));
}
