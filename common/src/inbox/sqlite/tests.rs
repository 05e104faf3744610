//! What is stored, what is known again, what is read, and what is refused.

use super::*;

fn entry(keys: &[u8]) -> Entry {
    Entry {
        id: DeliveryId::generate(),
        source: "github".parse().unwrap(),
        provider_id: Some("guid".to_owned()),
        received_at: Instant::from_millis(7),
        answer: Answer::Accepted,
        reason: None,
        proposals: "[]".to_owned(),
        seen_keys: keys.iter().map(|key| [*key; 16]).collect(),
        headers: "{}".to_owned(),
        body: vec![1, 2, 3],
    }
}

fn rows(path: &Path) -> Vec<Record> {
    SqliteInboxReader::open(path).unwrap().read_after(0, 100).unwrap()
}

#[test]
fn a_delivery_seen_under_either_key_is_a_duplicate_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(crate::inbox::INBOX_FILE);
    let mut inbox = SqliteInbox::open(&path).unwrap();
    let (first, other) = (entry(&[1, 2]), entry(&[3, 4]));
    assert_eq!(inbox.deliver(&[first.clone(), other]).unwrap(), [Receipt::Stored, Receipt::Stored]);
    let again = inbox.deliver(&[entry(&[1, 9]), entry(&[8, 2]), entry(&[8, 9])]).unwrap();
    assert_eq!(again, [Receipt::Duplicate(first.id), Receipt::Duplicate(first.id), Receipt::Stored]);
    assert_eq!(rows(&path).len(), 3);
}

#[test]
fn the_same_delivery_twice_in_one_batch_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(crate::inbox::INBOX_FILE);
    let first = entry(&[1]);
    let receipts = SqliteInbox::open(&path).unwrap().deliver(&[first.clone(), entry(&[1])]).unwrap();
    assert_eq!(receipts, [Receipt::Stored, Receipt::Duplicate(first.id)]);
}

#[test]
fn reading_goes_on_after_the_watermark_and_identity_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(crate::inbox::INBOX_FILE);
    SqliteInbox::open(&path).unwrap().deliver(&[entry(&[1]), entry(&[2]), entry(&[3])]).unwrap();
    SqliteInbox::open(&path).unwrap();
    let mut reader = SqliteInboxReader::open(&path).unwrap();
    let seqs: Vec<i64> = reader.read_after(1, 1).unwrap().iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [2]);
    assert_eq!(reader.identity(), SqliteInboxReader::open(&path).unwrap().identity());
}

#[test]
fn a_commit_is_synced_before_it_returns() {
    // kill -9 cannot show this, and a loss of power is hard to come by: SQLite's own word for FULL is 2.
    let folder = tempfile::tempdir().unwrap();
    let inbox = SqliteInbox::open(&folder.path().join(crate::inbox::INBOX_FILE)).unwrap();
    let pragma = |name| inbox.connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let synchronous: i64 = inbox.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!((synchronous, pragma("journal_mode").unwrap().as_str()), (2, "wal"));
}

#[test]
fn a_locked_inbox_takes_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(crate::inbox::INBOX_FILE);
    let mut inbox = SqliteInbox::open(&path).unwrap();
    inbox.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(inbox.deliver(&[entry(&[1])]), Err(InboxError::Locked(_))));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(inbox.deliver(&[entry(&[1])]).unwrap(), [Receipt::Stored]);
}

#[test]
fn a_row_with_hostile_proposals_is_an_ignored_delivery_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(crate::inbox::INBOX_FILE);
    let mut hostile = entry(&[1]);
    hostile.proposals = r#"[{"event":{"kind":"push","provider_event":"push","ref":"refs/heads/../x"},"jobs":[]}]"#.to_owned();
    SqliteInbox::open(&path).unwrap().deliver(&[hostile]).unwrap();
    let record = rows(&path).remove(0);
    assert_eq!((record.answer, record.proposals.len()), (Answer::Ignored, 0));
    assert!(record.reason.unwrap().contains("cannot be read"));
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(crate::inbox::INBOX_FILE);
    drop(SqliteInbox::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(SqliteInbox::open(&path).unwrap_err().to_string().contains("schema version 99"));
}
