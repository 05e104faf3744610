//! Input that nobody well-behaved would send. Nothing runs, nothing is lost, and the receiver lives on.

use std::io;

use hookspool_common::record::Answer;
use hookspool_tests::receiver::{Installation, Post, RunningReceiver};

fn started() -> (Installation, RunningReceiver) {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    (installation, receiver)
}

#[test]
fn a_body_that_is_cut_off_is_not_stored_and_nobody_is_answered() {
    let (installation, receiver) = started();
    let bytes = Post::push("master", 1).bytes();
    for cut in [bytes.len() - 1, bytes.len() - 50] {
        let mut connection = receiver.connect().unwrap();
        connection.send(&bytes[..cut]).unwrap();
        connection.finish().unwrap();
        assert_eq!(connection.answer().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
    assert_eq!(installation.records().unwrap().len(), 0);
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
}

#[test]
fn a_head_of_one_mebibyte_is_refused_with_431() {
    let (installation, receiver) = started();
    let mut connection = receiver.connect().unwrap();
    // The receiver may close before all of it is sent.
    let _ = connection.send(&Post::push("master", 1).and("x-large", vec![b'x'; 1024 * 1024]).bytes());
    assert_eq!(connection.answer().unwrap().status, 431);
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    assert_eq!(installation.records().unwrap().len(), 1);
}

#[test]
fn what_is_not_http_is_not_served() {
    let (_installation, receiver) = started();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"] {
        let mut connection = receiver.connect().unwrap();
        connection.send(bytes).unwrap();
        connection.finish().unwrap();
        let answer = connection.answer();
        assert!(answer.as_ref().map_or(true, |answer| answer.status >= 400), "{bytes:?}: {answer:?}");
    }
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
}

#[test]
fn a_length_that_is_said_twice_or_in_two_ways_is_not_believed() {
    let (installation, receiver) = started();
    let post = Post::push("master", 1);
    let bytes = post.bytes();
    let smuggling = [("content-length", "3"), ("transfer-encoding", "chunked, identity")];
    for (name, value) in smuggling {
        let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut request = bytes[..head_end].to_vec();
        request.extend_from_slice(format!("\r\n{name}: {value}").as_bytes());
        request.extend_from_slice(&bytes[head_end..]);
        let answer = receiver.ask(&request);
        assert!(answer.as_ref().map_or(true, |answer| answer.status == 400), "{name}: {answer:?}");
    }
    assert_eq!(installation.records().unwrap().len(), 0);
}

#[test]
fn json_ten_thousand_levels_deep_starts_nothing() {
    let (installation, receiver) = started();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let within = format!(r#"{{"ref":{deep},"repository":{objects}}}"#);
    let beside = String::from_utf8(Post::push("develop", 1).bytes()).unwrap();
    let (_, body) = beside.split_once("\r\n\r\n").unwrap();
    let beside = body.replacen('{', &format!(r#"{{"deep":{deep},"#), 1);
    for (number, body) in [deep.clone(), objects, within, beside].iter().enumerate() {
        for event in ["push", "pull_request", "sponsorship", "ping"] {
            let answer = receiver.post(&Post::signed(event, &format!("{event}-{number}"), body.as_str())).unwrap();
            assert!([200, 422].contains(&answer.status), "{event} {number}: {}", answer.body);
        }
    }
    assert!(installation.records().unwrap().iter().all(|record| record.answer != Answer::Accepted));
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
}

#[test]
fn branches_with_hostile_names_are_names_or_nothing() {
    let installation = Installation::new().unwrap();
    let every_branch = r#"
repository = "github.com/owner/project"
source = "github"
clone = "https://github.com/owner/project.git"
[[job]]
name = "any"
when = [{ event = "push", branch = "**" }]
build = "true"
"#;
    installation.write_repository("project", every_branch).unwrap();
    let receiver = installation.start().unwrap();
    // git allows these as refs (git-check-ref-format(1)), so a job may want them; they are data all the way.
    for (number, branch) in (1..).zip(["$(reboot)", "-rf"]) {
        assert_eq!(receiver.post(&Post::push(branch, number)).unwrap().status, 202);
        let event = installation.records().unwrap().pop().unwrap().proposals.remove(0).event;
        assert_eq!(event.branch.as_deref(), Some(branch));
        assert_eq!(event.reference.unwrap().to_string(), format!("refs/heads/{branch}"));
    }
    for (number, branch) in (3..).zip(["../../etc", "a\\nb", "a\\u0000b", "a..b", "", "a b", "/a", "a.lock"]) {
        let answer = receiver.post(&Post::push(branch, number)).unwrap();
        assert_eq!((answer.status, answer.text("status").as_str()), (200, "ignored"), "{branch:?}");
        assert!(answer.text("reason").contains("not of the shape"), "{branch:?}: {}", answer.body);
    }
    let not_utf8 = [b"{\"ref\":\"refs/heads/".to_vec(), b"\xff\xfe".to_vec(), b"\"}".to_vec()].concat();
    assert_eq!(receiver.post(&Post::signed("push", "20", not_utf8)).unwrap().status, 422);
    assert_eq!(installation.records().unwrap().iter().filter(|record| record.answer == Answer::Accepted).count(), 2);
}

#[test]
fn line_breaks_from_outside_do_not_make_lines_in_the_log() {
    let (installation, receiver) = started();
    let post = Post::push("master", 1).with("x-github-delivery", b"one\tstatus=200 \xc2\x85two".to_vec());
    assert_eq!(receiver.post(&post).unwrap().status, 202);
    receiver.stop().unwrap();
    let log = installation.log().unwrap();
    let line = log.lines().find(|line| line.contains("status=202")).unwrap();
    assert!(line.contains(r"one\tstatus=200 \u{85}two"), "{line}");
}
