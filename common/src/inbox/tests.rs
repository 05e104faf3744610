//! Keys over runs, restarts, failures and other writers; pruning; and inboxes of earlier versions.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::seen::{MAX_RUNS, RUN_KEYS, Seen};
use super::*;
use crate::clock::{Clock, SystemClock};

fn key(number: usize) -> SeenKey {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(number.to_le_bytes())[..16]);
    key
}

/// A delivery that came at `number` milliseconds, with two keys that no other number has.
fn entry(number: usize) -> Entry {
    Entry {
        id: DeliveryId::generate(),
        source: "github".parse().unwrap(),
        provider_id: None,
        received_at: Instant::from_millis(number as i64),
        answer: Answer::Accepted,
        reason: None,
        proposals: "[]".to_owned(),
        seen_keys: vec![key(2 * number), key(2 * number + 1)],
        headers: "{}".to_owned(),
        body: vec![7; 10_000],
    }
}

fn small(number: usize) -> Entry {
    Entry { body: vec![7], ..entry(number) }
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(INBOX_FILE);
    (folder, path)
}

/// Nothing may go.
const NOTHING: Prunable = Prunable { taken_over: 0, received_before: Instant::from_millis(0), above_bytes: u64::MAX };

fn places(path: &Path) -> Vec<i64> {
    SqliteInboxReader::open(path).unwrap().read_after(0, 10_000).unwrap().iter().map(|record| record.seq).collect()
}

#[test]
fn every_key_is_known_while_it_is_new_in_a_run_and_after_a_restart() {
    const COUNT: usize = RUN_KEYS + RUN_KEYS / 4;
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let mut ids = Vec::new();
    for start in (0..COUNT).step_by(500) {
        let batch: Vec<Entry> = (start..start + 500).map(small).collect();
        ids.extend(batch.iter().map(|entry| entry.id));
        assert_eq!(inbox.deliver(&batch).unwrap(), vec![Receipt::Stored; 500]);
        inbox.tidy(&NOTHING).unwrap();
    }
    for _ in 0..2 {
        let again = (0..COUNT).step_by(83).flat_map(|number| {
            let by_either = [key(2 * number), key(2 * number + 1)];
            by_either.map(|known| (ids[number], Entry { seen_keys: vec![known, key(usize::MAX - number)], ..small(number) }))
        });
        let (expected, again): (Vec<_>, Vec<_>) = again.map(|(id, again)| (Receipt::Duplicate(id), again)).unzip();
        assert_eq!(inbox.deliver(&again).unwrap(), expected);
        inbox = SqliteInbox::open(&path).unwrap();
    }
    let runs: i64 = Connection::open(&path).unwrap().query_row("SELECT count(*) FROM seen_run", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 2);
}

#[test]
fn of_more_keys_than_are_kept_the_oldest_are_forgotten() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let mut other = Connection::open(&path).unwrap();
    let transaction = other.transaction().unwrap();
    let mut seen = Seen::load(&transaction).unwrap();
    for run in 0..=MAX_RUNS {
        seen.add(&transaction, DeliveryId::generate(), &small(run).seen_keys).unwrap();
        seen.make_run(&transaction).unwrap();
    }
    transaction.commit().unwrap();
    let is_known = |number: usize| inbox.find_earlier(&small(number)).unwrap().is_some();
    assert_eq!([0, 1, MAX_RUNS].map(is_known), [false, true, true]);
    let count = |table: &str| -> usize {
        other.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap_or(0_i64) as usize
    };
    assert_eq!((count("seen_run"), count("seen_lately")), (MAX_RUNS, 0));
    assert_eq!(count("seen_earlier WHERE place < 512"), 0);
}

#[test]
fn a_batch_that_failed_was_never_seen() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    inbox.deliver(&[small(1)]).unwrap();
    // The table refuses an accepted delivery with a reason.
    let broken = Entry { reason: Some("none".to_owned()), ..small(3) };
    assert!(inbox.deliver(&[small(2), broken]).is_err());
    let receipts = inbox.deliver(&[small(2), small(3)]).unwrap();
    assert_eq!((receipts, places(&path)), (vec![Receipt::Stored; 2], vec![1, 2, 3]));
}

#[test]
fn what_another_process_stored_is_seen_too() {
    let (_folder, path) = place();
    let (mut one, mut other) = (SqliteInbox::open(&path).unwrap(), SqliteInbox::open(&path).unwrap());
    let first = small(1);
    one.deliver(std::slice::from_ref(&first)).unwrap();
    assert_eq!(other.deliver(&[small(1), small(2)]).unwrap(), [Receipt::Duplicate(first.id), Receipt::Stored]);
    assert!(matches!(one.deliver(&[small(2)]).unwrap()[..], [Receipt::Duplicate(_)]));
}

