//! What is stored and answered, delivery by delivery.

use hookspool_common::forges::{Dialect, Provider};
use hookspool_common::headers::Headers;

use super::*;
use crate::fixture::{config, delivery, push, secrets};

const NOW: Instant = Instant::from_millis(7);
const FORM: &str = "application/x-www-form-urlencoded";

/// The verdict on a signed delivery.
fn judged(event: &str, body: &str) -> Result<Verdict, Reply> {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let verified = verified(delivery(&config, event, body), &secrets(), NOW)?;
    verdict(&config, &Compressor::new().unwrap(), &verified, NOW)
}

#[test]
fn a_push_that_jobs_ask_for_is_accepted_with_their_names() {
    let body = push("master");
    let Verdict { entry, reply } = judged("push", &body).unwrap();
    let jobs = vec!["image".parse().unwrap(), "docs".parse().unwrap()];
    assert_eq!(reply, Reply::Accepted { delivery: entry.id, jobs });
    assert_eq!((entry.answer, entry.reason, entry.received_at.millis()), (Answer::Accepted, None, 7));
    assert_eq!((entry.provider_id.as_deref(), entry.seen_keys.len()), (Some("guid-1"), 2));
    let proposals: Vec<Proposal> = serde_json::from_str(&entry.proposals).unwrap();
    assert_eq!((proposals.len(), proposals[0].jobs.len()), (1, 2));
    assert_eq!(proposals[0].event.branch.as_deref(), Some("master"));
    assert_eq!(zstd::bulk::decompress(&entry.body, 4096).unwrap(), body.as_bytes());
}

#[test]
fn what_no_job_asks_for_is_ignored_with_the_reason_and_stored() {
    let Verdict { entry, reply } = judged("push", &push("develop")).unwrap();
    let Reply::Ignored { delivery, reason } = reply else { panic!("{reply:?}") };
    assert!(reason.contains("job `image`: branch \"develop\" does not fit"), "{reason}");
    assert_eq!((delivery, entry.answer, entry.reason), (entry.id, Answer::Ignored, Some(reason)));
    assert_eq!(entry.proposals, "[]");
}

#[test]
fn a_repository_that_is_not_configured_and_an_unknown_event_are_ignored() {
    let reason = |event: &str, body: &str| judged(event, body).unwrap().entry.reason.unwrap();
    let elsewhere = push("master").replace("owner/project", "owner/other");
    assert!(reason("push", &elsewhere).contains("github.com/owner/other is not in the configuration"));
    assert!(reason("sponsorship", "{}").contains("`sponsorship`"));
}

#[test]
fn a_ping_is_answered_and_stored() {
    let Verdict { entry, reply } = judged("ping", r#"{"zen":"…"}"#).unwrap();
    assert_eq!((reply, entry.answer), (Reply::Pong { delivery: entry.id }, Answer::Ping));
    assert!(entry.reason.is_some());
}

#[test]
fn what_is_not_json_is_malformed() {
    for body in ["", "{", "not json", "{\"ref\":\"refs/heads/\u{1}\"}"] {
        assert!(matches!(judged("push", body), Err(Reply::Malformed { .. })), "{body:?}");
    }
}

#[test]
fn the_signature_is_not_among_the_headers_that_are_kept() {
    let entry = judged("push", &push("master")).unwrap().entry;
    let headers: BTreeMap<String, String> = serde_json::from_str(&entry.headers).unwrap();
    let names: Vec<&str> = headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["content-type", "user-agent", "x-github-delivery", "x-github-event"]);
}

#[test]
fn a_form_is_stored_as_it_came_and_reads_the_same_again() {
    let form = format!("payload={}", push("master").replace('"', "%22").replace(':', "%3A"));
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut raw = delivery(&config, "push", &form);
    raw.headers = with_content_type(&raw.headers, FORM);
    let verified = verified(raw, &secrets(), NOW).unwrap();
    let stored = verdict(&config, &Compressor::new().unwrap(), &verified, NOW).unwrap();
    assert!(matches!(stored.reply, Reply::Accepted { .. }), "{:?}", stored.reply);
    let body = zstd::bulk::decompress(&stored.entry.body, 4096).unwrap();
    assert_eq!(body, form.as_bytes());
    let mut kept = Headers::new();
    let headers: BTreeMap<String, String> = serde_json::from_str(&stored.entry.headers).unwrap();
    headers.iter().for_each(|(name, value)| kept.add(name, value));
    assert_eq!(Dialect::Forge(Provider::Github).read(&kept, &body), verified.read());
}

/// The same headers with another content type.
fn with_content_type(headers: &Headers, content_type: &str) -> Headers {
    let mut changed = Headers::new();
    let others = headers.iter().filter(|(name, _)| *name != "content-type");
    others.for_each(|(name, value)| changed.add(name, value));
    changed.add("content-type", content_type);
    changed
}

#[test]
fn the_content_type_counts_only_once_the_signature_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let with_type = |content_type: &str, secrets: &[Secret]| {
        let mut delivery = delivery(&config, "push", "{}");
        delivery.headers = with_content_type(&delivery.headers, content_type);
        verified(delivery, secrets, NOW).map(drop)
    };
    for good in ["application/json", "Application/JSON; charset=utf-8", "application/json;", FORM] {
        assert_eq!(with_type(good, &secrets()), Ok(()), "{good}");
    }
    for bad in ["multipart/form-data", "text/plain", "", "application/jsonx", "x; application/json"] {
        assert_eq!(with_type(bad, &secrets()), Err(Reply::WrongType), "{bad}");
        assert_eq!(with_type(bad, &[]), Err(Reply::Unauthorized), "{bad}");
    }
}

#[test]
fn what_the_worker_could_not_read_is_ignored_instead() {
    let decision = || Decision { answer: Answer::Accepted, reason: None, proposals: "[0]".to_owned(), jobs: Vec::new() };
    assert_eq!(decision().within(3).answer, Answer::Accepted);
    let ignored = decision().within(2);
    assert_eq!((ignored.answer, ignored.proposals.as_str()), (Answer::Ignored, "[]"));
    assert!(ignored.reason.unwrap().contains("3 bytes"));
}

#[test]
fn a_reason_has_a_bound_whatever_it_is_made_of() {
    let reason = Decision::nothing(Answer::Ignored, "ü".repeat(1024 * 1024)).reason.unwrap();
    assert!(reason.len() < MAX_REASON_BYTES + 8 && reason.ends_with(" …"), "{}", reason.len());
}
