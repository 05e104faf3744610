//! GitHub's shapes, as its documentation gives them, and what must not be mistaken for them.

mod checks;
mod discussion;
mod releases;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Event;

const SHA: &str = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";
const OLD: &str = "2f780193b136b72bfea4eeb640786a8c4450c7a2";
const ZERO: &str = "0000000000000000000000000000000000000000";

fn read_as(event: &str, body: &Value) -> Result<Reading, Malformed> {
    let mut headers = Headers::new();
    headers.add("X-GitHub-Event", event);
    read(&headers, body.to_string().as_bytes())
}

fn event_of(event: &str, body: &Value) -> Event {
    match read_as(event, body) {
        Ok(Reading::Events(mut events)) => events.remove(0),
        other => panic!("{event}: {other:?}"),
    }
}

fn reason_of(event: &str, body: &Value) -> String {
    match read_as(event, body) {
        Ok(Reading::Nothing(reason)) => reason,
        other => panic!("{event}: {other:?}"),
    }
}

/// A delivery about something in octo/shop that mona did.
fn told(mut body: Value) -> Value {
    body["repository"] = json!({"full_name": "octo/shop", "html_url": "https://github.com/octo/shop"});
    body["sender"] = json!({"login": "mona"});
    body
}

fn a_push(reference: &str) -> Value {
    json!({
        "ref": reference, "before": OLD, "after": SHA, "created": false, "deleted": false, "forced": false,
        "repository": {"full_name": "octo/shop", "clone_url": "https://github.com/octo/shop.git"},
        "pusher": {"name": "octocat", "email": "octocat@example.org"}, "sender": {"login": "octocat"},
        "commits": [{"id": SHA, "message": "Fix", "author": {"name": "Octo", "email": "o@example.org", "username": "octocat"},
                     "added": ["b"], "removed": [], "modified": ["a", "b"]}],
        "head_commit": {"id": SHA, "message": "Fix"}
    })
}

#[test]
fn a_push_to_a_branch_is_a_push() {
    insta::assert_json_snapshot!(event_of("push", &a_push("refs/heads/feature/x")));
}

#[test]
fn a_tag_is_never_a_branch() {
    let event = event_of("push", &a_push("refs/tags/master"));
    assert_eq!((event.kind, event.branch, event.tag.as_deref()), (Kind::Tag, None, Some("master")));
}

#[test]
fn an_annotated_tag_gives_its_commit() {
    let mut body = a_push("refs/tags/v1");
    body["after"] = OLD.into();
    assert_eq!(event_of("push", &body).sha.unwrap().as_str(), SHA);
}

#[test]
fn deletions_have_no_commit() {
    let mut body = a_push("refs/heads/x");
    body["deleted"] = true.into();
    body["after"] = ZERO.into();
    body["head_commit"] = Value::Null;
    let event = event_of("push", &body);
    assert_eq!((event.kind, event.sha, event.before.unwrap().as_str()), (Kind::BranchDeleted, None, OLD));
    body["ref"] = "refs/tags/x".into();
    assert_eq!(event_of("push", &body).kind, Kind::TagDeleted);
}

#[test]
fn a_push_that_makes_a_branch_is_also_branch_created() {
    let mut body = a_push("refs/heads/x");
    body["created"] = true.into();
    body["before"] = ZERO.into();
    let event = event_of("push", &body);
    assert!(event.is(Kind::Push) && event.is(Kind::BranchCreated) && !event.is(Kind::Tag));
    assert_eq!(event.before, None);
}

#[test]
fn create_and_delete_name_the_ref_but_no_commit() {
    let mut body = json!({"ref": "feature/x", "ref_type": "branch", "repository": {"html_url": "https://github.com/octo/shop"}});
    assert_eq!(event_of("create", &body).reference.unwrap().as_str(), "refs/heads/feature/x");
    assert_eq!(event_of("delete", &body).kind, Kind::BranchDeleted);
    body["ref_type"] = "tag".into();
    let event = event_of("create", &body);
    assert_eq!((event.kind, event.tag.as_deref(), event.sha), (Kind::Tag, Some("feature/x"), None));
    body["ref_type"] = "repository".into();
    assert!(reason_of("create", &body).contains("repository"));
}

#[test]
fn a_pull_request_knows_whether_it_comes_from_a_fork() {
    let mut body = json!({
        "action": "labeled", "number": 7,
        "pull_request": {
            "head": {"ref": "changes", "sha": SHA, "repo": {"full_name": "octo/shop"}},
            "base": {"ref": "main", "sha": OLD, "repo": {"full_name": "octo/shop"}},
            "labels": [{"name": "ready"}]
        },
        "repository": {"full_name": "octo/shop", "clone_url": "https://github.com/octo/shop.git"}, "sender": {"login": "octocat"}
    });
    insta::assert_json_snapshot!(event_of("pull_request", &body));
    body["pull_request"]["head"]["repo"] = Value::Null;
    assert_eq!(event_of("pull_request", &body).pull_request.unwrap().from_fork, Some(true));
    body["pull_request"]["base"] = json!({"ref": "main", "sha": OLD});
    assert_eq!(event_of("pull_request", &body).pull_request.unwrap().from_fork, None);
}