#[test]
fn old_deliveries_go_once_they_are_taken_over_and_are_still_known() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    inbox.deliver(&(1..=9).map(entry).collect::<Vec<_>>()).unwrap();
    let old = Prunable { received_before: Instant::from_millis(5), ..NOTHING };
    assert_eq!(inbox.tidy(&old).unwrap(), Tidied::default());
    assert_eq!(inbox.tidy(&Prunable { taken_over: 3, ..old }).unwrap(), Tidied { pruned: 3, ..Tidied::default() });
    assert_eq!(inbox.tidy(&Prunable { taken_over: 8, ..old }).unwrap(), Tidied { pruned: 1, ..Tidied::default() });
    assert_eq!(places(&path), [5, 6, 7, 8, 9]);
    assert!(matches!(inbox.deliver(&[entry(1)]).unwrap()[..], [Receipt::Duplicate(_)]));
    let bodies: i64 = Connection::open(&path).unwrap().query_row("SELECT count(*) FROM body", [], |row| row.get(0)).unwrap();
    assert_eq!(bodies, 5);
}

#[test]
fn a_clock_that_was_ahead_keeps_nothing_that_came_afterwards() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let came = |at: usize, number: usize| Entry { received_at: Instant::from_millis(at as i64), ..small(number) };
    // The first is larger than what one transaction frees.
    let ahead = Entry { body: vec![7; 9 * 1024 * 1024], ..came(1_000_000, 1) };
    let batch: Vec<Entry> =
        [ahead].into_iter().chain([5, 6, 1_000_000, 7, 20].into_iter().zip(2..).map(|(at, number)| came(at, number))).collect();
    inbox.deliver(&batch).unwrap();
    let old = Prunable { received_before: Instant::from_millis(10), ..NOTHING };
    while inbox.tidy(&Prunable { taken_over: 4, ..old }).unwrap().has_more {}
    assert_eq!(places(&path), [4, 5, 6]);
    inbox.tidy(&Prunable { taken_over: 6, ..old }).unwrap();
    assert_eq!(places(&path), [6]);
}

#[test]
fn keys_are_not_counted_as_what_deliveries_use() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let mut other = Connection::open(&path).unwrap();
    let transaction = other.transaction().unwrap();
    let mut seen = Seen::load(&transaction).unwrap();
    for number in 0..RUN_KEYS + RUN_KEYS / 4 {
        seen.add(&transaction, DeliveryId::generate(), &small(number).seen_keys).unwrap();
        if seen.is_full() {
            seen.make_run(&transaction).unwrap();
        }
    }
    transaction.commit().unwrap();
    inbox.check().unwrap();
    assert!(inbox.used_bytes() < 400_000, "{} bytes beside 2 MiB of keys", inbox.used_bytes());
    inbox.deliver(&(0..100).map(|number| Entry { seen_keys: vec![], ..entry(number) }).collect::<Vec<_>>()).unwrap();
    assert!(inbox.used_bytes() > 1_000_000, "{}", inbox.used_bytes());
}

#[test]
fn a_delivery_without_keys_leaves_none() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let without = |number| Entry { seen_keys: vec![], ..small(number) };
    assert_eq!(inbox.deliver(&[without(1), without(1), small(2)]).unwrap(), [Receipt::Stored; 3]);
    let rows: i64 = Connection::open(&path).unwrap().query_row("SELECT count(*) FROM seen_lately", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn too_many_deliveries_go_from_the_oldest_on_and_their_room_is_used_again() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    inbox.deliver(&(1..=1000).map(entry).collect::<Vec<_>>()).unwrap();
    let full = inbox.used_bytes();
    assert!(full > 10_000_000, "{full}");
    let half = Prunable { taken_over: 1000, above_bytes: full / 2, ..NOTHING };
    let mut pruned = 0;
    loop {
        let tidied = inbox.tidy(&half).unwrap();
        pruned += tidied.pruned;
        // Bounded, so that deliveries which come meanwhile hardly wait.
        assert!(tidied.pruned <= 256);
        if !tidied.has_more {
            break;
        }
    }
    assert!(pruned.abs_diff(500) < 100 && inbox.used_bytes() <= full / 2, "{pruned}: {} of {full}", inbox.used_bytes());
    assert_eq!(places(&path), (pruned as i64 + 1..=1000).collect::<Vec<_>>());
    inbox.deliver(&(1001..1400).map(entry).collect::<Vec<_>>()).unwrap();
    drop(inbox);
    let keys = 2 * 1400 * 32;
    assert!(std::fs::metadata(&path).unwrap().len() <= full + keys, "the file did not grow");
}

#[test]
fn a_place_is_never_given_twice_even_if_all_deliveries_went() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    inbox.deliver(&[small(1), small(2)]).unwrap();
    inbox.tidy(&Prunable { taken_over: 2, received_before: Instant::from_millis(9), ..NOTHING }).unwrap();
    drop(inbox);
    SqliteInbox::open(&path).unwrap().deliver(&[small(3)]).unwrap();
    assert_eq!(places(&path), [3]);
}

