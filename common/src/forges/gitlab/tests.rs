//! What GitLab's deliveries tell, with the fields that its documentation names.

use serde_json::{Value, json};

use super::*;
use crate::forges::conformance::{self, NOW};
use crate::forges::{Dialect, Provider};

const SHA: &str = "562e173be03b8ff2efb05345d12df18815438a4b";
const OTHER_SHA: &str = "2293ada6b400935a1378653304eaf6221e0fdb8f";
const KEY: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn told(event: &str, body: &Value) -> Value {
    conformance::told(Provider::Gitlab, event, body)
}

fn project() -> Value {
    json!({ "id": 5, "web_url": "https://gitlab.example.com/group/sub/shop", "git_http_url": "https://gitlab.example.com/group/sub/shop.git" })
}

fn user() -> Value {
    json!({ "id": 1, "name": "Root", "username": "root", "email": "[REDACTED]" })
}

/// A note with what it is on.
fn note(key: &str, on: Value) -> Value {
    let mut body = json!({
        "object_kind": "note", "event_type": "note", "user": user(), "project": project(),
        "object_attributes": { "note": "/deploy", "author_id": 1, "action": "create", "url": "https://gitlab.example.com/note_1" },
    });
    body[key] = on;
    body
}

#[test]
fn what_was_pushed_was_made_moved_or_deleted_and_only_a_deletion_has_no_commit() {
    let zeros = "0".repeat(40);
    let pushed = |event: &str, reference: &str, before: &str, after: &str| {
        let checkout = if after == zeros { Value::Null } else { json!(after) };
        let body = json!({
            "ref": reference, "before": before, "after": after, "checkout_sha": checkout, "user_username": "root",
            "project": project(), "commits": [], "total_commits_count": 0,
        });
        let events = told(event, &body);
        assert_eq!(told("System Hook", &with_name(&body, event)), events);
        let [event] = events.as_array().unwrap().as_slice() else { panic!("{events}") };
        assert_eq!((&event["repository"], &event["ref"]), (&json!("gitlab.example.com/group/sub/shop"), &json!(reference)));
        (event["kind"].clone(), event["sha"].clone(), event["before"].clone(), event["created"].clone())
    };
    let told = |kind: &str, sha: Value, before: Value, created: bool| (json!(kind), sha, before, json!(created));
    let cases =
        [("Push Hook", "refs/heads/x", "push", "branch_deleted"), ("Tag Push Hook", "refs/tags/v1", "tag", "tag_deleted")];
    for (event, reference, moved, deleted) in cases {
        assert_eq!(pushed(event, reference, &zeros, SHA), told(moved, json!(SHA), Value::Null, true));
        assert_eq!(pushed(event, reference, OTHER_SHA, SHA), told(moved, json!(SHA), json!(OTHER_SHA), false));
        assert_eq!(pushed(event, reference, OTHER_SHA, &zeros), told(deleted, Value::Null, json!(OTHER_SHA), false));
    }
}

/// The same as a system hook tells it: the name is in the body.
fn with_name(body: &Value, event: &str) -> Value {
    let mut body = body.clone();
    body["event_name"] = if event == "Push Hook" { json!("push") } else { json!("tag_push") };
    body
}

/// The merge request 7 of the project, from the project with this number.
fn request(source: u64) -> Value {
    json!({
        "iid": 7, "source_branch": "main", "target_branch": "main", "source_project_id": source, "target_project_id": 5,
        "last_commit": { "id": SHA }, "labels": [{ "title": "urgent" }],
    })
}

#[test]
fn a_note_on_a_merge_request_is_at_the_requests_own_ref_whatever_its_branch_is_called() {
    let expected = json!([{
        "kind": "comment", "provider_event": "Note Hook", "repository": "gitlab.example.com/group/sub/shop",
        "ref": "refs/merge-requests/7/head", "sha": SHA,
        "pusher": { "name": "Root", "login": "root" },
        "pull_request": {
            "number": 7, "action": "create", "labels": ["urgent"], "from_fork": true,
            "head": { "ref": "refs/heads/main", "sha": SHA }, "base": { "ref": "refs/heads/main" },
        },
        "comment": {
            "action": "create", "on": "pull_request", "number": 7, "body": "/deploy", "url": "https://gitlab.example.com/note_1",
            "author": { "name": "Root", "login": "root" },
        },
    }]);
    assert_eq!(told("Note Hook", &note("merge_request", request(6))), expected);
    assert_eq!(told("System Hook", &note("merge_request", request(6))), expected);
}

