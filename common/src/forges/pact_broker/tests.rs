//! The documented webhook, rendered as a broker renders it.

use serde_json::Value;

use super::*;
use crate::forges::{Dialect, Provider};

const WEBHOOK: &str = include_str!("../../../../docs/examples/pact-broker-webhook.json");

const CONSUMER_SHA: &str = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";
const PROVIDER_SHA: &str = "a51241ae1f00cbe728930db48e890b18fd527f99";

/// The body, with values put in place of parameters and nothing escaped (the broker's `Webhooks::Render`).
fn rendered(event: &str, values: &[(&str, &str)]) -> String {
    let webhook: Value = serde_json::from_str(WEBHOOK).unwrap();
    let all = [
        ("eventName", event),
        ("pactUrl", "https://broker.example.org/pacts/provider/Order%20API/consumer/Shop/pact-version/f00"),
    ];
    let body = values.iter().chain(&all).fold(webhook["request"]["body"].to_string(), |body, (name, value)| {
        body.replace(&format!("${{pactbroker.{name}}}"), value)
    });
    let (mut rest, mut filled) = (body.as_str(), String::new());
    // Every other parameter is known to the broker, and has no value.
    while let Some((before, after)) = rest.split_once("${pactbroker.") {
        filled.push_str(before);
        rest = after.split_once('}').unwrap().1;
    }
    filled + rest
}

const BOTH: [(&str, &str); 8] = [
    ("consumerName", "Shop"),
    ("consumerVersionNumber", CONSUMER_SHA),
    ("consumerVersionBranch", "feature/basket"),
    ("consumerVersionTags", "dev, feature/basket"),
    ("providerName", "Order API"),
    ("providerVersionNumber", PROVIDER_SHA),
    ("providerVersionBranch", "main"),
    ("githubVerificationStatus", "pending"),
];

fn read_body(body: &str) -> Reading {
    Dialect::Forge(Provider::PactBroker).read(&Headers::new(), body.as_bytes()).unwrap()
}

fn event_of(body: &str) -> Event {
    match read_body(body) {
        Reading::Events(mut events) if events.len() == 1 => events.remove(0),
        other => panic!("{other:?}"),
    }
}

fn reason(body: &str) -> String {
    match read_body(body) {
        Reading::Nothing(reason) => reason,
        Reading::Events(events) => panic!("{events:?}"),
    }
}

#[test]
fn all_six_events_are_read_as_they_were_reviewed() {
    let contracts = ["contract_published", "contract_content_changed", "contract_requiring_verification_published"];
    let verifications = ["provider_verification_published", "provider_verification_succeeded", "provider_verification_failed"];
    for name in contracts.into_iter().chain(verifications) {
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&event_of(&rendered(name, &BOTH))).unwrap());
    }
}

#[test]
fn the_version_to_build_is_the_providers_to_verify_and_the_consumers_when_it_is_verified() {
    let place = |name| {
        let event = event_of(&rendered(name, &BOTH));
        (event.branch, event.sha.map(|sha| sha.to_string()))
    };
    let of = |branch: &str, sha: &str| (Some(branch.to_owned()), Some(sha.to_owned()));
    assert_eq!(place("contract_requiring_verification_published"), of("main", PROVIDER_SHA));
    assert_eq!(place("provider_verification_failed"), of("feature/basket", CONSUMER_SHA));
    assert_eq!(place("contract_published"), (None, None));
}

#[test]
fn what_is_no_commit_or_branch_is_a_version_only() {
    let name = "contract_requiring_verification_published";
    let event = event_of(&rendered(name, &[("providerVersionNumber", "1.2.0+a51241a"), ("providerVersionBranch", "../x")]));
    assert_eq!((event.reference.as_ref(), event.sha.as_ref()), (None, None));
    assert_eq!(event.pact.unwrap().provider.version.as_deref(), Some("1.2.0+a51241a"));
}

#[test]
fn parameters_without_value_are_absent() {
    let event = event_of(&rendered("contract_published", &[("consumerName", "Shop"), ("consumerVersionTags", "a, b")]));
    let pact = event.pact.unwrap();
    assert_eq!((pact.consumer.version, pact.verification_url, pact.status), (None, None, None));
    assert_eq!(pact.consumer.tags, ["a", "b"]);
    assert!(pact.provider.is_unknown());
    let unrendered =
        r#"{"eventName": "contract_published", "providerVersionBranch": "${pactbroker.providerVersionBranch}", "more": 1}"#;
    assert!(event_of(unrendered).pact.unwrap().provider.is_unknown());
}

#[test]
fn a_webhook_that_is_tried_by_hand_is_a_ping() {
    assert_eq!(event_of(&rendered("test", &[])).kind, Kind::Ping);
}

#[test]
fn what_is_not_the_documented_body_says_so() {
    assert!(reason("{}").contains("missing field `eventName`"), "{}", reason("{}"));
    assert!(reason(&rendered("", &BOTH)).contains("eventName is empty"));
    assert!(reason(r#"{"eventName": "contract_deleted"}"#).contains("\"contract_deleted\" starts nothing"));
    // What a broker sends for a webhook without a body.
    assert!(reason("null").contains("not of the shape"), "{}", reason("null"));
}

#[test]
fn a_value_with_a_quote_in_it_cannot_say_anything_else() {
    let body = rendered("contract_published", &[("consumerVersionBranch", r#"x", "providerName": "Payroll"#), BOTH[4]]);
    assert!(reason(&body).contains("duplicate field"), "{body}");
    let broken = rendered("contract_published", &[("consumerVersionBranch", "x\"")]);
    assert!(matches!(read(&Headers::new(), broken.as_bytes()), Err(Malformed::NotJson(_))));
}

#[test]
fn a_token_or_a_password_proves_the_broker() {
    let holds = |secret: &str, value: &str| {
        let mut headers = Headers::new();
        headers.add("authorization", value);
        verify(&headers, b"{}", &[Secret::new(b"old".to_vec()), Secret::new(secret.into())], Instant::from_millis(0)).is_ok()
    };
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    assert!(holds("s3cret", "Bearer s3cret") && holds("s3cret", "bearer s3cret") && holds("s3cret", "Bearer old"));
    assert!(holds("s3cret", &basic("anybody:s3cret")) && holds("broker:s3cret", &basic("broker:s3cret")));
    // Only the first colon parts the two.
    assert!(holds("s3:cret", &basic("broker:s3:cret")));
    for bad in ["", "s3cret", "Bearer", "Bearer ", "Bearer s3cret ", "Bearer S3CRET", "Token s3cret", "Basic s3cret", "Basic !"] {
        assert!(!holds("s3cret", bad), "{bad:?}");
    }
    for bad in ["s3cret", "anybody:", ":", "anybody:s3cre", "s3cret:anybody"] {
        assert!(!holds("s3cret", &basic(bad)), "{bad:?}");
    }
    assert!(!holds("broker:s3cret", &basic("another:s3cret")));
}
