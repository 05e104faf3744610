//! What every provider must do, and a snapshot of every recorded delivery of six forges.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::Kind;

pub(super) const NOW: Instant = Instant::from_millis(1_800_000_000_000);

fn headers(provider: Provider, event: &str) -> Headers {
    let sent = Sent { event, id: "an-id", body: b"", at: NOW };
    Dialect::Forge(provider).headers_of_a_delivery(&sent, &Secret::new(b"secret".to_vec()))
}

fn read(provider: Provider, headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    Dialect::Forge(provider).read(headers, body)
}

/// What a delivery of this body tells: its events, or the reason why it tells of none.
pub(super) fn told(provider: Provider, event: &str, body: &Value) -> Value {
    match read(provider, &headers(provider, event), body.to_string().as_bytes()).unwrap() {
        Reading::Events(events) => {
            assert!(events.iter().all(Event::is_consistent));
            serde_json::to_value(events).unwrap()
        }
        Reading::Nothing(reason) => Value::String(reason),
    }
}

/// The event header of a recording, which follows from its file's name.
fn event_of(provider: Provider, file: &str) -> &'static str {
    let kind = |prefix: &str| file.starts_with(prefix);
    match provider {
        Provider::Gitea if kind("HookPullRequestReviewAck") => "pull_request_approved",
        Provider::Gitea if kind("HookPullRequestReviewDeny") => "pull_request_rejected",
        Provider::Gitea if kind("HookPullRequestReviewComment") => "pull_request_comment",
        Provider::Github | Provider::Gitea | Provider::Forgejo if kind("HookPullRequest") => "pull_request",
        Provider::Github if kind("HookPush") || kind("HookTag") => "push",
        Provider::Gitea | Provider::Forgejo if kind("HookPush") => "push",
        Provider::Gitea | Provider::Forgejo if kind("HookTag") => "create",
        Provider::Github | Provider::Gitea | Provider::Forgejo if kind("HookRelease") => "release",
        Provider::Github => "deployment",
        Provider::Gitlab if kind("HookPush") => "Push Hook",
        Provider::Gitlab if kind("HookTag") => "Tag Push Hook",
        Provider::Gitlab if kind("HookPullRequest") => "Merge Request Hook",
        Provider::Gitlab => "Release Hook",
        Provider::Bitbucket if kind("HookPush") => "repo:push",
        Provider::Bitbucket if kind("HookPullRequestMerged") => "pullrequest:fulfilled",
        Provider::Bitbucket if kind("HookPullRequestDeclined") => "pullrequest:rejected",
        Provider::Bitbucket => "pullrequest:created",
        Provider::BitbucketServer if kind("HookPush") => "repo:refs_changed",
        Provider::BitbucketServer if kind("HookPullRequestMerged") => "pr:merged",
        Provider::BitbucketServer => "pr:opened",
        Provider::Gitea | Provider::Forgejo | Provider::PactBroker => "unknown",
    }
}

/// What a Pact Broker sends is the operator's template, so that nobody has recordings of it; its own file has snapshots.
fn recordings(provider: Provider) -> Vec<PathBuf> {
    if provider == Provider::PactBroker {
        return Vec::new();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/payloads").join(provider.as_str());
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("SKIPPED: the recorded deliveries are not at {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_recording_is_read_as_it_was_reviewed() {
    for provider in Provider::ALL {
        for file in recordings(provider) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let event = event_of(provider, &name);
            let reading = read(provider, &headers(provider, event), &fs::read(&file).unwrap()).unwrap();
            let shown = match &reading {
                Reading::Events(events) => serde_json::to_string_pretty(events).unwrap(),
                Reading::Nothing(reason) => reason.clone(),
            };
            insta::assert_snapshot!(format!("{}-{name}", provider.as_str()), shown);
            if let Reading::Events(events) = reading {
                assert!(events.iter().all(Event::is_consistent));
                assert!(events.iter().all(|event| event.branch.is_none() || event.tag.is_none()));
            }
        }
    }
}

/// A described source that looks for a push in every place that the seeds of `generic` have.
fn described() -> Dialect {
    let places =
        [("repository", "/repository/url"), ("ref", "/ref"), ("sha", "/sha"), ("before", "/before"), ("pusher", "/pusher")];
    let at = |pointer: &str| Fact { origin: Origin::Pointer(pointer.to_owned()), prefix: String::new() };
    let picked = places.into_iter().map(|(key, pointer)| (key, at(pointer))).collect();
    let proving = Proving::Token { header: "authorization".to_owned(), prefix: String::new() };
    let facts = Facts { event: Kind::Push, each: None, picked };
    Dialect::Generic(Box::new(Generic { proving, id_header: None, repeats: false, facts }))
}

/// The kinds of event that the seeds of a fuzz target tell of; each must tell of something.
fn kinds_of_seeds(target: &str, dialect: &Dialect) -> BTreeSet<&'static str> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut kinds = BTreeSet::new();
    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let seed = fs::read(&file).unwrap();
        let end = seed.iter().position(|byte| *byte == b'\n').expect("its first line names the event");
        let event = std::str::from_utf8(&seed[..end]).unwrap();
        let sent = Sent { event, id: "an-id", body: &seed[end + 1..], at: NOW };
        let headers = dialect.headers_of_a_delivery(&sent, &Secret::new(b"secret".to_vec()));
        match dialect.read(&headers, sent.body) {
            Ok(Reading::Events(events)) => kinds.extend(events.iter().map(|event| event.kind.as_str())),
            other => panic!("{}: {other:?}", file.display()),
        }
    }
    kinds
}

