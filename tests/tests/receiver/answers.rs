//! Every row of the table of answers.

use hookspool_common::record::Answer;
use hookspool_tests::receiver::{Installation, Post, RunningReceiver};

fn started() -> (Installation, RunningReceiver) {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    (installation, receiver)
}

#[test]
fn a_push_that_a_job_asks_for_is_202_and_in_the_inbox_and_wakes_the_worker() {
    let (installation, receiver) = started();
    let answer = receiver.post(&Post::push("master", 1)).unwrap();
    let records = installation.records().unwrap();
    assert_eq!((answer.status, records.len()), (202, 1));
    let id = records[0].id;
    assert_eq!(answer.body, format!(r#"{{"status":"accepted","delivery":"{id}","jobs":["image"]}}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!((records[0].answer, records[0].provider_id.as_deref()), (Answer::Accepted, Some("push-master-1")));
    assert_eq!(records[0].proposals[0].event.branch.as_deref(), Some("master"));
    assert!(installation.spool().join("wake").exists());
}

#[test]
fn what_starts_nothing_is_200_ignored_with_a_reason_and_in_the_inbox() {
    let (installation, receiver) = started();
    let elsewhere = r#"{"ref":"refs/heads/master","after":"366701fde727cb7a9e7f21eb88264f59f6f9b89c","repository":{"clone_url":"https://github.com/owner/other.git"}}"#;
    let cases = [
        (Post::push("develop", 1), "does not fit"),
        (Post::signed("push", "2", elsewhere), "github.com/owner/other is not in the configuration"),
        (Post::signed("sponsorship", "3", "{}"), "`sponsorship`"),
        (Post::signed("push", "4", "[1, 2]"), "not of the shape"),
    ];
    for (number, (post, reason)) in cases.iter().enumerate() {
        let answer = receiver.post(post).unwrap();
        let record = installation.records().unwrap().pop().unwrap();
        assert_eq!((answer.status, answer.text("status").as_str()), (200, "ignored"), "{}", answer.body);
        assert!(answer.text("reason").contains(reason), "{}", answer.body);
        assert_eq!(record.reason, Some(answer.text("reason")));
        assert_eq!((record.seq, record.id.to_string()), (number as i64 + 1, answer.text("delivery")));
    }
    assert!(!installation.spool().join("wake").exists());
}

#[test]
fn a_ping_is_200_pong_and_in_the_inbox() {
    let (installation, receiver) = started();
    let answer = receiver.post(&Post::signed("ping", "1", r#"{"zen":"Keep it logically awesome."}"#)).unwrap();
    let record = installation.records().unwrap().pop().unwrap();
    assert_eq!((answer.status, record.answer), (200, Answer::Ping));
    assert_eq!(answer.body, format!(r#"{{"status":"pong","delivery":"{}"}}"#, record.id));
}

#[test]
fn the_same_id_or_the_same_content_again_is_200_duplicate_of_the_first() {
    let (installation, receiver) = started();
    let first = receiver.post(&Post::push("master", 1)).unwrap();
    let expected = format!(r#"{{"status":"duplicate","delivery":"{}"}}"#, first.text("delivery"));
    let same_content = Post::push("master", 1).with("x-github-delivery", "another");
    let same_id = Post::push("master", 2).with("x-github-delivery", "push-master-1");
    for post in [Post::push("master", 1), same_content, same_id] {
        let answer = receiver.post(&post).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, expected.as_str()));
    }
    assert_eq!(installation.records().unwrap().len(), 1);
}

#[test]
fn the_same_delivery_on_sixteen_connections_at_once_is_stored_once() {
    let (installation, receiver) = started();
    let post = Post::push("master", 1).bytes();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| receiver.ask(&post).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let records = installation.records().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.text("status") == "duplicate").count(), 15);
    assert!(answers.iter().all(|answer| answer.text("delivery") == records[0].id.to_string()));
}

#[test]
fn every_wrong_signature_is_the_same_401_and_nothing_is_stored() {
    let (installation, receiver) = started();
    let good = Post::push("master", 1);
    let header = "x-hub-signature-256";
    let signature = good.header(header).unwrap();
    let digits = signature.strip_prefix("sha256=").unwrap();
    let as_header = |value: String| good.clone().with(header, value);
    let last = if digits.ends_with('0') { "1" } else { "0" };
    let cases = [
        ("absent", good.clone().without(header)),
        ("two headers, both right", good.clone().and(header, signature.clone())),
        ("one digit changed", as_header(format!("sha256={}{last}", &digits[..63]))),
        ("short", as_header(format!("sha256={}", &digits[..63]))),
        ("upper case", as_header(format!("sha256={}", digits.to_uppercase()))),
        ("doubled", as_header(format!("sha256={digits}{digits}"))),
        ("two in one header", as_header(format!("{signature}, {signature}"))),
        ("without its prefix", as_header(digits.to_owned())),
        ("of SHA-1", as_header(format!("sha1={}", &digits[..40]))),
        ("empty", as_header(String::new())),
        ("not UTF-8", good.clone().with(header, b"sha256=\xff\xfe".to_vec())),
        ("of another body", good.clone().with_body("{}")),
        ("of a body with a line end less", Post::signed("push", "1", "{}\n").with_body("{}")),
    ];
    for (what, post) in cases {
        let answer = receiver.post(&post).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"status":"unauthorized"}"#), "{what}");
    }
    assert_eq!(installation.records().unwrap().len(), 0);
    assert_eq!(receiver.post(&good).unwrap().status, 202);
    let log = installation.log().unwrap();
    assert!(!log.contains(digits) && !log.contains("secret of the tests"), "{log}");
}

#[test]
fn unknown_paths_are_404_and_other_methods_405() {
    let (_installation, receiver) = started();
    let ask = |method: &str, path: &str| {
        receiver.ask(format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap()
    };
    assert_eq!(ask("GET", "/").status, 404);
    assert_eq!(ask("POST", "/hooks/gitlab").status, 404);
    assert_eq!(ask("POST", "/hooks/github/../github").status, 404);
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(method, "/hooks/github");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("post")), "{method}");
    }
    assert_eq!(ask("POST", "/health").status, 405);
    assert_eq!(ask("POST", "/hooks/github?from=github").status, 401);
}

