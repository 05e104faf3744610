//! What each forge sends when somebody only tries whether anybody listens.

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::forges::Provider;
use serde_json::json;

/// The event's name and the body. A forge that has nothing of the kind is given GitHub's, of which it knows nothing; then
/// the receiver answers that it ignores it, and why.
pub(super) fn ping(provider: Provider) -> (String, Vec<u8>) {
    let (event, mut body) = match provider {
        // docs.github.com, "Webhook events and payloads", `ping`
        Provider::Github => ("ping", json!({ "zen": "Hookspool asks whether anybody listens.", "hook_id": 1 })),
        // confluence.atlassian.com, "Event payload": "Test connection" in the webhook's settings
        Provider::BitbucketServer => ("diagnostics:ping", json!({ "test": true })),
        // docs.pact.io, "Webhooks", "Testing": the name of the event is a part of the operator's body
        Provider::PactBroker => ("test", json!({ "eventName": "test" })),
        // Their tests are pushes and the like.
        Provider::Gitlab | Provider::Gitea | Provider::Forgejo | Provider::Bitbucket => ("ping", json!({})),
    };
    // The same content twice would be one delivery.
    body["sent_at"] = json!(SystemClock.now().to_string());
    (event.to_owned(), body.to_string().into_bytes())
}
