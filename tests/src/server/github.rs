//! What GitHub sends, with the fields that matter here (docs.github.com, "Webhook events and payloads").

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

const ZERO: &str = "0000000000000000000000000000000000000000";

/// One delivery, unsigned.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// GitHub's name of the event.
    pub event: &'static str,
    /// GitHub's id of the delivery.
    pub id: String,
    /// The body.
    pub body: Value,
}

/// A push, of which everything but ref and commit has a default.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The full ref.
    pub reference: &'a str,
    /// What it points to now; `None` when it was deleted.
    pub after: Option<&'a str>,
    /// The commit of an annotated tag.
    pub head_commit: Option<&'a str>,
    /// Whether the ref is new.
    pub created: bool,
    /// Whether commits that were on it are not on it any more.
    pub forced: bool,
    /// The pusher's mail address.
    pub email: &'a str,
}

impl<'a> Push<'a> {
    /// A push of `after` to `reference` by mona.
    #[must_use]
    pub const fn of(reference: &'a str, after: &'a str) -> Self {
        Self { reference, after: Some(after), head_commit: None, created: false, forced: false, email: "mona@example.org" }
    }
}

impl From<Push<'_>> for Delivery {
    fn from(push: Push<'_>) -> Self {
        let commit = push.head_commit.or(push.after);
        let commit =
            commit.map(|sha| json!({ "id": sha, "message": "A change", "added": [], "removed": [], "modified": ["message"] }));
        let is_tag = push.reference.starts_with("refs/tags/");
        Self::new(
            "push",
            json!({
                "ref": push.reference,
                "before": if push.created { ZERO } else { "1111111111111111111111111111111111111111" },
                "after": push.after.unwrap_or(ZERO),
                "created": push.created,
                "deleted": push.after.is_none(),
                "forced": push.forced,
                "pusher": { "name": "mona", "email": push.email },
                "commits": commit.iter().filter(|_| !is_tag).collect::<Vec<_>>(),
                "head_commit": commit,
            }),
        )
    }
}

impl Delivery {
    /// What mona did in `octo/shop`, with this subject.
    #[must_use]
    pub fn new(event: &'static str, mut body: Value) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // As GitHub's time stamps do, this tells two deliveries apart that otherwise say the same.
        let pushed_at = 1_700_000_000 + number;
        body["repository"] =
            json!({ "full_name": "octo/shop", "clone_url": "https://github.com/octo/shop.git", "pushed_at": pushed_at });
        body["sender"] = json!({ "login": "mona" });
        Self { event, id: format!("00000000-0000-4000-8000-{number:012x}"), body }
    }

    /// A push of `sha` to a branch.
    #[must_use]
    pub fn push(branch: &str, sha: &str) -> Self {
        Push::of(&format!("refs/heads/{branch}"), sha).into()
    }

    /// A push that makes a tag.
    #[must_use]
    pub fn tag(tag: &str, sha: &str) -> Self {
        Push { created: true, ..Push::of(&format!("refs/tags/{tag}"), sha) }.into()
    }

    /// A push that deletes a branch.
    #[must_use]
    pub fn deleted(branch: &str) -> Self {
        Push { after: None, ..Push::of(&format!("refs/heads/{branch}"), "") }.into()
    }

    /// `create` or `delete`, the other telling of what a push tells of. `kind` is `branch` or `tag`.
    #[must_use]
    pub fn other_telling(event: &'static str, kind: &str, name: &str) -> Self {
        Self::new(event, json!({ "ref": name, "ref_type": kind, "master_branch": "master", "pusher_type": "user" }))
    }

    /// A pull request from the branch `topic` of the repository `head`, such as `octo/shop`, to `master`.
    #[must_use]
    pub fn pull_request(number: u64, sha: &str, head: &str) -> Self {
        let repository = |name: &str| json!({ "full_name": name, "clone_url": format!("https://github.com/{name}.git") });
        let request = json!({
            "head": { "ref": "topic", "sha": sha, "repo": repository(head) },
            "base": { "ref": "master", "repo": repository("octo/shop") },
            "labels": [],
        });
        Self::new("pull_request", json!({ "action": "opened", "number": number, "pull_request": request }))
    }
}
