//! What is read of an inbox that a receiver wrote, and of one that somebody else did.

use super::*;
use crate::inbox::{Entry, Inbox, Prunable, SqliteInbox};

fn entry(number: u8, answer: Answer, body: Vec<u8>) -> Entry {
    Entry {
        id: DeliveryId::generate(),
        source: if number.is_multiple_of(2) { "even" } else { "odd" }.parse().unwrap(),
        provider_id: Some(format!("guid-{number}")),
        received_at: Instant::from_millis(i64::from(number)),
        answer,
        reason: (answer != Answer::Accepted).then(|| "why".to_owned()),
        proposals: "[]".to_owned(),
        seen_keys: vec![[number; 16]],
        headers: r#"{"x-github-event":"push"}"#.to_owned(),
        body,
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(body, -1).unwrap()
}

/// An inbox of four deliveries, the second of which was accepted.
fn inbox() -> (tempfile::TempDir, std::path::PathBuf, Vec<Entry>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let answers = [Answer::Ignored, Answer::Accepted, Answer::Ignored, Answer::Ping];
    let entries: Vec<Entry> = (1..).zip(answers).map(|(number, answer)| entry(number, answer, packed(&[number; 9]))).collect();
    SqliteInbox::open(&path).unwrap().deliver(&entries).unwrap();
    (folder, path, entries)
}

fn read(path: &Path, query: &Query) -> Vec<(RawLine, Vec<u8>)> {
    let mut all = Vec::new();
    let each = |line: RawLine, body: &[u8]| -> Result<(), InboxError> {
        all.push((line, body.to_vec()));
        Ok(())
    };
    SqliteRawReader::open(path).unwrap().read(query, each).unwrap();
    all
}

fn places(path: &Path, query: &Query) -> Vec<i64> {
    read(path, query).iter().map(|(line, _)| line.record.seq).collect()
}

#[test]
fn a_delivery_is_read_as_it_came() {
    let (_folder, path, entries) = inbox();
    let (line, body) = read(&path, &Query::default()).remove(1);
    assert_eq!((line.record.id, line.record.answer, body), (entries[1].id, Answer::Accepted, vec![2; 9]));
    let headers = BTreeMap::from([("x-github-event".to_owned(), "push".to_owned())]);
    assert_eq!(line.kept, Kept::Whole { headers, body_bytes: 9 });
}

#[test]
fn a_query_asks_by_id_of_ours_or_the_forges_by_time_by_source_and_by_answer() {
    let (_folder, path, entries) = inbox();
    let all = Query::default();
    let ids = |ids: &[&str]| Query { ids: Some(ids.iter().map(ToString::to_string).collect()), ..Query::default() };
    assert_eq!(places(&path, &all), [1, 2, 3, 4]);
    assert_eq!(places(&path, &Query { newest_first: true, limit: Some(3), ..all.clone() }), [4, 3, 2]);
    assert_eq!(places(&path, &ids(&["guid-3", &entries[0].id.to_string(), "' OR 1=1 --"])), [1, 3]);
    assert!(places(&path, &ids(&[])).is_empty());
    assert_eq!(places(&path, &Query { since: Some(Instant::from_millis(3)), ..all.clone() }), [3, 4]);
    assert_eq!(places(&path, &Query { source: Some("odd".parse().unwrap()), ..all.clone() }), [1, 3]);
    assert_eq!(places(&path, &Query { answer: Some(Answer::Ping), ..all }), [4]);
}

/// What an inbox of deliveries that came at these times tells of once `count` of them were pruned.
fn extent_without(count: i64, times: &[i64]) -> Extent {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let at =
        |(number, time): (u8, &i64)| Entry { received_at: Instant::from_millis(*time), ..entry(number, Answer::Ping, vec![]) };
    let mut inbox = SqliteInbox::open(&path).unwrap();
    inbox.deliver(&(1..).zip(times).map(at).collect::<Vec<_>>()).unwrap();
    // Twice, since what is remembered must not go back.
    for taken_over in [count - 1, count] {
        inbox.tidy(&Prunable { taken_over, received_before: Instant::from_millis(i64::MAX), above_bytes: 0 }).unwrap();
    }
    assert_eq!(places(&path, &Query::default()).len(), times.len() - count as usize);
    SqliteRawReader::open(&path).unwrap().extent().unwrap()
}

#[test]
fn an_inbox_covers_a_time_unless_something_that_came_then_was_pruned() {
    let covers = |extent: &Extent, since: i64| extent.covers(Instant::from_millis(since));
    let whole = extent_without(0, &[1, 2]);
    assert!(whole == Extent { newest_pruned_at: None } && covers(&whole, 0));
    // Quiet for long after what went; and with nothing left at all.
    for times in [&[1, 40, 970][..], &[1, 40]] {
        let pruned = extent_without(2, times);
        assert_eq!(pruned, Extent { newest_pruned_at: Some(Instant::from_millis(40)) });
        assert!(covers(&pruned, 41) && covers(&pruned, 930) && !covers(&pruned, 40) && !covers(&pruned, 0));
    }
    // The clock went back between the two that went.
    assert!(!covers(&extent_without(2, &[40, 1, 970]), 40));
}

#[test]
fn an_inbox_that_no_receiver_of_this_version_opened_is_refused_with_the_remedy() {
    let (_folder, path, _) = inbox();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let refused = SqliteRawReader::open(&path).unwrap().extent().unwrap_err().to_string();
    assert!(refused.contains("restart hookspool-receiver"), "{refused}");
}

/// What is left of the first delivery after this was done to the inbox.
fn after(sql: &str, zstd: &[u8]) -> Kept {
    let (_folder, path, _) = inbox();
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE body SET zstd = ?1 WHERE seq = 1", [zstd]).unwrap();
    connection.execute_batch(sql).unwrap();
    let (line, body) = read(&path, &Query::default()).remove(0);
    assert!(body.is_empty());
    line.kept
}

#[test]
fn what_was_removed_is_said_to_be_removed() {
    assert_eq!(after("DELETE FROM body WHERE seq = 1", b""), Kept::Removed);
}

#[test]
fn a_bomb_in_the_place_of_a_body_does_not_go_off() {
    let unreadable = |zstd: &[u8]| match after("", zstd) {
        Kept::Unreadable { reason } => reason,
        other => panic!("{other:?}"),
    };
    // 64 MiB of zeros in a few KiB, and a frame that asks for a window of a gibibyte.
    let zeros = std::io::repeat(0).take(64 * 1024 * 1024);
    assert!(unreadable(&zstd::stream::encode_all(zeros, 1).unwrap()).contains("longer than the"));
    let mut wide = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(30).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(1024), &mut wide).unwrap();
    assert!(unreadable(&wide.finish().unwrap()).contains("cannot be unpacked"));
    assert!(unreadable(b"not zstd at all").contains("cannot be unpacked"));
    assert!(unreadable(&vec![0; MAX_PACKED_BYTES + 1]).contains("longer than any"));
}

