//! What Bitbucket Server's deliveries tell, with the fields that its documentation names.

use serde_json::{Value, json};

use crate::forges::Provider;
use crate::forges::conformance;

const SHA: &str = "178864a7d521b6f5e720b386b2c2b0ef8563e0dc";

fn told(event: &str, body: &Value) -> Value {
    conformance::told(Provider::BitbucketServer, event, body)
}

fn repository(id: u64) -> Value {
    let clone = json!([{ "href": "ssh://git@git.example.com:7999/proj/shop.git", "name": "ssh" }]);
    json!({ "id": id, "slug": "shop", "project": { "key": "PROJ" }, "links": { "clone": clone } })
}

fn admin() -> Value {
    json!({ "name": "admin", "emailAddress": "admin@example.com", "displayName": "Administrator" })
}

/// The same person as an event has them.
fn person() -> Value {
    json!({ "name": "Administrator", "login": "admin", "email": "admin@example.com" })
}

fn request(action: &str, source: u64) -> Value {
    let end = |id: &str, repository: Value| json!({ "id": id, "latestCommit": SHA, "repository": repository });
    let request = json!({ "id": 7, "fromRef": end("refs/heads/main", repository(source)), "toRef": end("refs/heads/main", repository(84)) });
    json!({ "eventKey": action, "actor": admin(), "pullRequest": request, "comment": { "text": "/deploy", "author": admin() } })
}

#[test]
fn every_ref_of_a_push_was_made_moved_or_deleted_and_only_a_deletion_has_no_commit() {
    let (zeros, old) = ("0".repeat(40), "197a3e0d2f9a2b3ed1c4fe5923d5dd701bee9fdd");
    let change =
        |id: &str, kind: &str, from: &str, to: &str| json!({ "refId": id, "fromHash": from, "toHash": to, "type": kind });
    for (id, moved, deleted) in [("refs/heads/x", "push", "branch_deleted"), ("refs/tags/x", "tag", "tag_deleted")] {
        let changes = [change(id, "ADD", &zeros, SHA), change(id, "UPDATE", old, SHA), change(id, "DELETE", old, &zeros)];
        let events = told("repo:refs_changed", &json!({ "actor": admin(), "repository": repository(84), "changes": changes }));
        let facts = |event: &Value| ["kind", "ref", "sha", "before", "created"].map(|key| event[key].clone());
        let expected = [
            [json!(moved), json!(id), json!(SHA), Value::Null, json!(true)],
            [json!(moved), json!(id), json!(SHA), json!(old), json!(false)],
            [json!(deleted), json!(id), Value::Null, json!(old), json!(false)],
        ];
        assert_eq!(events.as_array().unwrap().iter().map(facts).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_comment_on_a_request_is_at_the_requests_own_ref() {
    assert_eq!(
        told("pr:comment:added", &request("pr:comment:added", 85)),
        json!([{
            "kind": "comment", "provider_event": "pr:comment:added", "repository": "git.example.com/proj/shop",
            "ref": "refs/pull-requests/7/from", "sha": SHA, "pusher": person(),
            "pull_request": {
                "number": 7, "action": "added", "from_fork": true,
                "head": { "ref": "refs/heads/main", "sha": SHA }, "base": { "ref": "refs/heads/main", "sha": SHA },
            },
            "comment": { "action": "added", "on": "pull_request", "number": 7, "body": "/deploy", "author": person() },
        }])
    );
}

#[test]
fn whatever_else_happens_to_a_request_is_its_action() {
    for action in ["opened", "from_ref_updated", "modified", "reviewer:approved", "merged", "declined", "deleted"] {
        let event = &told(&format!("pr:{action}"), &request(action, 84))[0];
        assert_eq!((&event["kind"], &event["pull_request"]["action"]), (&json!("pull_request"), &json!(action)));
        assert_eq!((&event["comment"], &event["pull_request"]["from_fork"]), (&Value::Null, &json!(false)));
    }
}

#[test]
fn a_comment_on_a_commit_is_on_no_branch() {
    let body = json!({ "actor": admin(), "repository": repository(84), "commit": SHA, "comment": { "text": "Why?", "author": admin() } });
    assert_eq!(
        told("repo:comment:added", &body),
        json!([{
            "kind": "comment", "provider_event": "repo:comment:added", "repository": "git.example.com/proj/shop", "sha": SHA,
            "pusher": person(), "comment": { "action": "added", "on": "commit", "body": "Why?", "author": person() },
        }])
    );
}

#[test]
fn a_mirror_that_caught_up_tells_of_the_refs_that_it_lists() {
    let synchronized = |exceeded: bool, changes: Value| {
        let body =
            json!({ "syncType": "INCREMENTAL", "refLimitExceeded": exceeded, "repository": repository(84), "changes": changes });
        told("mirror:repo_synchronized", &body)
    };
    let change =
        |kind: &str, from: &str, to: &str| json!({ "refId": "refs/heads/x", "fromHash": from, "toHash": to, "type": kind });
    let zeros = "0".repeat(40);
    let both = synchronized(false, json!([change("UPDATE", SHA, SHA), change("DELETE", SHA, &zeros)]));
    let expected = json!([
        {
            "kind": "push", "provider_event": "mirror:repo_synchronized", "repository": "git.example.com/proj/shop",
            "ref": "refs/heads/x", "branch": "x", "sha": SHA, "before": SHA, "created": false,
        },
        {
            "kind": "branch_deleted", "provider_event": "mirror:repo_synchronized", "repository": "git.example.com/proj/shop",
            "ref": "refs/heads/x", "branch": "x", "before": SHA, "created": false,
        },
    ]);
    assert_eq!(both, expected);
    let why = "a mirror synchronized more refs than Bitbucket lists, so none is known";
    assert_eq!(synchronized(true, json!([])), why);
    assert_eq!(synchronized(false, json!([])), "this `mirror:repo_synchronized` tells of nothing that happened");
}

#[test]
fn a_new_name_starts_nothing_and_says_what_to_do() {
    let modified = |slug: &str| {
        let new = json!({ "slug": slug, "id": 84, "project": { "key": "PROJ" } });
        told("repo:modified", &json!({ "actor": admin(), "old": { "slug": "shop", "project": { "key": "PROJ" } }, "new": new }))
    };
    assert_eq!(modified("store"), "proj/shop is proj/store now; change `repository` where repositories/*.toml says proj/shop");
    assert_eq!(modified("shop"), "a repository of which something other than its name was changed starts nothing");
    let why = "Bitbucket Server's event `repo:forked` starts nothing in Hookspool";
    assert_eq!(told("repo:forked", &json!({})), why);
}

#[test]
fn a_test_from_the_settings_is_a_ping() {
    assert_eq!(
        told("diagnostics:ping", &json!({ "test": true })),
        json!([{ "kind": "ping", "provider_event": "diagnostics:ping" }])
    );
}
