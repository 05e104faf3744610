//! What Bitbucket Cloud's deliveries tell, with the fields that its documentation names.

use serde_json::{Value, json};

use crate::forges::Provider;
use crate::forges::conformance;

const SHA: &str = "9fec847784abb10b2fa567ee63b85bd238955d0e";

/// A delivery from mona about octo/shop.
fn told(event: &str, mut body: Value) -> Value {
    body["repository"] = json!({ "full_name": "octo/shop" });
    body["actor"] = json!({ "display_name": "Mona", "nickname": "mona" });
    conformance::told(Provider::Bitbucket, event, &body)
}

#[test]
fn every_ref_of_a_push_was_made_moved_or_closed_and_only_what_is_closed_has_no_commit() {
    let old = "a51241ae1f00cbe728930db48e890b18fd527f99";
    let tip = |kind: &str, hash: &str| json!({ "type": kind, "name": "x", "target": { "hash": hash } });
    let change = |new: Value, old: Value| {
        let (created, closed) = (old.is_null(), new.is_null());
        json!({ "new": new, "old": old, "created": created, "closed": closed, "forced": false, "truncated": false, "commits": [] })
    };
    let of = |kind: &str| {
        [
            change(tip(kind, SHA), Value::Null),
            change(tip(kind, SHA), tip(kind, old)),
            change(Value::Null, tip(kind, old)),
            // A bookmark is neither branch nor tag.
            change(tip("bookmark", SHA), Value::Null),
        ]
    };
    for (tip, moved, deleted, reference) in [
        ("branch", "push", "branch_deleted", "refs/heads/x"),
        ("tag", "tag", "tag_deleted", "refs/tags/x"),
        ("annotated_tag", "tag", "tag_deleted", "refs/tags/x"),
    ] {
        let events = told("repo:push", json!({ "push": { "changes": of(tip) } }));
        let facts = |event: &Value| ["kind", "ref", "sha", "before", "created"].map(|key| event[key].clone());
        let expected = [
            [json!(moved), json!(reference), json!(SHA), Value::Null, json!(true)],
            [json!(moved), json!(reference), json!(SHA), json!(old), json!(false)],
            [json!(deleted), json!(reference), Value::Null, json!(old), json!(false)],
        ];
        assert_eq!(events.as_array().unwrap().iter().map(facts).collect::<Vec<_>>(), expected);
    }
}

fn request(source: &str) -> Value {
    let end = |repository: &str, branch: &str| json!({ "branch": { "name": branch }, "commit": { "hash": "d3022fc0ca3d" }, "repository": { "full_name": repository } });
    json!({ "id": 7, "source": end(source, "fix"), "destination": end("octo/shop", "main") })
}

fn comment() -> Value {
    json!({
        "content": { "raw": "/deploy", "html": "<p>/deploy</p>" }, "user": { "display_name": "Mona", "nickname": "mona" },
        "links": { "html": { "href": "https://bitbucket.org/octo/shop/_/diff#comment-1" } },
    })
}

fn mona() -> Value {
    json!({ "name": "Mona", "login": "mona" })
}

/// The comment above as an event has it.
fn said_on(on: &str, number: Value) -> Value {
    let mut comment = json!({
        "action": "created", "on": on, "body": "/deploy", "author": mona(),
        "url": "https://bitbucket.org/octo/shop/_/diff#comment-1",
    });
    if number.is_number() {
        comment["number"] = number;
    }
    comment
}

#[test]
fn a_comment_on_a_request_is_at_its_branch_and_nowhere_when_that_is_a_forks() {
    let on = |source: &str| {
        let body = json!({ "pullrequest": request(source), "comment": comment() });
        told("pullrequest:comment_created", body)
    };
    assert_eq!(
        on("octo/shop"),
        json!([{
            "kind": "comment", "provider_event": "pullrequest:comment_created", "repository": "bitbucket.org/octo/shop",
            "ref": "refs/heads/fix", "branch": "fix", "pusher": mona(), "comment": said_on("pull_request", json!(7)),
            "pull_request": {
                "number": 7, "action": "created", "from_fork": false,
                "head": { "ref": "refs/heads/fix" }, "base": { "ref": "refs/heads/main" },
            },
        }])
    );
    let of_a_fork = &on("mona/shop")[0];
    assert_eq!((&of_a_fork["ref"], &of_a_fork["branch"]), (&Value::Null, &Value::Null));
    assert_eq!(of_a_fork["pull_request"]["from_fork"], true);
}