#[test]
fn every_seed_of_the_fuzz_targets_tells_of_something() {
    let targets = [
        ("github", Provider::Github.into()),
        ("gitlab", Provider::Gitlab.into()),
        ("gitea", Provider::Gitea.into()),
        ("bitbucket", Provider::Bitbucket.into()),
        ("bitbucket_server", Provider::BitbucketServer.into()),
        ("pact_broker", Provider::PactBroker.into()),
        ("generic", described()),
    ];
    let told: BTreeMap<&str, _> = targets.iter().map(|(target, dialect)| (*target, kinds_of_seeds(target, dialect))).collect();
    insta::assert_debug_snapshot!(told);
}

#[test]
fn what_a_provider_signs_it_verifies_and_nothing_else() {
    let (secret, other) = (Secret::new(b"secret".to_vec()), Secret::new(b"other".to_vec()));
    for provider in Provider::ALL {
        let dialect = Dialect::Forge(provider);
        let signed = dialect.headers_of_a_delivery(&Sent { event: "x", id: "an-id", body: b"body", at: NOW }, &secret);
        let verify = |headers, secrets: &[Secret]| dialect.verify(headers, b"body", secrets, NOW);
        let name = provider.as_str();
        assert!(verify(&signed, &[other.clone(), secret.clone()]).is_ok(), "{name}");
        assert!(verify(&signed, std::slice::from_ref(&other)).is_err(), "{name}");
        assert!(verify(&signed, &[]).is_err(), "{name}");
        assert!(verify(&Headers::new(), std::slice::from_ref(&secret)).is_err(), "{name}");
        let has_id = !provider.forge().id_headers.is_empty();
        assert_eq!(dialect.id_of(&signed), has_id.then_some("an-id"), "{name}");
        assert!(provider.forge().id_headers.iter().all(|header| dialect.kept_headers().contains(header)), "{name}");
        let is_kept = |header: &&str| dialect.kept_headers().contains(header);
        assert!(!dialect.signature_headers().iter().any(is_kept), "{name} keeps a signature or token");
    }
}

#[test]
fn an_unknown_event_is_nothing_and_an_unnamed_one_is_malformed() {
    for provider in Provider::ALL {
        assert!(matches!(read(provider, &headers(provider, "no:such_event"), b"{}"), Ok(Reading::Nothing(_))));
        assert!(matches!(read(provider, &headers(provider, "no:such_event"), b"{"), Err(Malformed::NotJson(_))));
        let unnamed = read(provider, &Headers::new(), b"{}");
        let is_named_in_the_body = provider == Provider::PactBroker && matches!(unnamed, Ok(Reading::Nothing(_)));
        assert!(is_named_in_the_body || matches!(unnamed, Err(Malformed::EventHeader(_))), "{unnamed:?}");
    }
}

/// The names of events that any forge has a reader for.
const EVENTS: &str = "push|create|delete|pull_request|pull_request_approved|pull_request_comment|issues|issue_comment|release|package\
    |status|workflow_run|workflow_job|action_run_success|repository|check_run|check_suite|deployment|deployment_status\
    |Push Hook|Tag Push Hook|Merge Request Hook|Issue Hook|Note Hook|Pipeline Hook|Job Hook|Deployment Hook|Release Hook|System Hook\
    |repo:push|repo:commit_comment_created|repo:commit_status_created|repo:updated|repo:transfer|issue:created|issue:comment_created\
    |pullrequest:created|pullrequest:comment_created|repo:refs_changed|repo:comment:added|repo:modified|mirror:repo_synchronized\
    |pr:opened|pr:comment:added|diagnostics:ping";

/// Names that forges give to fields, so that chance comes past the first of them.
const FIELDS: &str = "action|number|iid|id|ref|tag|sha|hash|state|repository|project|full_name|clone_url|sender|user|issue|comment|body\
    |note|text|object_kind|event_name|object_attributes|merge_request|pull_request|pullrequest|pullRequest|head|base|source|destination\
    |branch|name|release|tag_name|changes|old|new|push|commit|commit_status|links|run|workflow_run|package|fromRef|toRef";

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-z/:.-]{0,12}|main|refs/heads/main|issue|note|https://git.example.com/octo/shop.git|0{40}|1{40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => proptest::collection::btree_map(FIELDS, inner, 0..10).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(event in EVENTS, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for provider in Provider::ALL {
            let _ = read(provider, &headers(provider, &event), &body);
        }
    }

    #[test]
    fn json_of_any_shape_is_no_error_and_makes_no_event_that_contradicts_itself(event in EVENTS, body in any_json()) {
        for provider in Provider::ALL {
            told(provider, &event, &body);
        }
    }
}
