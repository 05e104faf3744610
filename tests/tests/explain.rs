//! `hookspool explain`: what a payload tells of and would run, without a receiver.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::{Command, Output, Stdio};

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::forges::{Dialect, Provider, Sent};
use hookspool_tests::programs::{program, workspace};
use hookspool_tests::receiver::secret;
use hookspool_tests::server::{Delivery, Server, text};
use serde_json::{Value, json};

const JOBS: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", branch = [\"master\", \"release/*\"] }]\nbuild = \"echo built; exit 3\"\n\
    [[job]]\nname = \"image\"\nwhen = [{ event = \"tag\", tag = \"v*\" }]\nbuild = \"true\"\n";

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// What `explain` says of a delivery, as JSON.
fn explain(server: &Server, delivery: &Delivery) -> Value {
    let body = server.path().join("body.json");
    fs::write(&body, delivery.body.to_string()).expect("a file can be written");
    let header = format!("X-GitHub-Event: {}", delivery.event);
    server.json(&["explain", "--source", "github", "--header", &header, "--body", &body.to_string_lossy(), "--json"])
}

#[test]
fn explain_says_what_would_run_or_the_first_condition_that_failed_and_stores_nothing() {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    let explained = explain(&server, &Delivery::push("release/1", &sha));
    assert_eq!(keys(&explained), ["events", "matches", "misses"]);
    assert_eq!(explained["matches"], json!([{ "repository": "github.com/octo/shop", "job": "tests" }]));
    assert_eq!(explained["misses"][0]["job"], "image");
    assert_eq!(explained["misses"][0]["reason"], "the event is `push`, not `tag`");
    let explained = explain(&server, &Delivery::push("develop", &sha));
    assert_eq!(explained["matches"], json!([]));
    let reason = text(&explained["misses"][0]["reason"]);
    assert!(reason.contains("branch \"develop\" does not fit") && reason.contains("release/*"), "{reason}");
    assert!(text(&explained["reason"]).contains("job `tests`: branch"), "{explained}");
    // Nothing is stored, nothing runs.
    server.run_pass();
    assert!(server.runs().is_empty() && !server.spool().join("wake").exists());
}

/// The events of a recording, as they were reviewed.
fn reviewed(provider: Provider, name: &str) -> Value {
    let file = format!("hookspool_common__forges__conformance__{}-{name}.snap", provider.as_str());
    let snapshot = fs::read_to_string(workspace().join("common/src/forges/snapshots").join(&file));
    let snapshot = snapshot.unwrap_or_else(|error| panic!("{file}: {error}"));
    let (_, events) = snapshot.split_once("\n---\n").unwrap();
    serde_json::from_str(events).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn explain_says_of_every_recorded_delivery_what_was_reviewed_and_takes_no_tag_for_a_branch() {
    let recordings = workspace().join("../shared/payloads");
    // What a Pact Broker sends is the operator's template, so that nobody has recordings of it.
    for provider in Provider::ALL.into_iter().filter(|provider| *provider != Provider::PactBroker) {
        let folder = recordings.join(provider.as_str());
        let Ok(files) = fs::read_dir(&folder) else {
            println!("SKIPPED: {} is absent", folder.display());
            continue;
        };
        let mut kinds = Vec::new();
        for file in files.map(|file| file.unwrap().path()) {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let reviewed = reviewed(provider, &name);
            // No recording has its headers. The event's name is GitHub's and everybody's word for what was reviewed.
            let sent = Sent { event: &text(&reviewed[0]["provider_event"]), id: "an-id", body: b"", at: SystemClock.now() };
            let mut command = Command::new(program("hookspool"));
            command.args(["explain", "--json", "--provider", provider.as_str(), "--body"]).arg(&file).stdin(Stdio::null());
            for (header, value) in Dialect::Forge(provider).headers_of_a_delivery(&sent, &secret()).iter() {
                command.args(["--header", &format!("{header}: {value}")]);
            }
            let output = command.output().unwrap();
            assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""), "{}", file.display());
            let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(explained, json!({ "events": reviewed }), "{}", file.display());
            for event in explained["events"].as_array().unwrap() {
                let reference = text(&event["ref"]);
                assert_eq!(event["branch"].is_string(), reference.starts_with("refs/heads/"), "{}", file.display());
                assert_eq!(event["tag"].is_string(), reference.starts_with("refs/tags/"), "{}", file.display());
                kinds.push((name.clone(), text(&event["kind"])));
            }
        }
        let is = |name: &str, kind: &str| kinds.iter().any(|known| *known == (name.to_owned(), kind.to_owned()));
        assert!(is("HookPush", "push"), "{}: {kinds:?}", provider.as_str());
        // Neither Bitbucket's recordings hold one.
        let has_tag = kinds.iter().any(|(name, _)| name == "HookTag");
        assert!(is("HookTag", "tag") == has_tag && has_tag != provider.as_str().starts_with("bitbucket"), "{kinds:?}");
    }
}

#[test]
fn explain_of_what_nobody_knows_gives_no_events_and_a_reason() {
    let server = Server::new(JOBS);
    let mut delivery = Delivery::push("master", &server.laptop.head());
    for event in ["star", "something_new_of_next_year", "release"] {
        delivery.event = event;
        let explained = explain(&server, &delivery);
        assert_eq!(explained["events"], json!([]), "{event}");
        assert!(text(&explained["reason"]).contains(event), "{explained}");
    }
    let body = server.path().join("body.json");
    let words = ["explain", "--source", "github", "--header", "X-GitHub-Event: push", "--body", &body.to_string_lossy()];
    fs::write(&body, "not JSON").unwrap();
    assert_eq!(server.hookspool(&words).status.code(), Some(1));
    fs::write(&body, "[1, 2]").unwrap();
    assert!(out(&server.hookspool(&words)).contains("not of the shape"), "{}", out(&server.hookspool(&words)));
}
