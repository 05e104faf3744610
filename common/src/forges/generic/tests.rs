//! Each way of proving, and facts from every place.

use serde_json::json;

use std::time::Duration;

use super::*;
use crate::event::Kind;
use crate::forges::{Dialect, PATH_HEADER};
use crate::signature::Algorithm;

const NOW: Instant = Instant::from_millis(1_800_000_000_000);
const BODY: &[u8] = br#"{"action":"published"}"#;

fn constant(text: &str) -> Fact {
    Fact { origin: Origin::Constant(text.to_owned()), prefix: String::new() }
}

fn at(pointer: &str, prefix: &str) -> Fact {
    Fact { origin: Origin::Pointer(pointer.to_owned()), prefix: prefix.to_owned() }
}

fn hmac(algorithm: Algorithm, encoding: Encoding, timestamp: Option<Timestamp>) -> Proving {
    Proving::Hmac { header: "x-signature".to_owned(), prefix: "v0=".to_owned(), encoding, algorithm, timestamp }
}

fn timestamp() -> Option<Timestamp> {
    Some(Timestamp { header: "x-timestamp".to_owned(), tolerance: Duration::from_secs(300) })
}

fn generic(proving: Proving) -> Generic {
    let facts = Facts { event: Kind::Service, each: None, picked: vec![("repository", constant("github.com/octo/environment"))] };
    Generic { proving, id_header: Some("x-id".to_owned()), repeats: false, facts }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn every_way() -> Vec<Proving> {
    vec![
        hmac(Algorithm::Sha256, Encoding::Hex, None),
        hmac(Algorithm::Sha256, Encoding::Base64, timestamp()),
        hmac(Algorithm::Sha512, Encoding::Base64, None),
        hmac(Algorithm::Sha1, Encoding::Hex, None),
        Proving::StandardWebhooks { tolerance: Duration::from_secs(300) },
        Proving::Token { header: "authorization".to_owned(), prefix: "Bearer ".to_owned() },
    ]
}

#[test]
fn what_is_signed_in_any_way_is_verified_and_nothing_else() {
    for proving in every_way() {
        let shown = format!("{proving:?}");
        let source = generic(proving.clone());
        let dialect = Dialect::Generic(Box::new(source.clone()));
        let sent = Sent { event: "", id: "an-id", body: BODY, at: NOW };
        let headers = dialect.headers_of_a_delivery(&sent, &secret("right"));
        let verify = |headers: &Headers, body: &[u8], secrets: &[Secret]| dialect.verify(headers, body, secrets, NOW).is_ok();
        assert!(verify(&headers, BODY, &[secret("other"), secret("right")]), "{shown}");
        assert!(!verify(&headers, BODY, &[secret("other")]) && !verify(&headers, BODY, &[]), "{shown}");
        assert!(!verify(&Headers::new(), BODY, &[secret("right")]), "{shown}");
        let is_a_signature = !matches!(proving, Proving::Token { .. });
        assert_eq!(verify(&headers, b"{}", &[secret("right")]), !is_a_signature, "{shown}");
        assert_eq!(dialect.id_of(&headers), Some("an-id"), "{shown}");
        let kept = dialect.kept_headers();
        assert!(!dialect.signature_headers().iter().any(|name| kept.contains(name)), "{shown} keeps a signature or token");
        let twice: Vec<(String, String)> = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut repeated = headers.clone();
        twice.iter().for_each(|(name, value)| repeated.add(name, value));
        assert!(!verify(&repeated, BODY, &[secret("right")]), "{shown}");
    }
}

#[test]
fn a_signed_time_is_covered_by_the_signature_and_grows_old() {
    let source = generic(hmac(Algorithm::Sha256, Encoding::Hex, timestamp()));
    let headers = |at| source.headers_of_a_delivery(&Sent { event: "", id: "1", body: BODY, at }, &secret("right"));
    let verify = |headers: &Headers, now| source.verify(headers, BODY, &[secret("right")], now);
    assert!(verify(&headers(NOW), NOW.plus_millis(300_000)).is_ok());
    assert!(verify(&headers(NOW), NOW.plus_millis(301_000)).is_err());
    let mut moved = Headers::new();
    for (name, value) in headers(NOW).iter() {
        moved.add(name, if name == "x-timestamp" { "1800000100" } else { value });
    }
    assert!(verify(&moved, NOW).is_err());
    // The same body at another time is other content.
    let content = |at| verify(&headers(at), NOW).unwrap().0.unwrap();
    assert_eq!(content(NOW), content(NOW));
    assert_ne!(content(NOW), content(NOW.plus_millis(1000)));
}

#[test]
fn constant_content_is_not_known_again_unless_its_time_is_signed() {
    let content = |repeats, body: &[u8], timestamp| {
        let source = Generic { repeats, ..generic(hmac(Algorithm::Sha256, Encoding::Hex, timestamp)) };
        let headers = source.headers_of_a_delivery(&Sent { event: "", id: "1", body, at: NOW }, &secret("right"));
        source.verify(&headers, body, &[secret("right")], NOW).unwrap().0
    };
    assert!(content(false, BODY, None).is_some());
    assert!(content(true, BODY, None).is_none() && content(false, b"", None).is_none());
    assert!(content(true, BODY, timestamp()).is_some() && content(false, b"", timestamp()).is_some());
}

#[test]
fn the_same_body_for_another_service_is_other_content() {
    let source = generic(hmac(Algorithm::Sha256, Encoding::Hex, None));
    let content = |path: &str| {
        let mut headers = source.headers_of_a_delivery(&Sent { event: "", id: "1", body: BODY, at: NOW }, &secret("right"));
        headers.add(PATH_HEADER, path);
        source.verify(&headers, BODY, &[secret("right")], NOW).unwrap().0.unwrap()
    };
    assert_eq!(content("/redeploy/web"), content("/redeploy/web"));
    assert_ne!(content("/redeploy/web"), content("/redeploy/api"));
}

#[test]
fn an_empty_signed_body_is_the_digest_that_others_make_of_it() {
    // RFC 4231 has no such case; made with: printf '' | openssl dgst -sha256 -hmac key
    let empty = "5d5d139563c95b5967b9bd9a8c9b233a9dedb45072794cd232dc1b74832607d0";
    let mut headers = Headers::new();
    headers.add("x-signature", &format!("v0={empty}"));
    let source = generic(hmac(Algorithm::Sha256, Encoding::Hex, None));
    assert!(source.verify(&headers, b"", &[secret("key")], NOW).is_ok());
}

fn read(facts: Facts, headers: &Headers, body: &Value) -> Reading {
    let source = Generic { facts, ..generic(hmac(Algorithm::Sha256, Encoding::Hex, None)) };
    source.read(headers, body.to_string().as_bytes()).unwrap()
}

#[test]
fn a_push_is_a_push_a_tag_or_a_deletion() {
    let sha = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";
    let told = |reference: &str, sha: &str| {
        let picked =
            vec![("repository", at("/repo/url", "")), ("ref", at("/ref", "")), ("sha", at("/to", "")), ("pusher", at("/by", ""))];
        let body = json!({ "repo": { "url": "git@git.example.org:team/shop.git" }, "ref": reference, "to": sha, "by": "Ada <ada@example.org>" });
        let Reading::Events(mut events) = read(Facts { event: Kind::Push, each: None, picked }, &Headers::new(), &body) else {
            panic!("no event");
        };
        events.remove(0)
    };
    let push = told("refs/heads/feature/x", sha);
    assert_eq!((push.kind, push.branch.as_deref()), (Kind::Push, Some("feature/x")));
    assert_eq!(push.repository.unwrap().as_str(), "git.example.org/team/shop");
    assert_eq!(push.sha.unwrap().as_str(), sha);
    assert_eq!((push.pusher.name.as_deref(), push.pusher.email.as_deref()), (Some("Ada"), Some("ada@example.org")));
    assert_eq!(told("refs/tags/v1", sha).kind, Kind::Tag);
    let zeros = "0".repeat(40);
    assert_eq!(told("refs/heads/x", &zeros).kind, Kind::BranchDeleted);
    assert_eq!((told("refs/tags/v1", &zeros).kind, told("refs/tags/v1", &zeros).sha), (Kind::TagDeleted, None));
}

#[test]
fn a_ref_or_commit_that_is_there_and_not_of_its_form_starts_nothing() {
    let picked = vec![("repository", constant("github.com/octo/shop")), ("ref", at("/ref", "")), ("sha", at("/sha", ""))];
    let facts = Facts { event: Kind::Deployment, each: None, picked };
    let reason = |body: Value| match read(facts.clone(), &Headers::new(), &body) {
        Reading::Nothing(reason) => reason,
        Reading::Events(events) => panic!("{events:?}"),
    };
    assert!(reason(json!({ "ref": "main" })).contains("\"main\" is not a git ref name"));
    assert!(reason(json!({ "sha": "366701f" })).contains("\"366701f\" is not a commit id"));
    assert!(matches!(read(facts.clone(), &Headers::new(), &json!({ "ref": "", "sha": null })), Reading::Events(_)));
}

#[test]
fn facts_come_from_the_path_from_headers_and_from_each_item_of_a_list() {
    let path = Fact { origin: Origin::Path { before: "/redeploy/".len(), after: 0 }, prefix: String::new() };
    let header = Fact { origin: Origin::Header("x-action".to_owned()), prefix: "was ".to_owned() };
    let picked = vec![("repository", constant("github.com/octo/env")), ("service", path), ("action", header)];
    let mut headers = Headers::new();
    headers.add(PATH_HEADER, "/redeploy/web");
    headers.add("x-action", "published");
    let Reading::Events(events) = read(Facts { event: Kind::Service, each: None, picked }, &headers, &Value::Null) else {
        panic!("no event");
    };
    let service = events[0].service.clone().unwrap();
    assert_eq!((service.name.as_deref(), service.action.as_deref()), (Some("web"), Some("was published")));

    let picked = vec![("repository", at("/name", "registry.example.org/")), ("tag", at("/tag", "")), ("action", at("/do", ""))];
    let facts = Facts { event: Kind::Package, each: Some("/events".to_owned()), picked };
    let body =
        json!({ "events": [{ "name": "shop", "tag": "v1", "do": "push" }, { "name": "shop", "tag": 2, "do": "pull" }, {}] });
    let Reading::Events(events) = read(facts.clone(), &Headers::new(), &body) else { panic!("no event") };
    let told: Vec<_> =
        events.iter().map(|event| (event.action().unwrap_or_default(), event.package.as_ref().unwrap().tag.as_deref())).collect();
    assert_eq!(told, [("push", Some("v1")), ("pull", Some("2")), ("", None)]);
    assert_eq!(events[0].repository.as_ref().unwrap().as_str(), "registry.example.org/shop");
    for (body, why) in [(json!({}), "no list"), (json!({ "events": [] }), "empty"), (json!({ "events": vec![0; 101] }), "101")] {
        let Reading::Nothing(reason) = read(facts.clone(), &Headers::new(), &body) else { panic!("events") };
        assert!(reason.contains(why), "{reason}");
    }
}

#[test]
fn a_body_that_is_no_json_is_malformed_and_one_that_is_too_large_is_not_read() {
    let source = generic(hmac(Algorithm::Sha256, Encoding::Hex, None));
    assert!(matches!(source.read(&Headers::new(), b"{"), Err(Malformed::NotJson(_))));
    assert!(matches!(source.read(&Headers::new(), b""), Ok(Reading::Events(_))));
    assert!(matches!(source.read(&Headers::new(), &vec![b' '; MAX_BYTES + 1]), Ok(Reading::Nothing(_))));
}
