//! What Gitea's, Forgejo's and Gogs' deliveries tell, with the fields that their documentation names.

use serde_json::{Value, json};

use super::*;
use crate::forges::conformance::{self, NOW};
use crate::forges::{Dialect, Provider};

const SHA: &str = "562e173be03b8ff2efb05345d12df18815438a4b";

fn told(event: &str, body: &Value) -> Value {
    let gitea = conformance::told(Provider::Gitea, event, body);
    assert_eq!(gitea, conformance::told(Provider::Forgejo, event, body));
    gitea
}

/// A body around a subject, from octo about octo/shop.
fn about_shop(action: &str, subject: Value) -> Value {
    let mut body = json!({
        "action": action, "number": 7, "repository": repository("octo/shop"),
        "sender": { "login": "octo", "full_name": "Octo Cat", "email": "octo@example.com" },
    });
    for (key, value) in subject.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn repository(name: &str) -> Value {
    json!({ "full_name": name, "html_url": format!("https://git.example.com/{name}"), "clone_url": format!("https://git.example.com/{name}.git") })
}

fn octo() -> Value {
    json!({ "name": "Octo Cat", "login": "octo", "email": "octo@example.com" })
}

fn request(head: &str) -> Value {
    json!({
        "head": { "ref": "main", "sha": SHA, "repo": repository(head) },
        "base": { "ref": "main", "sha": "", "repo": repository("octo/shop") },
        "labels": [{ "name": "urgent" }],
    })
}

#[test]
fn a_push_makes_moves_or_deletes_and_only_a_deletion_has_no_commit() {
    let (zeros, before) = ("0".repeat(40), "2293ada6b400935a1378653304eaf6221e0fdb8f");
    let pushed = |reference: &str, before: &str, after: &str| {
        let subject = json!({ "ref": reference, "before": before, "after": after, "commits": [], "pusher": { "login": "octo" } });
        let event = &told("push", &about_shop("", subject))[0];
        assert_eq!((&event["ref"], &event["pusher"]["login"]), (&json!(reference), &json!("octo")));
        (event["kind"].clone(), event["sha"].clone(), event["before"].clone(), event["created"].clone())
    };
    for (reference, moved, deleted) in [("refs/heads/x", "push", "branch_deleted"), ("refs/tags/v1", "tag", "tag_deleted")] {
        assert_eq!(pushed(reference, &zeros, SHA), (json!(moved), json!(SHA), Value::Null, json!(true)));
        assert_eq!(pushed(reference, before, SHA), (json!(moved), json!(SHA), json!(before), json!(false)));
        assert_eq!(pushed(reference, before, &zeros), (json!(deleted), Value::Null, json!(before), json!(false)));
    }
}

#[test]
fn create_and_delete_tell_of_a_branch_or_a_tag_under_its_short_or_its_full_name() {
    for (event, kinds) in [("create", ["branch_created", "tag"]), ("delete", ["branch_deleted", "tag_deleted"])] {
        for (ref_type, folder, kind) in [("branch", "refs/heads/", kinds[0]), ("tag", "refs/tags/", kinds[1])] {
            for name in ["feature/x".to_owned(), format!("{folder}feature/x")] {
                // Gitea says no commit of what is gone; a version that did would not be believed.
                let subject = json!({ "ref": name, "ref_type": ref_type, "sha": SHA, "pusher_type": "user" });
                let event = &told(event, &about_shop("", subject))[0];
                assert_eq!((&event["kind"], &event["ref"]), (&json!(kind), &json!(format!("{folder}feature/x"))));
                assert_eq!(event["sha"].is_string(), !kind.ends_with("_deleted"), "{event}");
            }
        }
    }
    let why = "a \"wiki\" that is made or deleted starts nothing";
    assert_eq!(told("delete", &about_shop("", json!({ "ref": "x", "ref_type": "wiki" }))), why);
}

#[test]
fn a_release_is_at_its_tag_unless_it_is_a_draft() {
    let release = |draft: bool| {
        let release = json!({
            "tag_name": "v1", "target_commitish": "main", "name": "First", "draft": draft, "prerelease": true,
            "html_url": "https://git.example.com/octo/shop/releases/tag/v1",
        });
        told("release", &about_shop("published", json!({ "release": release })))
    };
    assert_eq!(
        release(false),
        json!([{
            "kind": "release", "provider_event": "release", "repository": "git.example.com/octo/shop",
            "ref": "refs/tags/v1", "tag": "v1", "pusher": octo(),
            "release": {
                "action": "published", "name": "First", "draft": false, "prerelease": true,
                "url": "https://git.example.com/octo/shop/releases/tag/v1",
            },
        }])
    );
    assert_eq!(release(true)[0]["ref"], Value::Null);
}

#[test]
fn an_issue_and_its_labels_are_an_issue() {
    let issue = json!({
        "number": 17, "title": "It is slow", "state": "open", "labels": [{ "name": "bug" }], "user": { "login": "mona" },
        "html_url": "https://git.example.com/octo/shop/issues/17", "pull_request": null,
    });
    assert_eq!(
        told("issues", &about_shop("label_updated", json!({ "issue": issue }))),
        json!([{
            "kind": "issue", "provider_event": "issues", "repository": "git.example.com/octo/shop", "pusher": octo(),
            "issue": {
                "number": 17, "action": "label_updated", "title": "It is slow", "state": "open", "labels": ["bug"],
                "author": { "login": "mona" }, "url": "https://git.example.com/octo/shop/issues/17",
            },
        }])
    );
    assert_eq!(told("issue_label", &about_shop("label_updated", json!({ "issue": { "number": 17 } })))[0]["kind"], "issue");
}

#[test]
fn a_comment_on_a_pull_request_is_at_the_requests_own_ref() {
    let comment = |subject: Value| {
        let mut body = about_shop("created", subject);
        body["comment"] = json!({ "body": "/deploy", "user": { "login": "mona" }, "html_url": "https://git.example.com/c" });
        told("issue_comment", &body)
    };
    let on_issue = comment(json!({ "issue": { "number": 17, "state": "open" }, "is_pull": false, "pull_request": null }));
    assert_eq!(
        on_issue,
        json!([{
            "kind": "comment", "provider_event": "issue_comment", "repository": "git.example.com/octo/shop", "pusher": octo(),
            "comment": {
                "action": "created", "on": "issue", "number": 17, "body": "/deploy", "author": { "login": "mona" },
                "url": "https://git.example.com/c",
            },
            "issue": { "number": 17, "state": "open" },
        }])
    );
    // What Gogs says, what Gitea says, and what newer versions of it say.
    for subject in [
        json!({ "issue": { "number": 7, "pull_request": { "merged": false } } }),
        json!({ "issue": { "number": 7 }, "is_pull": true }),
        json!({ "issue": { "number": 7 }, "is_pull": true, "pull_request": request("mona/shop") }),
    ] {
        let event = &comment(subject.clone())[0];
        assert_eq!((&event["ref"], &event["branch"]), (&json!("refs/pull/7/head"), &Value::Null), "{subject}");
        assert_eq!(event["comment"]["on"], "pull_request");
        let is_known = subject["pull_request"].is_object();
        assert_eq!(event["pull_request"]["from_fork"], if is_known { json!(true) } else { Value::Null });
        assert_eq!(event["sha"], if is_known { json!(SHA) } else { Value::Null });
    }
}

#[test]
fn a_review_decides_or_is_a_comment() {
    let review = |event: &str| {
        let review = json!({ "pull_request": request("octo/shop"), "review": { "type": event, "content": "well done" } });
        told(event, &about_shop("reviewed", review))
    };
    let approved = &review("pull_request_approved")[0];
    assert_eq!((&approved["kind"], &approved["pull_request"]["action"]), (&json!("pull_request"), &json!("approved")));
    assert_eq!(review("pull_request_rejected")[0]["pull_request"]["action"], "rejected");
    let comment = &review("pull_request_comment")[0];
    assert_eq!(
        (&comment["kind"], &comment["ref"], &comment["sha"]),
        (&json!("comment"), &json!("refs/pull/7/head"), &json!(SHA))
    );
    let expected = json!({ "action": "reviewed", "on": "pull_request", "number": 7, "body": "well done", "author": octo() });
    assert_eq!(comment["comment"], expected);
}

#[test]
fn a_delivery_under_the_headers_of_gogs_alone_is_verified_and_read() {
    let (secret, body) =
        (Secret::new(b"secret".to_vec()), about_shop("published", json!({ "release": { "tag_name": "v1" } })).to_string());
    let mut headers = Headers::new();
    headers.add("X-Gogs-Event", "release");
    headers.add("X-Gogs-Delivery", "an-id");
    headers.add("X-Gogs-Signature", &signature::hex(&signature::hmac_sha256(&secret, body.as_bytes())));
    let gitea = Dialect::Forge(Provider::Gitea);
    let holds = |body: &str| gitea.verify(&headers, body.as_bytes(), std::slice::from_ref(&secret), NOW).is_ok();
    assert!(holds(&body) && !holds("{}"));
    assert_eq!(gitea.id_of(&headers), Some("an-id"));
    let Ok(Reading::Events(events)) = gitea.read(&headers, body.as_bytes()) else { panic!("it was not read") };
    assert_eq!((events[0].kind, events[0].tag.as_deref()), (Kind::Release, Some("v1")));
}

#[test]
fn the_pull_requests_of_gogs_name_branches_in_place_of_sides() {
    let request = json!({
        "head_branch": "main", "head_repo": { "full_name": "mona/shop" },
        "base_branch": "main", "base_repo": { "full_name": "octo/shop" },
    });
    let body = about_shop("opened", json!({ "pull_request": request }));
    let mut headers = Headers::new();
    headers.add("x-gogs-event", "pull_request");
    let Ok(Reading::Events(events)) = read(&headers, body.to_string().as_bytes()) else { panic!("it was not read") };
    let expected = json!({
        "number": 7, "action": "opened", "head": { "ref": "refs/heads/main" }, "base": { "ref": "refs/heads/main" },
        "from_fork": true,
    });
    assert_eq!(serde_json::to_value(&events[0].pull_request).unwrap(), expected);
    assert_eq!((events[0].branch.as_deref(), events[0].sha.as_ref()), (None, None));
}

#[test]
fn a_package_is_the_repositorys_only_where_it_is_linked_to_it() {
    let package = |ecosystem: &str, version: &str, linked: Value| {
        let package = json!({
            "name": "web", "type": ecosystem, "version": version, "repository": linked,
            "html_url": "https://git.example.com/octo/-/packages/x",
        });
        told("package", &about_shop("created", json!({ "package": package, "repository": null })))
    };
    assert_eq!(
        package("container", "v1", repository("octo/shop")),
        json!([{
            "kind": "package", "provider_event": "package", "repository": "git.example.com/octo/shop", "pusher": octo(),
            "package": {
                "action": "created", "name": "web", "ecosystem": "container", "version": "v1", "tag": "v1",
                "url": "https://git.example.com/octo/-/packages/x",
            },
        }])
    );
    let by_digest = &package("container", "sha256:0a", Value::Null)[0];
    assert_eq!((&by_digest["package"]["digest"], &by_digest["package"]["tag"]), (&json!("sha256:0a"), &Value::Null));
    assert_eq!(by_digest["repository"], Value::Null);
    assert_eq!(package("npm", "1.0.0", Value::Null)[0]["package"]["tag"], Value::Null);
}

#[test]
fn a_status_is_on_a_commit_alone() {
    let status = json!({
        "sha": SHA, "context": "ci/build", "state": "success", "target_url": "https://ci.example.com/1",
        "repository": repository("octo/shop"), "sender": { "login": "octo" },
    });
    assert_eq!(
        told("status", &status),
        json!([{
            "kind": "check", "provider_event": "status", "repository": "git.example.com/octo/shop", "sha": SHA,
            "pusher": { "login": "octo" },
            "check": { "name": "ci/build", "status": "success", "url": "https://ci.example.com/1" },
        }])
    );
}

#[test]
fn a_workflow_is_on_a_branch_only_where_one_is_named() {
    let run = |branch: &str| {
        let run = json!({
            "id": 31, "head_branch": branch, "head_sha": SHA, "status": "completed", "conclusion": "success",
            "html_url": "https://git.example.com/octo/shop/actions/runs/31", "name": "build",
        });
        (json!({ "workflow_run": run, "workflow": { "name": "nightly" } }), json!({ "workflow_job": run }))
    };
    let (pipeline, check) = run("main");
    let at = json!({ "ref": "refs/heads/main", "branch": "main", "sha": SHA });
    let told_of = told("workflow_run", &about_shop("completed", pipeline));
    let subject = json!({
        "action": "completed", "id": 31, "name": "nightly", "status": "success",
        "url": "https://git.example.com/octo/shop/actions/runs/31",
    });
    assert_eq!((&told_of[0]["kind"], &told_of[0]["pipeline"]), (&json!("pipeline"), &subject));
    for key in ["ref", "branch", "sha"] {
        assert_eq!(told_of[0][key], at[key]);
    }
    let job = told("workflow_job", &about_shop("completed", check));
    assert_eq!((&job[0]["kind"], &job[0]["check"]["name"]), (&json!("check"), &json!("build")));
    let for_a_tag = told("workflow_run", &about_shop("completed", run("").0));
    assert_eq!((&for_a_tag[0]["ref"], &for_a_tag[0]["sha"]), (&Value::Null, &json!(SHA)));
}

#[test]
fn forgejos_runs_are_pipelines_of_their_own_repository() {
    let run = json!({
        "id": 31, "repository": repository("octo/shop"), "workflow_id": "nightly.yml", "prettyref": "v1", "commit_sha": SHA,
        "status": "failure", "trigger_user": { "login": "octo" }, "html_url": "https://git.example.com/octo/shop/actions/runs/31",
    });
    assert_eq!(
        told("action_run_failure", &json!({ "action": "failure", "run": run, "prior_status": "success" })),
        json!([{
            "kind": "pipeline", "provider_event": "action_run_failure", "repository": "git.example.com/octo/shop", "sha": SHA,
            "pusher": { "login": "octo" },
            "pipeline": {
                "action": "failure", "id": 31, "name": "nightly.yml", "status": "failure",
                "url": "https://git.example.com/octo/shop/actions/runs/31",
            },
        }])
    );
}

#[test]
fn what_happens_to_a_repository_or_a_wiki_starts_nothing() {
    for event in ["repository", "wiki", "fork", "star"] {
        let why = format!("Gitea's event `{event}` starts nothing in Hookspool");
        assert_eq!(told(event, &about_shop("created", json!({}))), why);
    }
}
