//! What GitHub would send for a push, field by field as docs.github.com, "Webhook events and payloads", gives them.

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::git_name::Sha;
use hookspool_common::repository_name::RepositoryName;
use serde_json::{Value, json};

use super::push::{PushedCommit, PushedRef, ZERO};

pub(in crate::operator) fn push_body(push: &PushedRef<'_>) -> Vec<u8> {
    push_json(push).to_string().into_bytes()
}

pub(super) fn push_json(push: &PushedRef<'_>) -> Value {
    let now = SystemClock.now().to_string();
    let (login, address) = push.pusher;
    let web = push.web();
    let commits: Vec<Value> = push.commits.iter().map(|commit| commit_json(commit, &web, login, address, &now)).collect();
    let before = push.before.map_or(ZERO, Sha::as_str);
    json!({
        "ref": push.reference,
        "before": before,
        "after": push.after,
        "repository": repository_json(push.repository, &web, &now),
        "pusher": { "name": login, "email": address },
        "sender": user_json(login),
        "created": push.before.is_none(),
        "deleted": false,
        "forced": push.forced,
        "base_ref": null,
        "compare": format!("{web}/compare/{}...{}", &before[..12], &push.after.as_str()[..12]),
        "commits": commits,
        "head_commit": commits.last(),
    })
}

fn commit_json(commit: &PushedCommit, web: &str, login: &str, address: &str, now: &str) -> Value {
    let person = json!({ "name": login, "email": address, "username": login, "date": now });
    let mut json = json!({
        "id": commit.sha,
        "tree_id": commit.sha,
        "distinct": true,
        "message": commit.message,
        "timestamp": now,
        "url": format!("{web}/commit/{}", commit.sha),
        "author": person,
        "committer": person,
    });
    if let Some(paths) = &commit.paths {
        json["added"] = json!([]);
        json["removed"] = json!([]);
        json["modified"] = json!(paths);
    }
    json
}

fn user_json(login: &str) -> Value {
    let api = format!("https://api.github.com/users/{login}");
    json!({
        "login": login,
        "id": 583_231,
        "node_id": "MDQ6VXNlcjU4MzIzMQ==",
        "avatar_url": "https://avatars.githubusercontent.com/u/583231?v=4",
        "gravatar_id": "",
        "url": api,
        "html_url": format!("https://github.com/{login}"),
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "type": "User",
        "site_admin": false,
    })
}

fn repository_json(repository: &RepositoryName, web: &str, now: &str) -> Value {
    let owner = repository.path().split('/').next().unwrap_or_default();
    let host = repository.as_str().split('/').next().unwrap_or_default();
    let api = format!("https://api.github.com/repos/{}", repository.path());
    json!({
        "id": 1_296_269,
        "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5",
        "name": repository.name(),
        "full_name": repository.path(),
        "private": false,
        "owner": user_json(owner),
        "html_url": web,
        "description": null,
        "fork": false,
        "url": web,
        "commits_url": format!("{api}/commits{{/sha}}"),
        "statuses_url": format!("{api}/statuses/{{sha}}"),
        "created_at": 1_296_068_472,
        "updated_at": now,
        "pushed_at": SystemClock.now().millis() / 1000,
        "git_url": format!("git://{repository}.git"),
        "ssh_url": format!("git@{host}:{}.git", repository.path()),
        "clone_url": format!("{web}.git"),
        "default_branch": "main",
        "master_branch": "main",
        "visibility": "public",
    })
}
