//! What came in, listed and shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use hookspool_tests::programs::{install, program};
use hookspool_tests::server::{Delivery, RECEIVER_USER, text};
use nix::unistd::User;
use serde_json::{Value, json};

use crate::{changed, err, out, server, skipped, uid_of};

#[test]
fn what_came_in_is_listed_with_what_became_of_it() {
    let (server, [pushed, ignored]) = server();
    let listed = server.json(&["deliveries", "--json"]);
    let ids = |listed: &Value| listed.as_array().unwrap().iter().map(|one| text(&one["provider_id"])).collect::<Vec<_>>();
    assert_eq!(ids(&listed), [ignored.id.clone(), pushed.id.clone()]);
    let sha = &server.laptop.head()[..10];
    assert_eq!((&listed[0]["answer"], &listed[0]["runs"]), (&json!("ignored"), &json!([])));
    assert!(text(&listed[0]["reason"]).contains("branch \"develop\" does not fit"), "{listed}");
    assert_eq!(listed[0]["events"], json!([format!("push refs/heads/develop {sha}")]));
    assert_eq!((&listed[1]["answer"], &listed[1]["runs"], &listed[1]["reason"]), (&json!("accepted"), &json!([1]), &Value::Null));
    assert_eq!(listed[1]["jobs"], json!([{ "repository": "github.com/octo/shop", "job": "tests" }]));
    assert!(listed[1]["imported_at"].is_string(), "{listed}");
    for (words, expected) in [
        (vec!["-n", "1"], vec![&ignored.id]),
        (vec!["--answer", "accepted"], vec![&pushed.id]),
        (vec!["--answer", "pong"], vec![]),
        (vec!["--source", "github", "--since", "1h"], vec![&ignored.id, &pushed.id]),
        (vec!["--source", "another"], vec![]),
    ] {
        assert_eq!(
            ids(&server.json(&[&["deliveries", "--json"], words.as_slice()].concat())).iter().collect::<Vec<_>>(),
            expected
        );
    }
    let ping = server.hookspool(&["send", "--source", "github", "--url", &server.url()]);
    let answer: Value = serde_json::from_slice(&ping.stdout[b"200 ".len()..]).unwrap();
    // By the word of the answer, and by that of the event.
    for word in ["pong", "ping"] {
        let listed = server.json(&["deliveries", "--answer", word, "--json"]);
        let is = ["status", "delivery"].map(|key| &answer[key]);
        assert_eq!(["answer", "delivery"].map(|key| &listed[0][key]), is, "{word}: {listed}");
    }
    assert_eq!(out(&server.hookspool(&["deliveries", "--answer", "pong"])).matches(" pong ").count(), 1);
    let printed = out(&server.hookspool(&["deliveries"]));
    let line = printed.lines().find(|line| line.contains(&pushed.id)).unwrap();
    assert!(["accepted", "github", "push refs/heads/master", "  1  "].iter().all(|text| line.contains(text)), "{printed}");
    assert!(printed.lines().next().unwrap().starts_with("RECEIVED"), "{printed}");
    // What nobody has taken over yet is there, too.
    let late = server.deliver(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.json(&["deliveries", &late, "--json"])["imported_at"], Value::Null);
    assert!(out(&server.hookspool(&["deliveries"])).contains("not yet"));
    for wrong in [vec!["--answer", "maybe"], vec!["--since", "yesterday"], vec!["--body"], vec![&late, "-n", "3"]] {
        assert_eq!(server.hookspool(&[&["deliveries"], wrong.as_slice()].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn one_delivery_is_shown_with_its_headers_and_its_body_byte_for_byte() {
    let (server, [_, ignored]) = server();
    let shown = server.json(&["deliveries", &ignored.id, "--json"]);
    assert_eq!(shown["headers"]["x-github-event"], "push");
    assert!(shown["headers"].as_object().unwrap().keys().all(|name| !name.contains("signature")), "{shown}");
    assert_eq!(shown["events"][0]["branch"], "develop");
    assert_eq!(shown, server.json(&["deliveries", &text(&shown["delivery"]), "--json"]));
    let body = server.hookspool(&["deliveries", &ignored.id, "--body"]).stdout;
    assert_eq!(String::from_utf8(body).unwrap(), ignored.body.to_string());
    let printed = out(&server.hookspool(&["deliveries", &ignored.id]));
    for expected in ["answer ", "ignored", "  x-github-event: push", "\"full_name\": \"octo/shop\"", "push refs/heads/develop"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    // Into `explain`, under a configuration that wants it.
    let new = changed(&server, "new", |text| text.replace("branch = \"master\"", "branch = \"*\""));
    let script = format!(
        "{hookspool} deliveries {} --body --config {} | {hookspool} explain --source github --header 'X-GitHub-Event: push' --body - --config {}",
        ignored.id,
        server.config().display(),
        new.display(),
        hookspool = program("hookspool").display(),
    );
    let explained = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(out(&explained).contains("would run: job `tests`"), "{}{}", out(&explained), err(&explained));
    let unknown = server.hookspool(&["deliveries", "no-such-delivery"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", err(&unknown));
}

#[test]
fn whoever_may_not_read_the_inbox_is_told_so() {
    if skipped() {
        return;
    }
    let (server, [pushed, _]) = server();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    install(folder.path());
    for words in [vec!["deliveries"], vec!["replay", &pushed.id]] {
        let mut command = Command::new(folder.path().join("hookspool"));
        command.args(&words).arg("--config").arg(server.config()).uid(uid_of("bin")).gid(uid_of("bin"));
        let refused = command.output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains("it is the receiver's and root's"), "{}", err(&refused));
    }
    // The receiver's user may see what came, and not what became of it; and makes no runs.
    let mut command = Command::new(folder.path().join("hookspool"));
    let as_receiver = command.uid(uid_of(RECEIVER_USER)).gid(User::from_name(RECEIVER_USER).unwrap().unwrap().gid.as_raw());
    let listed = as_receiver.args(["deliveries", "--config"]).arg(server.config()).output().unwrap();
    assert!(out(&listed).contains(&pushed.id) && err(&listed).contains("what became of them is not shown"), "{listed:?}");
    let mut command = Command::new(folder.path().join("hookspool"));
    let as_receiver = command.uid(uid_of(RECEIVER_USER)).gid(User::from_name(RECEIVER_USER).unwrap().unwrap().gid.as_raw());
    let refused = as_receiver.args(["replay", &pushed.id, "--config"]).arg(server.config()).output().unwrap();
    assert_eq!(
        (refused.status.code(), err(&refused).contains("belongs to whoever runs the worker")),
        (Some(1), true),
        "{refused:?}"
    );
    assert_eq!(server.runs().len(), 1);
}
