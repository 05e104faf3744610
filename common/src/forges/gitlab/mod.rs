//! GitLab's deliveries, after docs.gitlab.com, "Webhook events", "System hooks" and "Webhooks".
//!
//! What GitLab does not say for certain is not in the event: no commit, no branch and no tag is guessed.

mod wire; // what most deliveries say
mod refs;
mod discussion; // merge requests, issues, notes
mod machines; // pipelines, jobs, deployments, releases
mod system; // what only system hooks tell

use self::wire::about;
use super::content_type::JSON;
use super::reading::{nothing, parse, reading};
use super::standard_webhooks::{self, ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, TOLERANCE};
use super::{Forge, Malformed, Reading, Sent};
use crate::clock::Instant;
use crate::event::Kind;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{self, Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "gitlab",
    // The first is signed; GitLab gives it as the second too. The second is a delivery's own, since GitLab 17.4; the
    // third that of the event, in older ones.
    id_headers: &[ID_HEADER, IDEMPOTENCY_HEADER, "x-gitlab-event-uuid"],
    content_types: &[JSON],
    signature_headers: &[SIGNATURE_HEADER, TOKEN_HEADER],
    kept_headers: &[
        "content-type",
        "user-agent",
        EVENT_HEADER,
        ID_HEADER,
        IDEMPOTENCY_HEADER,
        "x-gitlab-event-uuid",
        system::INSTANCE_HEADER,
    ],
    signed_headers: &[TIMESTAMP_HEADER],
    verify,
    read,
    headers_of_a_delivery,
};

const EVENT_HEADER: &str = "x-gitlab-event";
const IDEMPOTENCY_HEADER: &str = "idempotency-key";
const TOKEN_HEADER: &str = "x-gitlab-token";

/// A signing token signs as Standard Webhooks has it (gitlab-org/gitlab, merge request 230944); another secret is sent as
/// it is, and is then all that vouches for the body. Each is good for its own form alone: who has seen a delivery must
/// not be able to send one as the other.
fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], now: Instant) -> Result<Proof, SignatureError> {
    let (keys, tokens): (Vec<_>, Vec<_>) = secrets.iter().cloned().partition(standard_webhooks::is_signing_key);
    if headers.has(SIGNATURE_HEADER) {
        return standard_webhooks::verify(headers, body, &keys, now, TOLERANCE);
    }
    let token = headers.one(TOKEN_HEADER).ok().flatten().ok_or(SignatureError)?;
    let proof = signature::verify_token(token.as_bytes(), body, &tokens)?;
    // A push back and forth has the same body twice, and no signature makes the body worth more than the forge's own id.
    let has_id = FORGE.id_headers.iter().any(|name| headers.has(name));
    Ok(if has_id { Proof(None) } else { proof })
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    headers.add("user-agent", "GitLab/hookspool");
    headers.add(EVENT_HEADER, sent.event);
    headers.add(IDEMPOTENCY_HEADER, sent.id);
    if standard_webhooks::is_signing_key(secret) {
        standard_webhooks::sign(&mut headers, sent.id, sent.body, secret, sent.at);
    } else {
        headers.add(TOKEN_HEADER, &String::from_utf8_lossy(secret.bytes()));
    }
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = headers.one(EVENT_HEADER).ok().flatten().ok_or(Malformed::EventHeader("X-Gitlab-Event"))?;
    let mut event: String = event.chars().take(64).collect();
    if event == system::EVENT {
        event = match parse(body, |named| Ok(system::name(named))) {
            Ok(name) => name,
            Err(unread) => return reading("GitLab", system::EVENT, Err(unread)),
        };
    }
    let name = event.as_str();
    let read = match name {
        "Push Hook" | "Tag Push Hook" => parse(body, |delivery| refs::push(delivery, name)),
        "Merge Request Hook" => about(body, Kind::PullRequest, name, discussion::merge_request),
        "Issue Hook" | "Confidential Issue Hook" => about(body, Kind::Issue, name, discussion::issue),
        "Note Hook" | "Confidential Note Hook" => about(body, Kind::Comment, name, discussion::note),
        "Pipeline Hook" => about(body, Kind::Pipeline, name, machines::pipeline),
        "Job Hook" | "Build Hook" => about(body, Kind::Check, name, machines::job),
        "Deployment Hook" => about(body, Kind::Deployment, name, machines::deployment),
        "Release Hook" => about(body, Kind::Release, name, machines::release),
        name if name.starts_with(system::EVENT) => {
            return reading("GitLab", name, parse(body, |told| system::reason(told, headers)));
        }
        _ => return nothing("GitLab", name, body),
    };
    reading("GitLab", name, read.map(|event| vec![event]))
}

#[cfg(test)]
mod tests;
