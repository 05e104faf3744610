//! What Bitbucket Cloud sends of a push, field by field as support.atlassian.com, "Event payloads", "Push", gives them.
//! It tells nobody's mail address but those of commits' authors.

use hookspool_common::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::push::{PushedCommit, PushedRef};

pub(super) fn delivery(push: &PushedRef<'_>) -> (&'static str, Vec<u8>) {
    let (login, address) = push.pusher;
    let (web, now) = (push.web(), SystemClock.now().to_string());
    let full_name = push.repository.path();
    let actor = json!({ "type": "user", "display_name": login, "nickname": login });
    let target = |sha: &str, message: &str| {
        json!({
            "type": "commit",
            "hash": sha,
            "message": message,
            "date": now,
            "author": { "type": "author", "raw": format!("{login} <{address}>") },
            "parents": [],
            "links": { "html": { "href": format!("{web}/commits/{sha}") } },
        })
    };
    let tip = |sha: &str, message: &str| {
        json!({
            "type": if push.reference.tag().is_some() { "tag" } else { "branch" },
            "name": push.reference.short(),
            "target": target(sha, message),
            "links": { "html": { "href": format!("{web}/branch/{}", push.reference.short()) } },
        })
    };
    let message = push.commits.last().map_or("", |commit| commit.message.as_str());
    // The newest comes first.
    let of_commit = |commit: &PushedCommit| target(commit.sha.as_str(), &commit.message);
    let commits: Vec<Value> = push.commits.iter().rev().map(of_commit).collect();
    let body = json!({
        "actor": actor,
        "repository": {
            "type": "repository",
            "name": push.repository.name(),
            "full_name": full_name,
            "scm": "git",
            "website": null,
            "is_private": false,
            "owner": actor,
            "links": { "html": { "href": web }, "self": { "href": format!("https://api.bitbucket.org/2.0/repositories/{full_name}") } },
        },
        "push": {
            "changes": [{
                "old": push.before.map(|sha| tip(sha.as_str(), "")),
                "new": tip(push.after.as_str(), message),
                "created": push.before.is_none(),
                "closed": false,
                "forced": push.forced,
                "truncated": false,
                "commits": commits,
            }],
        },
    });
    ("repo:push", body.to_string().into_bytes())
}
