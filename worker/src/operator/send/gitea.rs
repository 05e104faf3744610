//! What Gitea, and Forgejo after it, send of a push: GitHub's form, but for the fields that docs.gitea.com, "Webhooks", gives
//! otherwise.

use serde_json::{Value, json};

use super::github;
use super::push::PushedRef;

pub(super) fn delivery(push: &PushedRef<'_>) -> (&'static str, Vec<u8>) {
    let (login, address) = push.pusher;
    let mut body = github::push_json(push);
    if let Value::Object(fields) = &mut body {
        for of_github_alone in ["created", "deleted", "forced", "base_ref"] {
            fields.remove(of_github_alone);
        }
        let compare = fields.remove("compare");
        fields.extend(compare.map(|url| ("compare_url".to_owned(), url)));
    }
    let user = json!({ "id": 1, "login": login, "full_name": login, "email": address, "username": login });
    body["pusher"] = user.clone();
    body["sender"] = user;
    body["total_commits"] = json!(push.commits.len());
    ("push", body.to_string().into_bytes())
}
