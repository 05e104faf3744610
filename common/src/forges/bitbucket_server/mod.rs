//! Bitbucket Server's and Data Center's deliveries, after confluence.atlassian.com, "Event payload" and "Manage
//! webhooks", "Secure your webhook".
//!
//! What Bitbucket does not say for certain is not in the event: no commit, no branch and no tag is guessed.

mod wire; // what most deliveries say
mod refs;
mod discussion; // pull requests and comments
mod moved; // a repository with another name

use super::content_type::JSON;
use super::reading::{check_json, nothing, parse, reading};
use super::{Forge, Malformed, Reading, Sent, hub_signature};
use crate::clock::Instant;
use crate::event::{Event, Kind};
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "bitbucket-server",
    id_headers: &[ID_HEADER],
    content_types: &[JSON],
    signature_headers: &[SIGNATURE_HEADER],
    kept_headers: &["content-type", "user-agent", EVENT_HEADER, ID_HEADER],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const EVENT_HEADER: &str = "x-event-key";
const ID_HEADER: &str = "x-request-id";
const SIGNATURE_HEADER: &str = "x-hub-signature";

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    hub_signature::verify(headers, SIGNATURE_HEADER, body, secrets)
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json; charset=utf-8");
    headers.add("user-agent", "Atlassian HttpClient hookspool");
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
        Some(("repo", "refs_changed")) => parse(body, |told| refs::refs_changed(told, name)),
        Some(("mirror", "repo_synchronized")) => {
            parse(body, refs::lists_its_refs).and_then(|()| parse(body, |told| refs::refs_changed(told, name)))
        }
        Some(("repo", "modified")) => parse(body, moved::modified),
        Some(("repo", action)) if action.starts_with("comment:") => {
            parse(body, |told| discussion::commit_comment(told, &event)).map(|event| vec![event])
        }
        Some(("pr", action)) => parse(body, |told| discussion::pull_request(told, action, name)).map(|event| vec![event]),
        Some(("diagnostics", "ping")) => {
            check_json(body)?;
            Ok(vec![Event::of(Kind::Ping, name)])
        }
        _ => return nothing("Bitbucket Server", name, body),
    };
    reading("Bitbucket Server", name, read)
}

#[cfg(test)]
mod tests;
