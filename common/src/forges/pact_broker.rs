//! A Pact Broker's deliveries, after docs.pact.io, "Webhooks" and "Dynamic variable substitution".
//!
//! The broker has no form of its own: it sends what the operator wrote into the webhook, with its parameters filled in.
//! What is read here is the body of docs/examples/pact-broker-webhook.json, whose keys are the parameters' own names;
//! other keys are nobody's business. The broker puts values in as they are, without escaping. A value with a quote in it
//! breaks the JSON or repeats a key, and either is refused.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::content_type::JSON;
use super::reading::{Unread, parse, reading, shape};
use super::{Forge, Malformed, Reading, Sent};
use crate::clock::Instant;
use crate::event::{Event, Kind, Pact, Pacticipant};
use crate::git_name::RefName;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{self, Proof, SignatureError};

pub(super) const FORGE: Forge = Forge {
    content_types: &[JSON],
    name: "pact-broker",
    // The broker has no parameter that tells two deliveries apart.
    id_headers: &[],
    signature_headers: &[TOKEN_HEADER],
    kept_headers: &["content-type", "user-agent"],
    signed_headers: &[],
    verify,
    read,
    headers_of_a_delivery,
};

const TOKEN_HEADER: &str = "authorization";

/// What the broker calls the event when somebody tries a webhook by hand.
const TEST: &str = "test";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    #[serde(borrow)]
    pact_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verification_result_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    github_verification_status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    consumer_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    consumer_version_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    consumer_version_branch: Option<Cow<'a, str>>,
    #[serde(borrow)]
    consumer_version_tags: Option<Cow<'a, str>>,
    #[serde(borrow)]
    provider_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    provider_version_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    provider_version_branch: Option<Cow<'a, str>>,
    #[serde(borrow)]
    provider_version_tags: Option<Cow<'a, str>>,
}

/// A token (RFC 6750 section 2.1), or a user and password (RFC 7617). Of the latter the secret is either the whole, as
/// `user:password`, or the password, whoever the user is.
fn verify(headers: &Headers, body: &[u8], secrets: &[Secret], _now: Instant) -> Result<Proof, SignatureError> {
    let given = headers.one(TOKEN_HEADER).ok().flatten().and_then(|value| value.split_once(' ')).ok_or(SignatureError)?;
    match given {
        (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => signature::verify_token(token.as_bytes(), body, secrets),
        (scheme, pair) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = STANDARD.decode(pair).map_err(|_| SignatureError)?;
            let colon = pair.iter().position(|byte| *byte == b':').ok_or(SignatureError)?;
            let whole = signature::verify_token(&pair, body, secrets);
            let password = signature::verify_token(&pair[colon + 1..], body, secrets);
            whole.or(password)
        }
        _ => Err(SignatureError),
    }
}

fn headers_of_a_delivery(_sent: &Sent<'_>, secret: &Secret) -> Headers {
    let mut headers = Headers::new();
    headers.add("content-type", "application/json");
    headers.add("user-agent", "Pact Broker/hookspool");
    headers.add(TOKEN_HEADER, &format!("Bearer {}", String::from_utf8_lossy(secret.bytes())));
    headers
}

fn read(_headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    reading("Pact Broker webhook", FORGE.name, parse(body, |body| event(&body)).map(|event| vec![event]))
}

/// A parameter that has no value is empty; one that an older broker does not know stays as it was written.
fn known(text: &Option<Cow<'_, str>>) -> Option<String> {
    text.as_deref().filter(|text| !text.is_empty() && !text.starts_with("${")).map(str::to_owned)
}

fn tags(text: &Option<Cow<'_, str>>) -> Vec<String> {
    let text = known(text).unwrap_or_default();
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn event(body: &Body<'_>) -> Result<Event, Unread> {
    let name = body.event_name.as_ref();
    if name == TEST {
        return Ok(Event::of(Kind::Ping, name));
    }
    let names_a_version = match name {
        "contract_requiring_verification_published" => true,
        "provider_verification_published" | "provider_verification_succeeded" | "provider_verification_failed" => true,
        // The provider's version is here the one that was verified last, which nobody wants to have built again.
        "contract_published" | "contract_content_changed" => false,
        "" => return Err(shape("eventName is empty")),
        other => return Err(Unread::Other(format!("the Pact Broker's event {other:?} starts nothing in Hookspool"))),
    };
    let pact = Pact {
        event: name.to_owned(),
        url: known(&body.pact_url),
        consumer: Pacticipant {
            name: known(&body.consumer_name),
            version: known(&body.consumer_version_number),
            branch: known(&body.consumer_version_branch),
            tags: tags(&body.consumer_version_tags),
        },
        provider: Pacticipant {
            name: known(&body.provider_name),
            version: known(&body.provider_version_number),
            branch: known(&body.provider_version_branch),
            tags: tags(&body.provider_version_tags),
        },
        verification_url: known(&body.verification_result_url),
        status: known(&body.github_verification_status),
    };
    let mut event = Event::of(Kind::Pact, name);
    if names_a_version {
        let addressee = pact.addressee();
        event.sha = addressee.version.as_deref().and_then(|version| version.parse().ok());
        if let Some(branch) = addressee.branch.as_deref().and_then(|branch| RefName::of_branch(branch).ok()) {
            event = event.with_ref(branch);
        }
    }
    event.pact = Some(pact);
    Ok(event)
}

#[cfg(test)]
mod tests;