#[test]
fn a_merge_group_that_is_to_be_checked_is_a_push_of_its_branch() {
    let group = json!({
        "head_sha": SHA, "head_ref": "refs/heads/gh-readonly-queue/main/pr-104-929f8209", "base_sha": OLD, "base_ref": "refs/heads/main",
    });
    let mut body = told(json!({"action": "checks_requested", "merge_group": group}));
    insta::assert_json_snapshot!(event_of("merge_group", &body));
    body["action"] = "destroyed".into();
    body["reason"] = "dequeued".into();
    let reason = reason_of("merge_group", &body);
    assert!(reason.contains("pr-104-929f8209 is destroyed (dequeued)"), "{reason}");
}

#[test]
fn a_repository_with_another_name_says_what_to_change() {
    let renamed = told(json!({"action": "renamed", "changes": {"repository": {"name": {"from": "store"}}}}));
    insta::assert_snapshot!(reason_of("repository", &renamed), @"github.com/octo/store was renamed and is github.com/octo/shop now; write `repository = \"github.com/octo/shop\"` where repositories/*.toml says github.com/octo/store");
    for owner in ["user", "organization"] {
        let from = json!({owner: {"login": "mona"}});
        let transferred = told(json!({"action": "transferred", "changes": {"owner": {"from": from}}}));
        let reason = reason_of("repository", &transferred);
        assert!(reason.starts_with("github.com/mona/shop was transferred and is github.com/octo/shop now"), "{reason}");
    }
    let edited = told(json!({"action": "edited", "changes": {"description": {"from": "x"}}}));
    assert_eq!(reason_of("repository", &edited), "a `repository` that was edited starts nothing");
}

#[test]
fn what_github_tells_twice_is_read_once() {
    let reason = reason_of("workflow_job", &told(json!({"action": "completed", "workflow_job": {"name": "build"}})));
    assert!(reason.contains("`check_run`"), "{reason}");
    assert!(matches!(read_as("workflow_job", &Value::Null), Ok(Reading::Nothing(_))));
}

#[test]
fn a_ping_of_an_organisation_or_an_app_names_no_repository() {
    let ping =
        json!({"zen": "Design for failure.", "hook_id": 1, "organization": {"login": "octo"}, "sender": {"login": "mona"}});
    let event = event_of("ping", &ping);
    assert_eq!((event.kind, event.repository, event.pusher.login.as_deref()), (Kind::Ping, None, Some("mona")));
}

#[test]
fn an_api_url_names_the_repository_where_nothing_else_does() {
    let mut body = a_push("refs/heads/x");
    body["repository"] = json!({"url": "https://api.github.com/repos/octo/shop"});
    assert_eq!(event_of("push", &body).repository.unwrap().as_str(), "github.com/octo/shop");
    body["repository"] = json!({"url": "https://ghe.example.org/api/v3/repos/octo/shop"});
    assert_eq!(event_of("push", &body).repository.unwrap().as_str(), "ghe.example.org/octo/shop");
}

#[test]
fn what_is_unknown_or_of_another_shape_is_nothing_with_a_reason() {
    assert!(reason_of("star", &json!({"action": "created"})).contains("`star`"));
    assert!(reason_of("push", &json!({"ref": 7})).contains("shape"));
    assert!(reason_of("push", &json!([])).contains("shape"));
    assert!(reason_of("push", &a_push("refs/heads/../../etc")).contains("../../etc"));
    assert!(reason_of("push", &a_push("refs/heads/a\nb")).contains("control character"));
    assert!(reason_of("push", &a_push("refs/notes/x")).contains("refs/notes/x"));
}

#[test]
fn what_is_not_json_is_malformed() {
    let mut headers = Headers::new();
    headers.add("X-GitHub-Event", "push");
    for bad in [&b"{\"ref\":"[..], b"", b"ref=x", b"{\"ref\":\"\xff\"}"] {
        assert!(matches!(read(&headers, bad), Err(Malformed::NotJson(_))), "{bad:?}");
    }
    assert!(matches!(read(&Headers::new(), b"{}"), Err(Malformed::EventHeader(_))));
}

#[test]
fn ten_thousand_levels_do_no_harm() {
    let mut headers = Headers::new();
    headers.add("X-GitHub-Event", "push");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [deep.clone(), format!("{{\"ref\":{deep}}}"), format!("{{\"x\":{deep}}}")] {
        assert!(!matches!(read(&headers, body.as_bytes()), Ok(Reading::Events(_))));
    }
}

/// Every event that is read.
const EVENTS: &str = "push|create|delete|merge_group|pull_request|issues|issue_comment|commit_comment|pull_request_review|\
                      release|package|check_run|check_suite|status|workflow_run|deployment|deployment_status|repository|ping|[a-z_]{1,20}";

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(event in EVENTS, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut headers = Headers::new();
        headers.add("X-GitHub-Event", &event);
        let _ = read(&headers, &body);
    }
}
