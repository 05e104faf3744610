//! What others wrote, against the real receiver: npm's `@octokit/webhooks-methods` signs deliveries that it takes, and
//! verifies those that Hookspool signs; `@octokit/webhooks-examples` holds hundreds of bodies of some sixty kinds.
//! `tests/run` installs both into `target/npm`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hookspool_common::forges::{Dialect, Provider, Reading};
use hookspool_common::headers::Headers;
use hookspool_tests::programs::workspace;
use hookspool_tests::receiver::{Installation, Post, secret};
use serde_json::{Value, json};

const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// Signs every body, and says of every body and signature whether they belong together.
const SCRIPT: &str = r#"
import { readFileSync } from "node:fs";
import { sign, verify } from "@octokit/webhooks-methods";
const { secret, bodies, signed } = JSON.parse(readFileSync(0, "utf8"));
const signatures = await Promise.all(bodies.map((body) => sign(secret, body)));
const verified = await Promise.all(signed.map(([body, signature]) => verify(secret, body, signature)));
console.log(JSON.stringify({ signatures, verified }));
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

#[test]
fn every_example_of_githubs_documentation_is_taken_and_no_tag_is_a_branch() {
    let Some(examples) = ask_node("webhooks-examples", EXAMPLES, &Value::Null) else { return };
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let mut connection = receiver.connect().unwrap();
    let (mut kinds, mut bodies) = (0, 0);
    for kind in examples.as_array().unwrap() {
        kinds += 1;
        for example in kind[1].as_array().unwrap() {
            bodies += 1;
            let (event, body) = (kind[0].as_str().unwrap(), example.to_string());
            connection.send(&Post::signed(event, &format!("example-{bodies}"), body.clone()).bytes()).unwrap();
            let answer = connection.answer().unwrap();
            assert!((200..300).contains(&answer.status), "{event}: {} {}", answer.status, answer.body);
            let mut headers = Headers::new();
            headers.add("x-github-event", event);
            let read = Dialect::Forge(Provider::Github).read(&headers, body.as_bytes()).unwrap();
            let Reading::Events(events) = read else { continue };
            let names_a_tag =
                example["ref_type"] == "tag" || example["ref"].as_str().is_some_and(|name| name.starts_with("refs/tags/"));
            for event in events {
                assert!(event.is_consistent() && !(names_a_tag && event.branch.is_some()), "{event:?}");
            }
        }
    }
    assert!(kinds >= 50 && bodies >= 300, "{kinds} kinds, {bodies} bodies");
}