#[test]
fn health_and_readiness_are_public() {
    let (_installation, receiver) = started();
    let ask = |path: &str| receiver.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
    assert_eq!((ask("/health").status, ask("/health").body.as_str()), (200, r#"{"status":"ok"}"#));
    assert_eq!((ask("/ready").status, ask("/ready").body.as_str()), (200, r#"{"status":"ready"}"#));
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn another_content_type_is_415_and_what_is_not_json_422() {
    let (installation, receiver) = started();
    for content_type in ["multipart/form-data", "text/json", ""] {
        let answer = receiver.post(&Post::push("master", 1).with("content-type", content_type)).unwrap();
        assert_eq!((answer.status, answer.text("status").as_str()), (415, "wrong_type"), "{content_type}");
    }
    assert_eq!(receiver.post(&Post::push("master", 1).without("content-type")).unwrap().status, 415);
    for body in [&b""[..], b"{", b"ref=refs/heads/master", b"\x00\x01\x02", b"{\"ref\":\"refs/heads/\xff\"}"] {
        let answer = receiver.post(&Post::signed("push", "1", body)).unwrap();
        assert_eq!((answer.status, answer.text("status").as_str()), (422, "malformed"), "{body:?}");
        assert!(answer.text("reason").starts_with("the body is not JSON"), "{}", answer.body);
    }
    for form in [&b""[..], b"{}", b"payload={}&payload={}", b"payload={}&more=1", b"more={}"] {
        let answer = receiver.post(&Post::signed("push", "1", form).with("content-type", FORM)).unwrap();
        assert_eq!((answer.status, answer.text("status").as_str()), (422, "malformed"), "{form:?}");
        assert!(answer.text("reason").contains("whose one parameter is `payload`"), "{}", answer.body);
    }
    let no_json = receiver.post(&Post::signed("push", "1", "payload=%7B").with("content-type", FORM)).unwrap();
    assert!(no_json.status == 422 && no_json.text("reason").starts_with("the body is not JSON"), "{}", no_json.body);
    let without_event = Post::signed("push", "1", "{}").without("x-github-event");
    assert!(receiver.post(&without_event).unwrap().text("reason").contains("X-GitHub-Event"));
    assert_eq!(installation.records().unwrap().len(), 0);
    assert_eq!(
        receiver.post(&Post::push("master", 1).with("content-type", "Application/JSON; charset=utf-8")).unwrap().status,
        202
    );
}

#[test]
fn a_body_that_is_too_large_is_413_announced_or_not() {
    let (installation, receiver) = started();
    let post = Post::push("master", 1);
    let max = 25 * 1024 * 1024;
    let announced = receiver.ask(&post.head(max + 1)).unwrap();
    assert_eq!((announced.status, announced.text("status").as_str()), (413, "too_large"));
    let mut connection = receiver.connect().unwrap();
    let chunked = String::from_utf8(post.head(0)).unwrap().replace("content-length: 0", "transfer-encoding: chunked");
    connection.send(chunked.as_bytes()).unwrap();
    let piece = [b"100000\r\n".to_vec(), vec![b' '; 0x10_0000], b"\r\n".to_vec()].concat();
    for _ in 0..26 {
        connection.send(&piece).unwrap();
    }
    assert_eq!(connection.answer().unwrap().status, 413);
    let largest = vec![b' '; max];
    assert_eq!(receiver.post(&Post::signed("push", "1", largest)).unwrap().status, 422);
    assert_eq!(installation.records().unwrap().len(), 0);
}

#[test]
fn a_body_that_takes_too_long_is_408() {
    let (installation, receiver) = started();
    let mut connection = receiver.connect().unwrap();
    connection.send(&Post::push("master", 1).head(100)).unwrap();
    connection.send(b"{").unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.text("status").as_str()), (408, "too_slow"));
    assert_eq!(installation.records().unwrap().len(), 0);
}

#[test]
fn over_a_unix_socket_the_proxys_word_on_the_client_is_logged() {
    let installation = Installation::new().unwrap();
    let folder = installation.path().join("run");
    std::fs::create_dir(&folder).unwrap();
    installation.give_to_user(&folder).unwrap();
    installation.write_config(&format!("unix:{}/receiver.sock", folder.display()), "").unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.address(), format!("unix:{}/receiver.sock", folder.display()));
    let post = Post::push("master", 1).and("x-forwarded-for", "198.51.100.7, 203.0.113.9");
    assert_eq!(receiver.post(&post).unwrap().status, 202);
    receiver.stop().unwrap();
    assert!(installation.log().unwrap().contains(" from 203.0.113.9: accepted"), "{}", installation.log().unwrap());
    assert!(!folder.join("receiver.sock").exists());
}
