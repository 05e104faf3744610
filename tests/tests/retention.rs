//! What the worker has taken over goes from the spool when there is too much of it; what it has not stays, and closes
//! the spool. What went is known as gone, and what came after it as whole. With the real receiver and real passes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use hookspool_common::inbox::{INBOX_FILE, InboxReader, SqliteInboxReader};
use hookspool_tests::server::{Delivery, Server, Setup, wait_for};

const JOB: &str =
    "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", branch = \"master\" }]\nbuild = \"echo once >>$OUT/ran\"\n";

const LIMITS: &str = r#"spool_limit = "3MiB"
spool_reserve = "0B"
retention = { size = "1MiB" }"#;

/// Commit messages that all differ and do not compress to much less.
fn noise(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    std::iter::repeat_with(word).take(4_000).collect()
}

/// A push that no job wants.
fn large_delivery(server: &Server, number: u64) -> Delivery {
    let mut delivery = Delivery::push("nobody", &server.laptop.head());
    delivery.body["noise"] = noise(number).into();
    delivery
}

fn stored(server: &Server) -> Vec<String> {
    let mut reader = SqliteInboxReader::open(&server.spool().join(INBOX_FILE)).unwrap();
    reader.read_after(0, 10_000).unwrap().iter().map(|record| record.id.to_string()).collect()
}

#[test]
fn deliveries_go_from_the_spool_when_a_pass_has_taken_them_over_and_never_before() {
    let server = Server::with(Setup { jobs: JOB, receiver: LIMITS, ..Setup::default() });
    let mut delivered = vec![server.deliver(&Delivery::push("master", &server.laptop.head()))];
    let refused = loop {
        let delivery = large_delivery(&server, delivered.len() as u64);
        let answer = server.post(&delivery);
        if answer.status == 503 {
            break delivery;
        }
        assert_eq!(answer.text("status"), "ignored", "{}", answer.body);
        delivered.push(answer.text("delivery"));
        assert!(delivered.len() < 1000, "ten times as much as the limit");
    };
    assert_eq!(stored(&server), delivered);
    server.settle();
    assert_eq!((server.states(), server.written("ran").as_deref()), (vec!["succeeded".to_owned()], Some("once")));
    wait_for("the spool to open", || (server.post(&refused).status == 200).then_some(()));
    let first = &delivered[0];
    wait_for("the oldest to go", || (!stored(&server).contains(first)).then_some(()));
    assert!(stored(&server).len() > 1, "what fits stays");
    // The run knows its delivery as before.
    assert_eq!(server.show(1)["delivery"], **first);
    let next = server.laptop.push_commit("master", "Next");
    server.deliver_and_settle(&Delivery::push("master", &next));
    assert_eq!(server.states(), ["succeeded", "succeeded"]);
}

#[test]
fn a_time_is_whole_as_long_as_nothing_that_came_within_it_was_pruned() {
    let mut server = Server::new(JOB);
    let old = server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.post(&Delivery::push("nobody", &server.laptop.head())).text("status"), "ignored");
    server.settle();
    let rehearsed = |server: &Server, time: &str| {
        let output = server.hookspool(&["replay", "--since", time, "--dry-run"]);
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    // As if the first had come forty days ago, which is longer than deliveries are kept, and the second three.
    server.tamper("UPDATE delivery SET received_at = received_at - 86400000 * CASE seq WHEN 1 THEN 40 ELSE 3 END");
    assert_eq!(rehearsed(&server, "41d").1, Some(0));
    server.start_receiver();
    wait_for("the old one to go", || (!stored(&server).contains(&old)).then_some(()));
    let nothing_changes = "1 delivery: 0 more to run, 0 not any more, 0 unchanged\n".to_owned();
    assert_eq!(rehearsed(&server, "7d"), (nothing_changes.clone(), Some(0)));
    let (said, status) = rehearsed(&server, "41d");
    let (lost, rest) = said.split_once('\n').unwrap();
    assert!(lost.starts_with("? what came until 20") && lost.ends_with("was removed when its time was over"), "{said}");
    assert_eq!((rest, status), (nothing_changes.as_str(), Some(1)));
}
