//! Generic sources through the real receiver: every form of proof that can be described, each made by openssl, which
//! shares nothing with Hookspool, and facts from every place.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hookspool_common::event::{Event, Kind};
use hookspool_tests::receiver::{Answer, Installation, Post, RunningReceiver};

const KEY: &str = "a key of the sender's";
const BODY: &str = r#"{"action":"published"}"#;

/// A form of proof: its name, and the lines of a source that takes it.
const FORMS: [(&str, &str); 8] = [
    ("plain", ""),
    ("hex", "signature = { header = \"X-Signature\", prefix = \"v0=\" }"),
    ("base64", "signature = { header = \"X-Signature\", encoding = \"base64\" }"),
    ("sha512", "signature = { header = \"X-Signature\", encoding = \"base64\", algorithm = \"sha512\" }"),
    ("sha1", "signature = { header = \"X-Signature\", prefix = \"sha1=\", algorithm = \"sha1\", insecure = true }"),
    ("timed", "timestamp = { header = \"X-Timestamp\" }"),
    ("standard", "signature = \"standard-webhooks\""),
    ("token", "token = { header = \"Authorization\", prefix = \"Bearer \" }"),
];

/// What openssl makes of `input`.
fn openssl(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {words:?}");
    output.stdout
}

fn base64(bytes: &[u8]) -> String {
    String::from_utf8(openssl(&["base64", "-A"], bytes)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The headers with which a sender of this form, whose key this is, proves a body at a time.
fn proof(form: &str, key: &str, at: u64, body: &str) -> Vec<(&'static str, String)> {
    let hmac = |hash: &str, text: &str| openssl(&["dgst", hash, "-binary", "-hmac", key], text.as_bytes());
    match form {
        "plain" => vec![("x-hub-signature-256", format!("sha256={}", hex(&hmac("-sha256", body))))],
        "hex" => vec![("x-signature", format!("v0={}", hex(&hmac("-sha256", body))))],
        "base64" => vec![("x-signature", base64(&hmac("-sha256", body)))],
        "sha512" => vec![("x-signature", base64(&hmac("-sha512", body)))],
        "sha1" => vec![("x-signature", format!("sha1={}", hex(&hmac("-sha1", body))))],
        "timed" => vec![
            ("x-timestamp", at.to_string()),
            ("x-hub-signature-256", format!("sha256={}", hex(&hmac("-sha256", &format!("{at}.{body}"))))),
        ],
        "standard" => vec![
            ("webhook-id", "msg-1".to_owned()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", format!("v1,{}", base64(&hmac("-sha256", &format!("msg-1.{at}.{body}"))))),
        ],
        "token" => vec![("authorization", format!("Bearer {key}"))],
        other => panic!("{other}"),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A delivery to the source of this name with these headers.
fn post(source: &str, headers: &[(&str, String)], body: &str) -> Post {
    let bare = Post::push("master", 1).with_body(body).without("x-hub-signature-256").without("x-github-delivery");
    headers.iter().fold(bare.to(&format!("/in/{source}")), |post, (name, value)| post.and(name, value.as_bytes()))
}

/// A delivery that its sender proves.
fn proven(form: &str, key: &str, at: u64, body: &str) -> Post {
    post(form, &proof(form, key, at, body), body)
}

/// Sources of these names and lines, each with the facts, and a job for whatever they tell of.
fn installation(sources: &[(&str, &str)], facts: &str) -> Installation {
    let installation = Installation::new().unwrap();
    let mut names = Vec::new();
    for (name, lines) in sources {
        // What Standard Webhooks calls a secret is the key's base64.
        let secret = if *name == "standard" { format!("whsec_{}", base64(KEY.as_bytes())) } else { KEY.to_owned() };
        installation.write_secret(name, &secret).unwrap();
        let path = if facts.contains("parameter") { format!("/in/{name}/{{service}}") } else { format!("/in/{name}") };
        let source = format!("[[source]]\nname = \"{name}\"\nprovider = \"generic\"\npath = \"{path}\"\nsecret = \"{name}\"");
        installation.add_to_source(&format!("{source}\n{lines}\n[source.facts]\n{facts}")).unwrap();
        names.push(*name);
    }
    let job = "[[job]]\nname = \"all\"\nwhen = { event = [\"service\", \"package\", \"push\"] }\nbuild = \"true\"\n";
    installation.write_repository("shop", &format!("repository = \"github.com/octo/shop\"\nsource = {names:?}\n{job}")).unwrap();
    installation
}

/// Status, and what the answer's `status` says.
fn said(receiver: &RunningReceiver, post: &Post) -> (u16, String) {
    let answer: Answer = receiver.post(post).unwrap();
    (answer.status, answer.text("status"))
}

fn is(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// The events that are stored, in their order.
fn stored(installation: &Installation) -> Vec<Event> {
    let records = installation.records().unwrap().into_iter();
    records.flat_map(|record| record.proposals).map(|proposal| proposal.event).collect()
}

const SERVICE: &str = "event = \"service\"\nrepository = \"github.com/octo/shop\"\naction = { pointer = \"/action\" }";

#[test]
fn every_form_of_proof_is_taken_once_and_nothing_near_it_at_all() {
    let installation = installation(&FORMS, SERVICE);
    let receiver = installation.start().unwrap();
    for (form, _) in FORMS {
        let (at, other) = (now(), BODY.replace("published", "created"));
        let good = proof(form, KEY, at, BODY);
        for (name, _) in &good {
            assert_eq!(said(&receiver, &post(form, &good, BODY).without(name)), is(401, "unauthorized"), "{form}, no {name}");
        }
        let forged = proven(form, "another key", at, BODY);
        assert_eq!(said(&receiver, &forged), is(401, "unauthorized"), "{form}");
        assert_eq!(said(&receiver, &post(form, &good, BODY)), is(202, "accepted"), "{form}");
        assert_eq!(said(&receiver, &post(form, &good, BODY)), is(200, "duplicate"), "{form}");
        // A token vouches for its sender, whatever is said; all else for what is said.
        let expected = if form == "token" { is(202, "accepted") } else { is(401, "unauthorized") };
        assert_eq!(said(&receiver, &post(form, &good, &other)), expected, "{form}");
    }
    let actions: Vec<Option<String>> = stored(&installation).iter().map(|event| event.action().map(str::to_owned)).collect();
    let published = actions.iter().filter(|action| action.as_deref() == Some("published")).count();
    assert_eq!((published, actions.len()), (FORMS.len(), FORMS.len() + 1));
}

#[test]
fn a_signed_time_must_be_near_and_cannot_be_moved_and_a_second_try_signs_a_new_one() {
    let installation = installation(&FORMS, SERVICE);
    let receiver = installation.start().unwrap();
    for (form, header, second_try) in
        [("timed", "x-timestamp", is(202, "accepted")), ("standard", "webhook-timestamp", is(200, "duplicate"))]
    {
        let at = now();
        assert_eq!(said(&receiver, &proven(form, KEY, at - 400, BODY)), is(401, "unauthorized"), "{form}: it is stale");
        assert_eq!(said(&receiver, &proven(form, KEY, at + 400, BODY)), is(401, "unauthorized"), "{form}: it is early");
        let good = proven(form, KEY, at, BODY);
        let moved = good.clone().with(header, (at + 1).to_string());
        assert_eq!(said(&receiver, &moved), is(401, "unauthorized"), "{form}: its time was moved");
        assert_eq!(said(&receiver, &good), is(202, "accepted"), "{form}");
        // Standard Webhooks signs an id, which says that it is the same delivery. Of a time alone nobody can say so.
        assert_eq!(said(&receiver, &proven(form, KEY, at + 2, BODY)), second_try, "{form}");
    }
    let standard = proven("standard", KEY, now(), BODY);
    assert_eq!(said(&receiver, &standard.with("webhook-id", "msg-2")), is(401, "unauthorized"), "its id was changed");
}

#[test]
fn sha1_is_not_taken_unless_somebody_wrote_that_it_is_insecure() {
    let lines = "signature = { header = \"X-Signature\", algorithm = \"sha1\" }";
    let installation = installation(&[("sha1", lines)], SERVICE);
    let (code, log) = installation.run_to_end(&mut installation.command().unwrap()).unwrap();
    assert_eq!(code, Some(4), "{log}");
    assert!(log.contains("sha1 is not to be relied on") && log.contains("insecure = true"), "{log}");
}

#[test]
fn facts_come_from_headers_and_from_the_path_and_an_id_of_the_senders_tells_repetitions() {
    let facts = "event = \"service\"\nrepository = { header = \"X-Repository\" }\naction = { header = \"X-Action\" }\n\
                 service = { parameter = \"service\" }\nsha = { header = \"X-Commit\" }";
    let installation = installation(&[("plain", "id = \"X-Id\"\nrepeats = true")], facts);
    let receiver = installation.start().unwrap();
    let sha = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";
    let call = |id: &str, service: &str, repository: &str| {
        let post = proven("plain", KEY, 0, "").to(&format!("/in/plain/{service}")).and("x-id", id);
        said(&receiver, &post.and("x-repository", repository).and("x-action", "published").and("x-commit", sha))
    };
    let shop = "https://github.com/octo/shop.git";
    assert_eq!(call("1", "web", shop), is(202, "accepted"));
    assert_eq!(call("1", "web", shop), is(200, "duplicate"));
    assert_eq!(call("2", "api", shop), is(202, "accepted"));
    assert_eq!(call("3", "web", "https://github.com/mallory/shop.git"), is(200, "ignored"));
    let told: Vec<_> = stored(&installation)
        .iter()
        .map(|event| {
            let service = event.service.clone().unwrap();
            (event.repository.clone().unwrap().to_string(), service.name.unwrap(), service.action.unwrap(), event.sha.clone())
        })
        .collect();
    let expected =
        |name: &str| ("github.com/octo/shop".to_owned(), name.to_owned(), "published".to_owned(), Some(sha.parse().unwrap()));
    assert_eq!(told, [expected("web"), expected("api")]);
}

#[test]
fn each_item_of_a_list_is_an_event() {
    let facts = "event = \"push\"\neach = \"/changes\"\nrepository = { pointer = \"/repo\", prefix = \"https://github.com/\" }\n\
                 ref = { pointer = \"/branch\", prefix = \"refs/heads/\" }\nsha = { pointer = \"/to\" }";
    let installation = installation(&[("plain", "")], facts);
    let receiver = installation.start().unwrap();
    let (sha, zeros) = ("366701fde727cb7a9e7f21eb88264f59f6f9b89c", "0".repeat(40));
    let item = |repository: &str, branch: &str, to: &str| format!(r#"{{"repo":"{repository}","branch":"{branch}","to":"{to}"}}"#);
    let items = [
        item("octo/shop", "main", sha),
        item("mallory/shop", "main", sha),
        item("octo/shop", "gone", &zeros),
        item("octo/shop", "feature/x", sha),
    ];
    let body = format!(r#"{{"changes":[{}]}}"#, items.join(","));
    assert_eq!(said(&receiver, &proven("plain", KEY, 0, &body)), is(202, "accepted"));
    // The second is not ours, and of a deleted branch no job wants to know.
    let told: Vec<_> = stored(&installation).iter().map(|event| (event.kind, event.branch.clone().unwrap())).collect();
    assert_eq!(told, [(Kind::Push, "main".to_owned()), (Kind::Push, "feature/x".to_owned())]);
    let answer = receiver.post(&proven("plain", KEY, 0, r#"{"changes":[]}"#)).unwrap();
    assert_eq!((answer.status, answer.text("status")), is(200, "ignored"));
    assert!(answer.text("reason").contains("empty"), "{}", answer.body);
}