#[test]
fn whatever_else_happens_to_a_request_is_its_action() {
    for action in ["created", "updated", "approved", "unapproved", "changes_request_created", "fulfilled", "rejected"] {
        let event = &told(&format!("pullrequest:{action}"), json!({ "pullrequest": request("mona/shop") }))[0];
        assert_eq!((&event["kind"], &event["pull_request"]["action"]), (&json!("pull_request"), &json!(action)));
        assert_eq!(event["ref"], Value::Null, "a fork's branch was taken for the repository's");
    }
}

#[test]
fn a_comment_on_a_commit_is_on_no_branch() {
    assert_eq!(
        told("repo:commit_comment_created", json!({ "commit": { "hash": SHA }, "comment": comment() })),
        json!([{
            "kind": "comment", "provider_event": "repo:commit_comment_created", "repository": "bitbucket.org/octo/shop",
            "sha": SHA, "pusher": mona(), "comment": said_on("commit", Value::Null),
        }])
    );
}

#[test]
fn issues_and_what_is_said_on_them() {
    let issue = json!({
        "id": 17, "title": "It is slow", "state": "new", "content": { "raw": "Very." }, "reporter": { "nickname": "octo" },
        "links": { "html": { "href": "https://bitbucket.org/octo/shop/issues/17" } },
    });
    let mut expected = json!({
        "number": 17, "action": "created", "title": "It is slow", "state": "new", "author": { "login": "octo" },
        "url": "https://bitbucket.org/octo/shop/issues/17",
    });
    let created = &told("issue:created", json!({ "issue": issue }))[0];
    assert_eq!((&created["kind"], &created["issue"]), (&json!("issue"), &expected));
    let commented = &told("issue:comment_created", json!({ "issue": issue, "comment": comment() }))[0];
    expected.as_object_mut().unwrap().remove("action");
    assert_eq!((&commented["kind"], &commented["issue"]), (&json!("comment"), &expected));
    assert_eq!(commented["comment"], said_on("issue", json!(17)));
}

#[test]
fn a_status_is_on_the_commit_at_the_end_of_its_address() {
    let status = |commit: &str| {
        let status = json!({
            "name": "Unit tests", "key": "unit", "state": "SUCCESSFUL", "url": "https://ci.example.com/1", "type": "build",
            "refname": "main",
            "links": { "commit": { "href": format!("https://api.bitbucket.org/2.0/repositories/octo/shop/commit/{commit}") } },
        });
        told("repo:commit_status_updated", json!({ "commit_status": status }))
    };
    assert_eq!(
        status(SHA),
        json!([{
            "kind": "check", "provider_event": "repo:commit_status_updated", "repository": "bitbucket.org/octo/shop",
            "sha": SHA, "pusher": mona(),
            "check": { "name": "Unit tests", "status": "SUCCESSFUL", "url": "https://ci.example.com/1" },
        }])
    );
    assert_eq!(status("9fec847")[0]["sha"], Value::Null);
}

#[test]
fn a_new_name_starts_nothing_and_says_what_to_do() {
    let renamed = json!({ "changes": { "full_name": { "old": "octo/shop", "new": "octo/store" } } });
    let why = "bitbucket.org/octo/shop is bitbucket.org/octo/store now; change `repository` where repositories/*.toml says bitbucket.org/octo/shop";
    assert_eq!(told("repo:updated", renamed), why);
    let why = "a repository of which something other than its name was changed starts nothing";
    assert_eq!(told("repo:updated", json!({ "changes": { "website": { "old": "", "new": "x" } } })), why);
    let why = "a repository has a new owner and is bitbucket.org/octo/shop now; change `repository` where repositories/*.toml says its former name";
    assert_eq!(told("repo:transfer", json!({})), why);
    assert_eq!(told("repo:fork", json!({})), "Bitbucket's event `repo:fork` starts nothing in Hookspool");
}
