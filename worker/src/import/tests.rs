//! The pass's end of the pipe, with an importer that lies.

use super::*;
use hookspool_common::clock::{Instant, SystemClock};
use hookspool_common::inbox::INBOX_FILE;
use hookspool_common::inbox::{Entry, Inbox, InboxError, SqliteInbox};
use hookspool_common::ledger::SqliteLedger;
use hookspool_common::names::DeliveryId;
use hookspool_common::record::Answer;

const INBOX: &str = "0123456789abcdef0123456789abcdef";

fn config(folder: &Path) -> Config {
    let main = "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n";
    fs::write(folder.join("hookspool.toml"), main).unwrap();
    Config::load(&folder.join("hookspool.toml")).unwrap()
}

fn record(seq: i64) -> String {
    let id = DeliveryId::generate();
    format!(
        r#"{{"seq":{seq},"id":"{id}","source":"github","provider_id":null,"received_at":1,"answer":"ignored","reason":"x","proposals":[]}}"#
    )
}

/// What the pass makes of these lines, and the watermark afterwards.
fn take(lines: &str) -> (Result<bool, String>, Option<i64>) {
    take_after(None, lines)
}

/// The same with a ledger that has come so far.
fn take_after(known: Option<(&str, i64)>, lines: &str) -> (Result<bool, String>, Option<i64>) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    if let Some((inbox, seq)) = known {
        ledger.skip_to(&inbox.parse().unwrap(), seq).unwrap();
    }
    let watermark = ledger.watermark().unwrap();
    let taken = take_over(&config, &mut ledger, watermark.as_ref(), lines.as_bytes(), &SystemClock);
    let taken = taken.map_err(|error| format!("{error:#}"));
    (taken, ledger.watermark().unwrap().map(|(_, seq)| seq))
}

#[test]
fn records_and_watermark_are_taken_over_together() {
    let lines = format!("{{\"inbox\":\"{INBOX}\",\"after\":0}}\n{}\n{}\n", record(3), record(8));
    assert_eq!(take(&lines), (Ok(true), Some(8)));
    assert_eq!(take(""), (Ok(false), None));
    assert_eq!(take(&format!("{{\"inbox\":\"{INBOX}\",\"after\":0}}\n")), (Ok(false), None));
}

#[test]
fn a_ledger_that_is_older_than_the_mark_goes_on_after_the_mark() {
    let preface = format!("{{\"inbox\":\"{INBOX}\",\"after\":8}}\n");
    let next = format!("{preface}{}\n", record(9));
    let other = "f".repeat(32);
    for known in [None, Some((INBOX, 3)), Some((INBOX, 8)), Some((&*other, 99))] {
        assert_eq!(take_after(known, &preface), (Ok(false), Some(8)), "{known:?}");
        assert_eq!(take_after(known, &next), (Ok(true), Some(9)), "{known:?}");
    }
    // What it has taken over is not taken over again, and nothing of what it is told to skip.
    let (taken, watermark) = take_after(Some((INBOX, 9)), &next);
    assert!(taken.as_ref().is_err_and(|error| error.contains("taken over up to 9")), "{taken:?}");
    assert_eq!(watermark, Some(9));
    assert!(take(&format!("{preface}{}\n", record(8))).0.is_err_and(|error| error.contains("out of order")));
}

#[test]
fn an_importer_that_lies_takes_nothing_over() {
    let preface = format!("{{\"inbox\":\"{INBOX}\",\"after\":0}}\n");
    let good = record(3);
    for (lie, complaint) in [
        (format!("{preface}{good}\n{}\n", record(3)), "out of order"),
        (format!("{preface}{good}"), "cut off"),
        (format!("{preface}{good}\n{{\"seq\":4}}\n"), "no record"),
        (format!("{preface}{}\n", good.replace("\"seq\"", "\"command\":\"reboot\",\"seq\"")), "unknown field"),
        (format!("{preface}{}\n", good.replace("github", "../../x")), "not a name"),
        ("{\"inbox\":\"../../etc\",\"after\":0}\n".to_owned(), "first line"),
        ("reboot\n".to_owned(), "first line"),
    ] {
        let (taken, watermark) = take(&lie);
        assert!(taken.as_ref().is_err_and(|error| error.contains(complaint)), "{complaint}: {taken:?}");
        assert_eq!(watermark, None);
    }
    let many: String = (1..=501).map(|seq| record(seq) + "\n").collect();
    assert!(take(&(preface + &many)).0.is_err_and(|error| error.contains("more than 500")));
}

/// A reader, and how many deliveries it read.
struct Counting(SqliteInboxReader, usize);

impl InboxReader for Counting {
    fn identity(&self) -> &InboxIdentity {
        self.0.identity()
    }

    fn read_after(&mut self, seq: i64, limit: usize) -> Result<Vec<Record>, InboxError> {
        self.0.read_after(seq, limit).inspect(|records| self.1 += records.len())
    }
}

#[test]
fn no_more_is_read_than_is_handed_over() {
    const MIB: usize = 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(INBOX_FILE);
    let entry = |reason: String| Entry {
        id: DeliveryId::generate(),
        source: "github".parse().unwrap(),
        provider_id: None,
        received_at: Instant::from_millis(1),
        answer: Answer::Ignored,
        reason: Some(reason),
        proposals: "[]".to_owned(),
        seen_keys: vec![],
        headers: "{}".to_owned(),
        body: vec![],
    };
    let large = || entry("x".repeat(MIB));
    let small = || entry("x".to_owned());
    let batch: Vec<Entry> = std::iter::repeat_with(large).take(20).chain(std::iter::repeat_with(small).take(600)).collect();
    SqliteInbox::open(&path).unwrap().deliver(&batch).unwrap();
    let hand_over_after = |seq: i64| {
        let mut reader = Counting(SqliteInboxReader::open(&path).unwrap(), 0);
        let mut out = Vec::new();
        hand_over(&mut reader, seq, &mut out).unwrap();
        let lines = out.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(reader.1 + 1, lines);
        reader.1
    };
    assert_eq!([0, 16, 20, 600, 620].map(hand_over_after), [16, 500, 500, 20, 0]);
}
