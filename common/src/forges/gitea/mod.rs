//! Gitea's and Forgejo's deliveries, after docs.gitea.com and forgejo.org, "Webhooks". Gogs, from which both come, has
//! nearly the same bodies under headers of its own.
//!
//! What the forge does not say for certain is not in the event: no commit, no branch and no tag is guessed.

mod wire; // what every delivery says
mod refs;
mod discussion; // pull requests, issues, comments
mod published; // releases and packages
mod machines; // statuses and workflows

use self::wire::about;
use super::content_type::{FORM_AROUND_SIGNED, JSON};
use super::reading::{nothing, parse, reading};
use super::{Forge, Malformed, Reading, Sent, hub_signature};
use crate::clock::Instant;
use crate::event::Kind;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{self, Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "gitea",
    id_headers: &["x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery"],
    content_types: &[JSON, FORM_AROUND_SIGNED],
    signature_headers: &["x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", HUB_SIGNATURE_HEADER],
    kept_headers: &[
        "content-type",
        "user-agent",
        "x-gitea-event",
        "x-forgejo-event",
        "x-gogs-event",
        "x-gitea-delivery",
        "x-forgejo-delivery",
        "x-gogs-delivery",
    ],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

/// Forgejo sends Gitea's headers beside its own.
pub(super) const FORGEJO: Forge = Forge { name: "forgejo", ..FORGE };

const EVENT_HEADERS: [&str; 3] = ["x-forgejo-event", "x-gitea-event", "x-gogs-event"];
/// Bare hex digits.
const SIGNATURE_HEADERS: [&str; 3] = ["x-forgejo-signature", "x-gitea-signature", "x-gogs-signature"];
/// Hex digits after `sha256=`, as GitHub's.
const HUB_SIGNATURE_HEADER: &str = "x-hub-signature-256";

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    match SIGNATURE_HEADERS.iter().find_map(|name| headers.one(name).ok().flatten()) {
        Some(digits) => signature::verify_hex(digits, body, secrets),
        None => hub_signature::verify(headers, HUB_SIGNATURE_HEADER, body, secrets),
    }
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let digits = signature::hex(&signature::hmac_sha256(secret, sent.body));
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    for forge in ["gitea", "forgejo"] {
        headers.add(&format!("x-{forge}-event"), sent.event);
        headers.add(&format!("x-{forge}-delivery"), sent.id);
        headers.add(&format!("x-{forge}-signature"), &digits);
    }
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = EVENT_HEADERS.iter().find_map(|name| headers.one(name).ok().flatten());
    let event: String = event.ok_or(Malformed::EventHeader("X-Gitea-Event"))?.chars().take(64).collect();
    let name = event.as_str();
    let read = match name {
        "push" => parse(body, refs::push),
        "create" => parse(body, |delivery| refs::create_or_delete(delivery, true)),
        "delete" => parse(body, |delivery| refs::create_or_delete(delivery, false)),
        "issue_comment" => about(body, Kind::Comment, name, discussion::comment),
        "pull_request_comment" | "pull_request_review_comment" => about(body, Kind::Comment, name, discussion::review),
        "release" => about(body, Kind::Release, name, published::release),
        "package" => about(body, Kind::Package, name, published::package),
        "status" => about(body, Kind::Check, name, machines::status),
        "workflow_job" => about(body, Kind::Check, name, machines::workflow_job),
        "workflow_run" => about(body, Kind::Pipeline, name, machines::workflow_run),
        name if name.starts_with("action_run_") => about(body, Kind::Pipeline, name, machines::action_run),
        // Labels, reviews and the like come under names of their own in some versions, and have the same body.
        name if name == "pull_request" || name.starts_with("pull_request_") => {
            about(body, Kind::PullRequest, name, discussion::pull_request)
        }
        name if name == "issues" || name.starts_with("issue_") => about(body, Kind::Issue, name, discussion::issue),
        _ => return nothing("Gitea", name, body),
    };
    reading("Gitea", name, read.map(|event| vec![event]))
}

#[cfg(test)]
mod tests;
