//! What the worker has taken over goes from the spool when there is too much of it; what it has not stays, and closes
//! the spool. With the real receiver and real passes.

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