#[test]
fn a_note_is_on_an_issue_a_commit_or_something_else() {
    let issue = json!({ "iid": 17, "author_id": 9, "title": "It is slow", "state": "opened", "labels": [{ "title": "bug" }] });
    let on_issue = &told("Confidential Note Hook", &note("issue", issue))[0];
    assert_eq!(on_issue["comment"]["on"], "issue");
    assert_eq!(on_issue["comment"]["number"], 17);
    // Who opened it, GitLab says only by a number.
    assert_eq!(on_issue["issue"], json!({ "number": 17, "title": "It is slow", "state": "opened", "labels": ["bug"] }));
    assert_eq!(on_issue["ref"], Value::Null);
    let on_commit = &told("Note Hook", &note("commit", json!({ "id": SHA, "message": "Add" })))[0];
    assert_eq!(
        (&on_commit["comment"]["on"], &on_commit["sha"], &on_commit["ref"]),
        (&json!("commit"), &json!(SHA), &Value::Null)
    );
    let on_snippet = &told("Note Hook", &note("snippet", json!({ "id": 53 })))[0];
    assert_eq!((&on_snippet["comment"]["on"], &on_snippet["sha"]), (&json!("other"), &Value::Null));
}

#[test]
fn the_author_of_a_note_is_not_whoever_edited_it() {
    let mut body = note("issue", json!({ "iid": 17 }));
    body["object_attributes"]["author_id"] = json!(9);
    body["object_attributes"]["action"] = json!("update");
    let event = &told("Note Hook", &body)[0];
    assert_eq!((&event["comment"]["author"], &event["pusher"]["login"]), (&Value::Null, &json!("root")));
}

#[test]
fn issues_and_other_work_items_are_issues() {
    let body = json!({
        "object_kind": "work_item", "user": user(), "project": project(), "labels": [{ "title": "old" }],
        "object_attributes": {
            "iid": 23, "author_id": 1, "title": "New", "state": "opened", "action": "open", "type": "Task",
            "url": "https://gitlab.example.com/issues/23", "labels": [{ "title": "API" }],
        },
    });
    let issue = json!({
        "number": 23, "action": "open", "title": "New", "state": "opened", "labels": ["API"],
        "author": { "name": "Root", "login": "root" }, "url": "https://gitlab.example.com/issues/23",
    });
    for event in ["Issue Hook", "Confidential Issue Hook", "System Hook"] {
        let event = &told(event, &body)[0];
        assert_eq!((&event["kind"], &event["issue"]), (&json!("issue"), &issue));
    }
}

/// A pipeline with these attributes, for this merge request.
fn pipeline(attributes: Value, request: Value) -> Value {
    let mut body = json!({
        "object_kind": "pipeline", "user": user(), "project": project(), "merge_request": request,
        "object_attributes": { "id": 31, "name": "nightly", "sha": SHA, "status": "success", "url": "https://gitlab.example.com/31" },
    });
    for (key, value) in attributes.as_object().unwrap() {
        body["object_attributes"][key] = value.clone();
    }
    body
}

#[test]
fn a_pipeline_is_on_the_branch_or_tag_that_gitlab_says_it_is_on() {
    let branch = json!({ "ref": "feature/x", "tag": false, "source": "push" });
    let expected = json!([{
        "kind": "pipeline", "provider_event": "Pipeline Hook", "repository": "gitlab.example.com/group/sub/shop",
        "ref": "refs/heads/feature/x", "branch": "feature/x", "sha": SHA, "pusher": { "name": "Root", "login": "root" },
        "pipeline": { "id": 31, "name": "nightly", "status": "success", "url": "https://gitlab.example.com/31" },
    }]);
    assert_eq!(told("Pipeline Hook", &pipeline(branch.clone(), Value::Null)), expected);
    assert_eq!(told("System Hook", &pipeline(branch, Value::Null)), expected);
    let tag = told("Pipeline Hook", &pipeline(json!({ "ref": "v1", "tag": true }), Value::Null));
    assert_eq!((&tag[0]["tag"], &tag[0]["branch"]), (&json!("v1"), &Value::Null));
    let unclear = told("Pipeline Hook", &pipeline(json!({ "ref": "v1" }), Value::Null));
    assert_eq!(unclear[0]["ref"], Value::Null);
}