#[test]
fn an_older_copy_goes_on_under_a_new_identity_and_prunes_nothing() {
    let (_folder, path) = place();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    inbox.deliver(&[entry(1), entry(2)]).unwrap();
    let first = inbox.identity().clone();
    let taken_over = |taken_over| Prunable { taken_over, received_before: Instant::from_millis(2), ..NOTHING };
    assert_eq!(inbox.tidy(&taken_over(3)).unwrap(), Tidied { is_renewed: true, ..Tidied::default() });
    let second = inbox.identity().clone();
    assert!(first != second && SqliteInboxReader::open(&path).unwrap().identity() == &second);
    assert_eq!(places(&path), [1, 2]);
    // Once is enough; and up to date is not older, also when the last delivery is gone.
    assert_eq!(inbox.tidy(&taken_over(0)).unwrap(), Tidied::default());
    assert_eq!(inbox.tidy(&taken_over(2)).unwrap(), Tidied { pruned: 1, ..Tidied::default() });
    inbox.tidy(&Prunable { received_before: Instant::from_millis(9), ..taken_over(2) }).unwrap();
    assert_eq!(inbox.tidy(&taken_over(2)).unwrap(), Tidied::default());
    assert_eq!((inbox.identity(), places(&path)), (&second, vec![]));
}

#[test]
fn an_inbox_of_the_first_version_is_brought_up_with_all_that_it_holds() {
    let (_folder, path) = place();
    let ids = [DeliveryId::generate(), DeliveryId::generate()];
    let old = Connection::open(&path).unwrap();
    old.execute_batch(sqlite::MIGRATIONS[0]).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute("INSERT INTO inbox VALUES (1, ?1)", [InboxIdentity::generate().as_str()]).unwrap();
    for (seq, id) in (1_u32..).zip(ids) {
        let delivery = "INSERT INTO delivery VALUES (?1, ?2, 'github', 'guid', 5, 'accepted', NULL, '[]')";
        old.execute(delivery, params![seq, id.as_bytes()]).unwrap();
        old.execute("INSERT INTO body VALUES (?1, '{}', x'00')", [seq]).unwrap();
        for key in [2 * seq, 2 * seq + 1].map(|number| key(number as usize)) {
            old.execute("INSERT INTO seen VALUES (?1, ?2)", params![key, seq]).unwrap();
        }
    }
    drop(old);
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let other_key = |number: usize| Entry { seen_keys: vec![key(2 * number + 1)], ..small(number) };
    let receipts = inbox.deliver(&[small(1), other_key(1), small(2), small(3)]).unwrap();
    let [first, second] = ids.map(Receipt::Duplicate);
    assert_eq!(receipts, [first, first, second, Receipt::Stored]);
    assert_eq!(places(&path), [1, 2, 3]);
}

#[test]
fn a_log_has_its_working_length_from_the_start_and_keeps_it() {
    let (_folder, path) = place();
    let log = path.with_file_name(format!("{INBOX_FILE}-wal"));
    let length = || std::fs::metadata(&log).unwrap().len();
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let at_first = length();
    assert!(at_first >= 5 * 1024 * 1024, "{at_first}");
    for number in 0..1000 {
        inbox.deliver(&[entry(number)]).unwrap();
    }
    assert_eq!(length(), at_first);
    // What was written for it is free again.
    assert!(inbox.used_bytes() < 1000 * 20_000, "{}", inbox.used_bytes());
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'ballast'";
    assert_eq!(Connection::open(&path).unwrap().query_row(tables, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

/// What the migration to the third version makes of an inbox of the second that was changed like this.
fn newest_pruned_at(sql: &str) -> Option<i64> {
    let (_folder, path) = place();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&sqlite::MIGRATIONS[..2].concat()).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    old.execute("INSERT INTO inbox VALUES (1, ?1)", [InboxIdentity::generate().as_str()]).unwrap();
    for at in [5, 6, 7] {
        let delivery = "INSERT INTO delivery (id, source, received_at, answer, proposals)
            VALUES (randomblob(16), 'github', ?1, 'accepted', '[]')";
        old.execute(delivery, [at]).unwrap();
    }
    old.execute_batch(sql).unwrap();
    drop(old);
    SqliteInbox::open(&path).unwrap();
    Connection::open(&path).unwrap().query_row("SELECT newest_pruned_at FROM inbox", [], |row| row.get(0)).unwrap()
}

#[test]
fn of_an_inbox_of_the_second_version_no_more_is_believed_to_be_there_than_is() {
    let now = || SystemClock.now().millis();
    assert_eq!(newest_pruned_at(""), None);
    assert_eq!(newest_pruned_at("DELETE FROM delivery; DELETE FROM sqlite_sequence"), None);
    assert_eq!(newest_pruned_at("DELETE FROM delivery WHERE seq = 1"), Some(6));
    let before = now();
    let all_gone = newest_pruned_at("DELETE FROM delivery");
    assert!(all_gone.is_some_and(|at| (before..=now()).contains(&at)), "{all_gone:?}");
}
