//! GitHub's deliveries, after docs.github.com, "Webhook events and payloads" and "Validating webhook deliveries".
//!
//! What GitHub does not say for certain is not in the event: no commit, no branch and no tag is guessed.

mod wire; // what every delivery says
mod refs;
mod discussion; // pull requests, issues, comments
mod releases; // and packages
mod checks; // and workflows
mod deployments;
mod moved; // a repository with another name

use serde::de::IgnoredAny;

use self::wire::about;
use super::content_type::{FORM, JSON};
use super::reading::{check_json, nothing, parse, reading};
use super::{Forge, Malformed, Reading, Sent, hub_signature};
use crate::clock::Instant;
use crate::event::Kind;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    name: "github",
    content_types: &[JSON, FORM],
    id_headers: &[ID_HEADER],
    signature_headers: &[SIGNATURE_HEADER],
    kept_headers: &["content-type", "user-agent", EVENT_HEADER, ID_HEADER, "x-github-hook-id"],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const ID_HEADER: &str = "x-github-delivery";
const SIGNATURE_HEADER: &str = "x-hub-signature-256";
const EVENT_HEADER: &str = "x-github-event";

fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    hub_signature::verify(headers, SIGNATURE_HEADER, body, secrets)
}

fn headers_of_a_delivery(sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    headers.add("user-agent", "GitHub-Hookshot/hookspool");
    headers.add(EVENT_HEADER, sent.event);
    headers.add(ID_HEADER, sent.id);
    headers.add(SIGNATURE_HEADER, &hub_signature::of(sent.body, secret));
    headers
}

fn read(headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let event = headers.one(EVENT_HEADER).ok().flatten().ok_or(Malformed::EventHeader("X-GitHub-Event"))?;
    let event: String = event.chars().take(64).collect();
    let name = event.as_str();
    let read = match name {
        "push" => parse(body, refs::push),
        "create" => parse(body, |delivery| refs::create_or_delete(delivery, true)),
        "delete" => parse(body, |delivery| refs::create_or_delete(delivery, false)),
        "merge_group" => about(body, Kind::Push, name, refs::merge_group),
        "pull_request" => about(body, Kind::PullRequest, name, discussion::pull_request),
        "issues" => about(body, Kind::Issue, name, discussion::issue),
        "issue_comment" => about(body, Kind::Comment, name, discussion::issue_comment),
        "commit_comment" => about(body, Kind::Comment, name, discussion::commit_comment),
        "pull_request_review" | "pull_request_review_comment" => about(body, Kind::Comment, name, discussion::review),
        "release" => about(body, Kind::Release, name, releases::release),
        "package" | "registry_package" => about(body, Kind::Package, name, releases::package),
        "check_run" => about(body, Kind::Check, name, checks::check_run),
        "check_suite" => about(body, Kind::Check, name, checks::check_suite),
        "status" => about(body, Kind::Check, name, checks::status),
        "workflow_run" => about(body, Kind::Pipeline, name, checks::workflow_run),
        "workflow_job" => return told_otherwise(name, "check_run", body),
        "deployment" | "deployment_status" => about(body, Kind::Deployment, name, deployments::deployment),
        "repository" => about(body, Kind::Ping, name, moved::repository),
        "ping" => about(body, Kind::Ping, name, |_: IgnoredAny, _, event| Ok(event)),
        _ => return nothing("GitHub", name, body),
    };
    reading("GitHub", name, read.map(|event| vec![event]))
}

/// What GitHub tells of under another name as well; both would be two runs for one thing.
fn told_otherwise(name: &str, other: &str, body: &[u8]) -> Result<Reading, Malformed> {
    check_json(body)?;
    Ok(Reading::Nothing(format!("GitHub tells of a `{name}` as a `{other}` too; choose that for the webhook")))
}

#[cfg(test)]
mod tests;