#[test]
fn a_pipeline_for_a_merge_request_is_never_on_a_branch() {
    let attributes = json!({ "ref": "main", "tag": false, "source": "merge_request_event" });
    let here = told("Pipeline Hook", &pipeline(attributes.clone(), request(6)));
    assert_eq!((&here[0]["ref"], &here[0]["branch"]), (&json!("refs/merge-requests/7/head"), &Value::Null));
    // A child pipeline has another source, and the same request.
    let child = told("Pipeline Hook", &pipeline(json!({ "ref": "main", "tag": false, "source": "parent_pipeline" }), request(6)));
    assert_eq!(child[0]["ref"], "refs/merge-requests/7/head");
    let mut elsewhere = request(5);
    elsewhere["target_project_id"] = json!(4);
    for request in [elsewhere, Value::Null] {
        assert_eq!(told("Pipeline Hook", &pipeline(attributes.clone(), request))[0]["ref"], Value::Null);
    }
}

#[test]
fn a_job_is_a_check_at_the_ref_that_gitlab_says() {
    let job = |reference: &str, tag: bool| {
        json!({
            "object_kind": "build", "ref": reference, "tag": tag, "sha": OTHER_SHA, "build_name": "test", "build_status": "failed",
            "user": { "id": 1, "name": "Root" },
            "repository": { "homepage": "https://gitlab.example.com/group/sub/shop", "git_http_url": "https://gitlab.example.com/group/sub/shop.git" },
        })
    };
    assert_eq!(
        told("Job Hook", &job("main", false)),
        json!([{
            "kind": "check", "provider_event": "Job Hook", "repository": "gitlab.example.com/group/sub/shop",
            "ref": "refs/heads/main", "branch": "main", "sha": OTHER_SHA, "pusher": { "name": "Root" },
            "check": { "name": "test", "status": "failed" },
        }])
    );
    assert_eq!(told("System Hook", &job("v1", true))[0]["tag"], "v1");
    let of_request = told("Job Hook", &job("refs/merge-requests/1/head", false));
    assert_eq!((&of_request[0]["ref"], &of_request[0]["branch"]), (&json!("refs/merge-requests/1/head"), &Value::Null));
    assert_eq!(told("Job Hook", &job("refs/heads/main", false))[0]["ref"], Value::Null);
}

#[test]
fn a_deployment_says_its_commit_at_the_end_of_an_address() {
    let deployment = |short: &str| {
        json!({
            "object_kind": "deployment", "status": "success", "deployment_id": 15, "environment": "staging", "short_sha": short,
            "deployable_url": "https://gitlab.example.com/-/jobs/796", "project": project(), "user": user(),
            "commit_url": format!("https://gitlab.example.com/group/sub/shop/-/commit/{SHA}"),
        })
    };
    assert_eq!(
        told("Deployment Hook", &deployment(&SHA[..8])),
        json!([{
            "kind": "deployment", "provider_event": "Deployment Hook", "repository": "gitlab.example.com/group/sub/shop",
            "sha": SHA, "pusher": { "name": "Root", "login": "root" },
            "deployment": { "id": 15, "environment": "staging", "status": "success", "url": "https://gitlab.example.com/-/jobs/796" },
        }])
    );
    assert_eq!(told("Deployment Hook", &deployment("279484c0"))[0]["sha"], Value::Null);
}

#[test]
fn a_release_is_at_its_tag() {
    let body = json!({
        "object_kind": "release", "action": "create", "name": "First", "tag": "v1.1", "url": "https://gitlab.example.com/v1.1",
        "project": project(), "commit": { "id": SHA },
    });
    let expected = json!([{
        "kind": "release", "provider_event": "Release Hook", "repository": "gitlab.example.com/group/sub/shop",
        "ref": "refs/tags/v1.1", "tag": "v1.1", "sha": SHA,
        "release": { "action": "create", "name": "First", "url": "https://gitlab.example.com/v1.1" },
    }]);
    assert_eq!(told("Release Hook", &body), expected);
    assert_eq!(told("System Hook", &body), expected);
}

