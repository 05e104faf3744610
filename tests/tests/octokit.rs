//! What others wrote, against the real receiver: npm's `@octokit/webhooks-methods` signs deliveries that it takes, and
//! verifies those that Hookspool signs; `@octokit/webhooks-examples` holds hundreds of bodies of some sixty kinds.
//! `tests/run` installs both into `target/npm`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hookspool_common::event::Kind;
use hookspool_common::forges::{Dialect, Provider, Reading};
use hookspool_common::headers::Headers;
use hookspool_tests::programs::workspace;
use hookspool_tests::receiver::{Installation, Post, secret};
use serde_json::{Value, json};

const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// Signs every body, as it is and in a form, and says of every body and signature whether they belong together.
const SCRIPT: &str = r#"
import { readFileSync } from "node:fs";
import { sign, verify } from "@octokit/webhooks-methods";
const { secret, bodies, signed } = JSON.parse(readFileSync(0, "utf8"));
const signatures = await Promise.all(bodies.map((body) => sign(secret, body)));
const forms = bodies.map((body) => new URLSearchParams({ payload: body }).toString());
const formSignatures = await Promise.all(forms.map((form) => sign(secret, form)));
const verified = await Promise.all(signed.map(([body, signature]) => verify(secret, body, signature)));
console.log(JSON.stringify({ signatures, forms, formSignatures, verified }));
"#;

/// The examples of GitHub's documentation, as others keep them: one list of event and bodies after the other.
const EXAMPLES: &str = r#"
import { createRequire } from "node:module";
const examples = createRequire(process.cwd() + "/")("@octokit/webhooks-examples");
console.log(JSON.stringify((examples.default ?? examples).map(({ name, examples }) => [name, examples])));
"#;

/// What octokit says of bodies and signatures, or nothing where it is absent.
fn ask_octokit(bodies: &[String], signed: &[(String, String)]) -> Option<Value> {
    let secret = String::from_utf8(secret().bytes().to_vec()).unwrap();
    ask_node("webhooks-methods", SCRIPT, &json!({ "secret": secret, "bodies": bodies, "signed": signed }))
}

