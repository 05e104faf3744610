//! Bitbucket Cloud's deliveries, after support.atlassian.com, "Event payloads" and "Manage webhooks", "Secure webhooks".
//!
//! What Bitbucket does not say for certain is not in the event: no commit, no branch and no tag is guessed.

mod wire; // what every delivery says
mod refs;
mod discussion; // pull requests, issues, comments
mod checks; // statuses of commits
mod moved; // a repository with another name

use self::wire::about;
use super::content_type::JSON;
use super::reading::{nothing, parse, reading};
use super::{Forge, Malformed, Reading, Sent, hub_signature};
use crate::clock::Instant;
use crate::event::Kind;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "bitbucket",
    id_headers: &[ID_HEADER],
    content_types: &[JSON],
    signature_headers: &[SIGNATURE_HEADER],
    kept_headers: &["content-type", "user-agent", EVENT_HEADER, ID_HEADER, "x-hook-uuid", "x-attempt-number"],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const EVENT_HEADER: &str = "x-event-key";
const ID_HEADER: &str = "x-request-uuid";
const SIGNATURE_HEADER: &str = "x-hub-signature";

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    hub_signature::verify(headers, SIGNATURE_HEADER, body, secrets)
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    headers.add("user-agent", "Bitbucket-Webhooks/2.0");
    headers.add(EVENT_HEADER, sent.event);
    headers.add(ID_HEADER, sent.id);
    headers.add(SIGNATURE_HEADER, &hub_signature::of(sent.body, secret));
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = headers.one(EVENT_HEADER).ok().flatten().ok_or(Malformed::EventHeader("X-Event-Key"))?;
    let event: String = event.chars().take(64).collect();
    let name = event.as_str();
    let read = match name.split_once(':') {
        Some(("repo", "push")) => parse(body, refs::push),
        Some(("repo", "commit_status_created" | "commit_status_updated")) => about(body, Kind::Check, name, checks::status),
        Some(("repo", "updated")) => parse(body, moved::updated),
        Some(("repo", "transfer")) => parse(body, moved::transferred),
        Some(("repo", action)) if action.starts_with("commit_comment_") => {
            about(body, Kind::Comment, name, discussion::commit_comment)
        }
        Some(("pullrequest", action)) if action.starts_with("comment_") => {
            about(body, Kind::Comment, name, discussion::request_comment)
        }
        Some(("pullrequest", _)) => about(body, Kind::PullRequest, name, discussion::pull_request),
        Some(("issue", action)) if action.starts_with("comment_") => about(body, Kind::Comment, name, discussion::issue_comment),
        Some(("issue", _)) => about(body, Kind::Issue, name, discussion::issue),
        _ => return nothing("Bitbucket", name, body),
    };
    reading("Bitbucket", name, read)
}

#[cfg(test)]
mod tests;
