//! Whatever bytes come, the receiver lives, and says 2xx to nothing that its source's secret did not sign.

use std::io::ErrorKind;

use hookspool_tests::receiver::{Answer, Installation, Post, RunningReceiver, SOURCE_PATH};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Requests of each kind. Each takes a connection of its own.
const CASES: u32 = 400;

/// Sends these bytes and nothing more; what was answered, if anything was.
fn ask(receiver: &RunningReceiver, bytes: &[u8]) -> Option<Answer> {
    let mut connection = receiver.connect().unwrap();
    // It may close before everything was sent.
    let _ = connection.send(bytes).and_then(|()| connection.finish());
    match connection.answer() {
        // Go on, it says, to whoever asked first; the answer comes after that.
        Ok(answer) if answer.status == 100 => connection.answer().ok(),
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
            None
        }
    }
}

/// No request that `strategy` makes is answered 2xx or stored, and a good one is still taken afterwards.
fn all_are_refused(strategy: &impl Strategy<Value = Vec<u8>>) {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    // Whose delivery was accepted is not limited, so every request is looked at.
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(strategy, |bytes| {
        let answer = ask(&receiver, &bytes);
        prop_assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{answer:?}");
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(receiver.post(&Post::push("master", 2)).unwrap().status, 202);
    assert_eq!(installation.records().unwrap().len(), 2);
}

#[test]
fn any_bytes_are_refused() {
    all_are_refused(&prop::collection::vec(any::<u8>(), 0..2000));
}

#[test]
fn any_body_under_any_headers_is_refused_without_the_secret() {
    let name = prop::sample::select(vec![
        "x-hub-signature-256",
        "x-hub-signature",
        "x-github-event",
        "x-github-delivery",
        "content-type",
        "transfer-encoding",
        "expect",
        "authorization",
        "x-forwarded-for",
        "forwarded",
    ]);
    let value = prop_oneof![
        "sha256=[0-9a-f]{64}",
        "[ -~]{0,80}",
        Just("application/json".to_owned()),
        Just("chunked".to_owned()),
        Just("100-continue".to_owned()),
        Just("push".to_owned()),
    ];
    let headers = prop::collection::vec((name, value), 0..8);
    let body = prop::collection::vec(any::<u8>(), 0..500);
    all_are_refused(&(headers, body).prop_map(|(headers, body)| {
        let mut bytes = format!("POST {SOURCE_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len()).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }));
}

#[test]
fn a_signed_delivery_with_one_byte_changed_in_body_or_signature_is_refused() {
    let post = Post::push("master", 7);
    let bytes = post.bytes();
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let signature = post.header("x-hub-signature-256").unwrap();
    let signature_at = bytes.windows(signature.len()).position(|window| window == signature.as_bytes()).unwrap();
    let places: Vec<usize> = (body..bytes.len()).chain(signature_at..signature_at + signature.len()).collect();
    all_are_refused(&(prop::sample::select(places), 1..=255_u8).prop_map(move |(place, change)| {
        let mut changed = bytes.clone();
        changed[place] ^= change;
        changed
    }));
}
