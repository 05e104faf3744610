//! What Bitbucket Server and Data Center send of a push, field by field as confluence.atlassian.com, "Event payload",
//! "Push", gives them.

use hookspool_common::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::push::{PushedRef, ZERO};

pub(super) fn delivery(push: &PushedRef<'_>) -> (&'static str, Vec<u8>) {
    let (login, address) = push.pusher;
    let (project, slug) = push.repository.path().split_once('/').unwrap_or(("", push.repository.name()));
    let actor = json!({
        "name": login,
        "emailAddress": address,
        "id": 1,
        "displayName": login,
        "active": true,
        "slug": login,
        "type": "NORMAL",
    });
    let id_of = |sha: &str, message: &str| {
        let person = json!({ "name": login, "emailAddress": address });
        json!({ "id": sha, "displayId": &sha[..11], "author": person, "committer": person, "message": message, "parents": [] })
    };
    // The newest comes first.
    let commits: Vec<Value> = push.commits.iter().rev().map(|commit| id_of(commit.sha.as_str(), &commit.message)).collect();
    let body = json!({
        "eventKey": "repo:refs_changed",
        "date": SystemClock.now().to_string(),
        "actor": actor,
        "repository": {
            "slug": slug,
            "id": 1,
            "name": slug,
            "scmId": "git",
            "state": "AVAILABLE",
            "statusMessage": "Available",
            "forkable": true,
            "project": { "key": project, "id": 1, "name": project, "public": false, "type": "NORMAL" },
            "public": false,
            "links": { "clone": [{ "href": format!("https://{}/scm/{project}/{slug}.git", push.host()), "name": "http" }] },
        },
        "changes": [{
            "ref": {
                "id": push.reference,
                "displayId": push.reference.short(),
                "type": if push.reference.tag().is_some() { "TAG" } else { "BRANCH" },
            },
            "refId": push.reference,
            "fromHash": push.before.map_or(ZERO, |sha| sha.as_str()),
            "toHash": push.after,
            "type": if push.before.is_some() { "UPDATE" } else { "ADD" },
        }],
        "toCommit": commits.first(),
        "commits": commits,
    });
    ("repo:refs_changed", body.to_string().into_bytes())
}