#[test]
fn the_longest_body_that_the_receiver_takes_is_read_also_when_it_cannot_be_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    // Marsaglia's xorshift.
    let noise = std::iter::successors(Some(1_u32), |x| {
        let x = x ^ (x << 13);
        let x = x ^ (x >> 17);
        Some(x ^ (x << 5))
    });
    let body: Vec<u8> = noise.map(|x| x.to_le_bytes()[0]).take(MAX_BODY_BYTES).collect();
    let entry = entry(1, Answer::Ignored, packed(&body));
    assert!(entry.body.len() > MAX_BODY_BYTES);
    SqliteInbox::open(&path).unwrap().deliver(&[entry]).unwrap();
    assert!(read(&path, &Query::default()).remove(0).1 == body);
}

#[test]
fn headers_that_no_receiver_writes_are_said_to_be_such() {
    for headers in ["[]", "nothing", "{\"a\":1}"] {
        let kept = after(&format!("UPDATE body SET headers = '{headers}'"), &packed(b"{}"));
        assert!(
            matches!(&kept, Kept::Unreadable { reason } if reason.contains("no JSON object of texts")),
            "{headers}: {kept:?}"
        );
    }
    let long = after(&format!("UPDATE body SET headers = '{}'", "x".repeat(MAX_HEADERS_BYTES + 1)), &packed(b"{}"));
    assert!(matches!(&long, Kept::Unreadable { reason } if reason.contains("longer than any")), "{long:?}");
}
