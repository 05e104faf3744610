//! What the receiver says of requests, and what it never says.

use std::process::Command;

use hookspool_common::forges::Provider;
use hookspool_common::secrets::Secret;
use hookspool_tests::receiver::{Installation, Post, push_body};
use serde_json::Value;

/// In every body that is sent.
const BODY_MARKER: &str = "marker-in-the-body";

const SECRET: &str = "the-secret-of-the-source";

const TOKEN: &str = "the-token-of-gitlab";

/// Starts a receiver with this command, lets `ask` talk to it, and gives what it logged in all.
fn logged(installation: &Installation, command: &mut Command, ask: impl FnOnce(&dyn Fn(&Post) -> u16)) -> String {
    let receiver = installation.start_with(command).unwrap();
    ask(&|post| receiver.post(post).unwrap().status);
    receiver.stop().unwrap();
    installation.log().unwrap()
}

/// Good and hostile requests; gives every signature that was sent.
fn ask_everything(post: &dyn Fn(&Post) -> u16) -> Vec<String> {
    let body = push_body("master", 1).replacen('{', &format!("{{\"note\":\"{BODY_MARKER}\","), 1);
    let by =
        |secret: &str, id: &str, body: &str| Post::signed_with(&Secret::new(secret.into()), Provider::Github, "push", id, body);
    let posts = [
        (202, by(SECRET, "1", &body)),
        (200, by(SECRET, "1", &body)),
        (401, by("another", "2", &body)),
        (401, by(SECRET, "3", &body).with_body(format!("{body} "))),
        (401, by(SECRET, "4", &body).and("x-hub-signature-256", "sha256=00")),
        (415, by(SECRET, "5", &body).with("content-type", "text/plain")),
        (422, by(SECRET, "6", &format!("{{\"{BODY_MARKER}"))),
        (200, by(SECRET, "7", &body.replace("refs/heads/master", &format!("refs/heads/{BODY_MARKER}~")))),
        (401, by(SECRET, "8", &body).and("authorization", TOKEN).without("x-hub-signature-256")),
    ];
    for (number, (status, request)) in posts.iter().enumerate() {
        assert_eq!(post(request), *status, "request {number}");
    }
    let signatures = posts.iter().filter_map(|(_, post)| post.header("x-hub-signature-256"));
    signatures.map(|signature| signature.trim_start_matches("sha256=").to_owned()).collect()
}

#[test]
fn no_secret_signature_token_or_body_is_in_any_log() {
    for format in ["text", "json"] {
        let installation = Installation::new().unwrap();
        installation.write_secret("webhook", SECRET).unwrap();
        let mut command = installation.command().unwrap();
        command.args(["--log-format", format]).env("RUST_LOG", "trace");
        let mut signatures = Vec::new();
        let log = logged(&installation, &mut command, |post| signatures = ask_everything(post));
        assert!(log.contains("unauthorized") && log.contains("malformed") && signatures.len() == 8, "{log}");
        // A ref that git would refuse may be named in an answer, where the one reads it who wrote it, and not in the log.
        for never in [SECRET, TOKEN, BODY_MARKER].into_iter().chain(signatures.iter().map(String::as_str)) {
            assert!(!log.contains(never), "{never} in {log}");
        }
    }
}

#[test]
fn a_method_of_ten_thousand_letters_is_cut_in_the_log() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let request = format!("{} /nowhere HTTP/1.1\r\nhost: x\r\n\r\n", "M".repeat(10_000));
    assert_eq!(receiver.ask(request.as_bytes()).unwrap().status, 404);
    receiver.stop().unwrap();
    let log = installation.log().unwrap();
    let line = log.lines().find(|line| line.contains("/nowhere")).unwrap();
    assert!(line.contains("MMM") && line.len() < 300, "{line}");
}

#[test]
fn lines_for_people_begin_with_what_happened_and_json_has_every_field() {
    let installation = Installation::new().unwrap();
    let post = Post::push("master", 1);
    let text = logged(&installation, &mut installation.command().unwrap(), |ask| assert_eq!(ask(&post), 202));
    let line = text.lines().find(|line| line.contains("status=202")).unwrap();
    assert!(line.contains(r#"INFO POST "/hooks/github" from 127.0.0.1: accepted source=github status=202 delivery="#), "{line}");

    let installation = Installation::new().unwrap();
    let mut command = installation.command().unwrap();
    let log = logged(&installation, command.args(["--log-format", "json"]), |ask| assert_eq!(ask(&post), 202));
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let request = lines.iter().find(|line| line["status"] == 202).unwrap();
    assert_eq!(request["message"], r#"POST "/hooks/github" from 127.0.0.1: accepted"#);
    for (field, value) in [("source", "github"), ("answer", "accepted"), ("client", "127.0.0.1"), ("method", "POST")] {
        assert_eq!(request[field], value);
    }
    assert_eq!(request["delivery"], installation.records().unwrap()[0].id.to_string());
}

#[test]
fn rust_log_says_how_much_is_logged_and_is_not_passed_over_in_silence() {
    let with = |wanted: &str| {
        let installation = Installation::new().unwrap();
        let mut command = installation.command().unwrap();
        logged(&installation, command.env("RUST_LOG", wanted), |ask| assert_eq!(ask(&Post::push("master", 1)), 202))
    };
    assert_eq!(with("warn"), "");
    assert!(with("hookspool_receiver=debug").contains("status=202"));
    let log = with("hookspool_receiver=loud");
    assert!(log.contains("WARN RUST_LOG is not understood") && log.contains("loud") && log.contains("status=202"), "{log}");
}
