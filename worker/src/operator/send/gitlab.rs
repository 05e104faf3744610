//! What GitLab sends of a push, field by field as docs.gitlab.com, "Webhook events", "Push events" and "Tag events", gives
//! them.

use hookspool_common::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::push::{PushedCommit, PushedRef, ZERO};

pub(super) fn delivery(push: &PushedRef<'_>) -> (&'static str, Vec<u8>) {
    let (event, kind) = if push.reference.tag().is_some() { ("Tag Push Hook", "tag_push") } else { ("Push Hook", "push") };
    let (login, address) = push.pusher;
    let (web, now) = (push.web(), SystemClock.now().to_string());
    let ssh = format!("git@{}:{}.git", push.host(), push.repository.path());
    let commits: Vec<Value> = push.commits.iter().map(|commit| commit_json(commit, &web, login, address, &now)).collect();
    let body = json!({
        "object_kind": kind,
        "event_name": kind,
        "before": push.before.map_or(ZERO, |sha| sha.as_str()),
        "after": push.after,
        "ref": push.reference,
        "checkout_sha": push.after,
        "message": null,
        "user_id": 1,
        "user_name": login,
        "user_username": login,
        "user_email": address,
        "project_id": 1,
        "project": {
            "id": 1,
            "name": push.repository.name(),
            "description": "",
            "web_url": web,
            "git_ssh_url": ssh,
            "git_http_url": format!("{web}.git"),
            "namespace": push.repository.path().split('/').next(),
            "visibility_level": 20,
            "path_with_namespace": push.repository.path(),
            "default_branch": "main",
            "homepage": web,
            "url": ssh,
            "ssh_url": ssh,
            "http_url": format!("{web}.git"),
        },
        "commits": commits,
        "total_commits_count": commits.len(),
        "push_options": {},
    });
    (event, body.to_string().into_bytes())
}

fn commit_json(commit: &PushedCommit, web: &str, login: &str, address: &str, now: &str) -> Value {
    let mut json = json!({
        "id": commit.sha,
        "message": commit.message,
        "title": commit.message.lines().next(),
        "timestamp": now,
        "url": format!("{web}/-/commit/{}", commit.sha),
        "author": { "name": login, "email": address },
    });
    if let Some(paths) = &commit.paths {
        json["added"] = json!([]);
        json["modified"] = json!(paths);
        json["removed"] = json!([]);
    }
    json
}