/// What a script prints that uses this module of octokit's, or nothing where it is absent.
fn ask_node(module: &str, script: &str, question: &Value) -> Option<Value> {
    let folder = workspace().join("target/npm");
    let is_there = folder.join("node_modules/@octokit").join(module).join("package.json").exists();
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if !is_there || node.is_err() {
        println!("SKIPPED: node or @octokit/{module} is not installed; tests/run installs them");
        return None;
    }
    let mut node = Command::new("node")
        .args(["--input-type=module", "--eval", script])
        // Modules are looked for from the present folder on.
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A script that asks nothing may have ended already.
    let _ = node.stdin.take().unwrap().write_all(question.to_string().as_bytes());
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "node: {}", output.status);
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Events and bodies: what GitHub sent, where that is at hand, and some that only the bytes tell apart.
fn deliveries() -> Vec<(&'static str, String)> {
    let mut deliveries: Vec<(&str, String)> = vec![
        ("ping", r#"{"zen":"Keep it logically awesome.","hook_id":1}"#.to_owned()),
        ("ping", "{\"zen\":\"Keep it logically awesome.\",\"hook_id\":1}\n".to_owned()),
        ("star", r#"{"action":"created","sender":{"login":"Ĺ ünïcode 🦀 \u0000 \\ \""}}"#.to_owned()),
        ("watch", " { } ".to_owned()),
    ];
    deliveries.extend(recordings().into_iter().map(|body| ("push", body)));
    deliveries
}

/// The bodies that are handed to developers beside the project.
fn recordings() -> Vec<String> {
    let folder: PathBuf = workspace().join("../shared/payloads/github");
    let Ok(entries) = fs::read_dir(folder) else {
        println!("SKIPPED: ../shared/payloads/github is not there");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn the_receiver_takes_what_octokit_signs() {
    let deliveries = deliveries();
    let bodies: Vec<String> = deliveries.iter().map(|(_, body)| body.clone()).collect();
    let Some(answer) = ask_octokit(&bodies, &[]) else { return };
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    for (number, (event, body)) in deliveries.iter().enumerate() {
        let signature = answer["signatures"][number].as_str().unwrap();
        let post = Post::signed(event, &format!("octokit-{number}"), body.as_str()).with(SIGNATURE_HEADER, signature);
        let answer = receiver.post(&post).unwrap();
        assert!((200..300).contains(&answer.status), "{event} {body:.100}: {} {}", answer.status, answer.body);
        let forged = Post::signed(event, &format!("forged-{number}"), format!("{body} ")).with(SIGNATURE_HEADER, signature);
        assert_eq!(receiver.post(&forged).unwrap().status, 401, "{event} {body:.100}");
    }
    assert_eq!(installation.records().unwrap().len(), deliveries.len());
}

#[test]
fn octokit_verifies_what_hookspool_signs() {
    let mut signed = Vec::new();
    for (event, body) in deliveries() {
        let signature = Post::signed(event, "id", body.as_str()).header(SIGNATURE_HEADER).unwrap();
        signed.push((format!("{body} "), signature.clone()));
        signed.push((body, signature));
    }
    let Some(answer) = ask_octokit(&[], &signed) else { return };
    for (number, (body, _)) in signed.iter().enumerate() {
        let is_whole = number % 2 == 1;
        assert_eq!(answer["verified"][number], Value::Bool(is_whole), "{body:.100}");
    }
}

/// What every example of these is read as. Others start nothing.
const READ: [(&str, Kind); 19] = [
    ("check_run", Kind::Check),
    ("check_suite", Kind::Check),
    ("commit_comment", Kind::Comment),
    ("create", Kind::Tag),
    ("delete", Kind::TagDeleted),
    ("deployment", Kind::Deployment),
    ("deployment_status", Kind::Deployment),
    ("issue_comment", Kind::Comment),
    ("issues", Kind::Issue),
    ("merge_group", Kind::Push),
    ("package", Kind::Package),
    ("ping", Kind::Ping),
    ("pull_request", Kind::PullRequest),
    ("pull_request_review", Kind::Comment),
    ("pull_request_review_comment", Kind::Comment),
    ("push", Kind::Push),
    ("release", Kind::Release),
    ("status", Kind::Check),
    ("workflow_run", Kind::Pipeline),
];

/// The examples of GitHub's documentation: an event and a body each.
fn examples() -> Option<Vec<(String, Value)>> {
    let kinds = ask_node("webhooks-examples", EXAMPLES, &Value::Null)?;
    let kinds = kinds.as_array().unwrap().iter();
    let of_kind = |kind: &Value| -> Vec<(String, Value)> {
        let named = |body: &Value| (kind[0].as_str().unwrap().to_owned(), body.clone());
        kind[1].as_array().unwrap().iter().map(named).collect()
    };
    Some(kinds.flat_map(of_kind).collect())
}

/// What the example says, through the same function as the receiver's.
fn read(event: &str, body: &str) -> Reading {
    let mut headers = Headers::new();
    headers.add("x-github-event", event);
    Dialect::Forge(Provider::Github).read(&headers, body.as_bytes()).unwrap()
}

/// A push and the like may be about a tag or a branch that is gone; everything else is of one kind.
fn is_read_as(found: Kind, wanted: Kind) -> bool {
    let moved = [Kind::Push, Kind::BranchCreated, Kind::BranchDeleted, Kind::Tag, Kind::TagDeleted];
    found == wanted || (moved.contains(&found) && moved.contains(&wanted))
}

#[test]
fn every_example_of_githubs_documentation_is_read_as_what_it_is_and_no_tag_is_a_branch() {
    let Some(examples) = examples() else { return };
    let mut read_kinds = BTreeSet::new();
    for (event, body) in &examples {
        let wanted = READ.iter().find(|(name, _)| name == event).map(|(_, kind)| *kind);
        let events = match (read(event, &body.to_string()), wanted) {
            (Reading::Events(events), Some(wanted)) => {
                assert!(events.len() == 1 && is_read_as(events[0].kind, wanted), "{event}: {events:?}");
                events
            }
            (Reading::Nothing(reason), None) => {
                assert!(!reason.contains("shape"), "{event}: {reason}");
                continue;
            }
            (reading, _) => panic!("{event} {}: {reading:?}", body["action"]),
        };
        let names_a_tag = body["ref_type"] == "tag" || body["ref"].as_str().is_some_and(|name| name.starts_with("refs/tags/"));
        for found in events {
            assert!(found.is_consistent() && !(names_a_tag && found.branch.is_some()), "{found:?}");
            if found.kind != Kind::Push {
                assert_eq!(found.action().unwrap_or_default(), body["action"].as_str().unwrap_or_default(), "{event}");
            }
        }
        read_kinds.insert(event.as_str());
    }
    assert_eq!(read_kinds.len(), READ.len(), "{read_kinds:?}");
    assert!(examples.len() >= 300, "{} examples", examples.len());
}

#[test]
fn the_receiver_takes_every_example_as_octokit_signs_it_in_json_and_in_a_form() {
    let Some(examples) = examples() else { return };
    let bodies: Vec<String> = examples.iter().map(|(_, body)| body.to_string()).collect();
    let Some(signed) = ask_octokit(&bodies, &[]) else { return };
    let text = |list: &str, number: usize| signed[list][number].as_str().unwrap().to_owned();
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let mut connection = receiver.connect().unwrap();
    let mut send = |post: Post| {
        connection.send(&post.bytes()).unwrap();
        connection.answer().unwrap()
    };
    for (number, (event, _)) in examples.iter().enumerate() {
        let in_json = Post::signed(event, &format!("json-{number}"), bodies[number].as_str());
        let in_json = send(in_json.with(SIGNATURE_HEADER, text("signatures", number)));
        let in_a_form = Post::signed(event, &format!("form-{number}"), text("forms", number));
        let in_a_form = in_a_form.with("content-type", "application/x-www-form-urlencoded");
        let in_a_form = send(in_a_form.with(SIGNATURE_HEADER, text("formSignatures", number)));
        assert!((200..300).contains(&in_json.status), "{event}: {} {}", in_json.status, in_json.body);
        assert_eq!((in_a_form.status, in_a_form.text("reason")), (in_json.status, in_json.text("reason")), "{event}");
    }
}