#[test]
fn a_system_hook_without_commits_knows_no_paths() {
    let body = json!({
        "event_name": "push", "ref": "refs/heads/main", "before": OTHER_SHA, "after": SHA, "checkout_sha": SHA,
        "project": project(), "commits": [], "total_commits_count": 2,
    });
    let event = &told("System Hook", &body)[0];
    assert_eq!((&event["provider_event"], &event["branch"]), (&json!("Push Hook"), &json!("main")));
    assert_eq!(serde_json::from_value::<crate::event::Event>(event.clone()).unwrap().paths(), None);
}

#[test]
fn what_only_system_hooks_tell_starts_nothing_and_says_what_to_do() {
    let update = json!({ "event_name": "repository_update", "project": project(), "refs": ["refs/heads/main"] });
    let why = "`repository_update` names no commit of its own; choose push and tag push events for the system hook";
    assert_eq!(told("System Hook", &update), why);
    let body =
        json!({ "event_name": "project_transfer", "path_with_namespace": "new/shop", "old_path_with_namespace": "old/shop" });
    assert_eq!(
        told("System Hook", &body),
        "old/shop is new/shop now; change `repository` where repositories/*.toml says old/shop"
    );
    let mut headers = Headers::new();
    headers.add(EVENT_HEADER, "System Hook");
    headers.add("x-gitlab-instance", "https://gitlab.example.com:8443");
    let group = json!({ "event_name": "group_rename", "full_path": "a/new", "old_full_path": "a/old" });
    let renamed = read(&headers, group.to_string().as_bytes()).unwrap();
    let why = "gitlab.example.com/a/old is gitlab.example.com/a/new now; change `repository` where repositories/*.toml says gitlab.example.com/a/old";
    assert_eq!(renamed, Reading::Nothing(why.to_owned()));
    let why = "GitLab's system hook `user_create` starts nothing in Hookspool";
    assert_eq!(told("System Hook", &json!({ "event_name": "user_create", "name": "x" })), why);
    let why = "GitLab's system hook `wiki_page` starts nothing in Hookspool";
    assert_eq!(told("System Hook", &json!({ "object_kind": "wiki_page", "project": project() })), why);
    for unclear in [json!({ "event_name": "project_rename" }), json!({}), json!({ "event_name": 7 })] {
        assert!(told("System Hook", &unclear).as_str().unwrap().contains("not of the shape"), "{unclear}");
    }
}

#[test]
fn a_signing_token_is_good_for_signatures_and_another_secret_for_itself_alone() {
    let (key, token) = (Secret::new(KEY.to_vec()), Secret::new(b"a plain token".to_vec()));
    let gitlab = Dialect::Forge(Provider::Gitlab);
    let sent = Sent { event: "Push Hook", id: "an-id", body: b"{}", at: NOW };
    let (signed, plain) = (gitlab.headers_of_a_delivery(&sent, &key), gitlab.headers_of_a_delivery(&sent, &token));
    let both = [key.clone(), token.clone()];
    let holds = |headers: &Headers, secrets: &[Secret]| gitlab.verify(headers, b"{}", secrets, NOW).is_ok();
    assert!(holds(&signed, &both) && holds(&plain, &both));
    assert!(!signed.has(TOKEN_HEADER), "a signing token was sent in clear");
    assert!(!holds(&signed, std::slice::from_ref(&token)));
    assert!(!holds(&plain, std::slice::from_ref(&key)));
    let mut revealed = Headers::new();
    revealed.add(TOKEN_HEADER, std::str::from_utf8(KEY).unwrap());
    assert!(!holds(&revealed, &both), "a signing token was taken for a plain one");
    let mut forged = plain.clone();
    forged.add(SIGNATURE_HEADER, "v1,AAAA");
    assert!(!holds(&forged, &both), "a wrong signature was made good by a token");
    let mut keyed_with_token = Headers::new();
    standard_webhooks::sign(&mut keyed_with_token, "an-id", b"{}", &token, NOW);
    assert!(!holds(&keyed_with_token, &both), "a plain token, which is sent in clear, was taken for a key");
}
