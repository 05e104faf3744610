//! Whatever a source's configuration describes: how a sender that is no forge proves itself, and where in its headers,
//! path and body the facts of an event are.
//!
//! A fact that is not there, or is not of its form, is absent: nothing is guessed.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Malformed, PATH_HEADER, Reading, Sent, reading, standard_webhooks};
use crate::clock::Instant;
use crate::event::{Check, Deployment, Event, Kind, Package, Person, Pipeline, Release, Service};
use crate::git_name::{RefName, Sha};
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{self, Algorithm, Proof, SignatureError, from_hex, hex};

/// Largest body that is read, in bytes. As a tree, JSON takes up to twenty times its text.
const MAX_BYTES: usize = 1024 * 1024;

/// Most events of one delivery.
const MAX_EVENTS: usize = 100;

/// Longest text of a fact, in bytes, before its own type bounds it.
const MAX_FACT_BYTES: usize = 4096;

/// How bytes are written in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hex digits.
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
}

/// A time, in seconds since the epoch, that is signed together with the body, as `TIME.BODY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The header with the time, in lower case.
    pub header: String,
    /// How far it may be from now.
    pub tolerance: Duration,
}

/// How a sender proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proving {
    /// By an HMAC over the body.
    Hmac {
        /// The header with the signature, in lower case.
        header: String,
        /// What stands before the signature.
        prefix: String,
        /// How it is written.
        encoding: Encoding,
        /// The hash under it.
        algorithm: Algorithm,
        /// The time that is signed with it.
        timestamp: Option<Timestamp>,
    },
    /// As Standard Webhooks has it.
    StandardWebhooks {
        /// How far the signed time may be from now.
        tolerance: Duration,
    },
    /// By the secret itself.
    Token {
        /// The header with the secret, in lower case.
        header: String,
        /// What stands before the secret.
        prefix: String,
    },
}

/// Where a fact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is always this.
    Constant(String),
    /// At this JSON Pointer (RFC 6901) in the body.
    Pointer(String),
    /// In this header, in lower case.
    Header(String),
    /// In the path's parameter, which begins after so many bytes and ends before so many.
    Path {
        /// Bytes of the path before the parameter.
        before: usize,
        /// Bytes of the path after it.
        after: usize,
    },
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Where it is.
    pub origin: Origin,
    /// What is put before it, such as `refs/heads/`.
    pub prefix: String,
}

/// What the deliveries of a source tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kind of its events. A push to a tag is a tag, and one to the zero commit a deletion.
    pub event: Kind,
    /// The list in the body that holds one event an item; the pointers of the facts then start at an item.
    pub each: Option<String>,
    /// Every fact by its key: one of [`Facts::KEYS`].
    pub picked: Vec<(&'static str, Fact)>,
}

impl Facts {
    /// The kinds that can be described.
    pub const KINDS: [Kind; 7] =
        [Kind::Push, Kind::Release, Kind::Package, Kind::Check, Kind::Deployment, Kind::Pipeline, Kind::Service];

    /// The facts that can be picked.
    pub const KEYS: [&str; 14] = [
        "repository",
        "ref",
        "sha",
        "before",
        "pusher",
        "action",
        "name",
        "service",
        "version",
        "tag",
        "digest",
        "status",
        "environment",
        "url",
    ];
}

/// A source that its configuration describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generic {
    /// How its sender proves itself.
    pub proving: Proving,
    /// The header with the sender's own id of a delivery, in lower case.
    pub id_header: Option<String>,
    /// The same content may come again and mean something new.
    pub repeats: bool,
    /// What its deliveries tell of.
    pub facts: Facts,
}

fn once<'h>(headers: &'h Headers, name: &str) -> Result<&'h str, SignatureError> {
    headers.one(name).ok().flatten().ok_or(SignatureError)
}

impl Encoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => from_hex(text),
            Self::Base64 => STANDARD.decode(text).ok(),
        }
    }

    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

impl Generic {
    pub(super) fn id_of<'h>(&self, headers: &'h Headers) -> Option<&'h str> {
        headers.one(self.id_header()?).ok().flatten()
    }

    fn id_header(&self) -> Option<&str> {
        match &self.proving {
            Proving::StandardWebhooks { .. } => Some(standard_webhooks::ID_HEADER),
            _ => self.id_header.as_deref(),
        }
    }

    pub(super) fn signature_header(&self) -> &str {
        match &self.proving {
            Proving::Hmac { header, .. } | Proving::Token { header, .. } => header,
            Proving::StandardWebhooks { .. } => standard_webhooks::SIGNATURE_HEADER,
        }
    }

    pub(super) fn signed_headers(&self) -> Vec<&str> {
        match &self.proving {
            Proving::Hmac { timestamp, .. } => timestamp.iter().map(|timestamp| timestamp.header.as_str()).collect(),
            Proving::StandardWebhooks { .. } => vec![standard_webhooks::TIMESTAMP_HEADER],
            Proving::Token { .. } => Vec::new(),
        }
    }

    pub(super) fn kept_headers(&self) -> Vec<&str> {
        let of_facts = self.facts.picked.iter().filter_map(|(_, fact)| match &fact.origin {
            Origin::Header(name) => Some(name.as_str()),
            Origin::Path { .. } => Some(PATH_HEADER),
            Origin::Constant(_) | Origin::Pointer(_) => None,
        });
        let mut kept: Vec<&str> = ["content-type", "user-agent"].into_iter().chain(self.id_header()).chain(of_facts).collect();
        kept.sort_unstable();
        kept.dedup();
        kept
    }

    pub(super) fn verify(
        &self,
        headers: &Headers,
        body: &[u8],
        secrets: &[Secret],
        now: Instant,
    ) -> Result<Proof, SignatureError> {
        match &self.proving {
            Proving::StandardWebhooks { tolerance } => standard_webhooks::verify(headers, body, secrets, now, *tolerance),
            Proving::Token { header, prefix } => {
                let token = once(headers, header)?.strip_prefix(prefix.as_str()).ok_or(SignatureError)?;
                let proof = signature::verify_token(token.as_bytes(), body, secrets)?;
                Ok(self.content(headers, body, None, proof))
            }
            Proving::Hmac { header, prefix, encoding, algorithm, timestamp } => {
                let given = once(headers, header)?.strip_prefix(prefix.as_str()).ok_or(SignatureError)?;
                let given = encoding.decode(given).ok_or(SignatureError)?;
                let Some(timestamp) = timestamp else {
                    algorithm.verify(&given, &[body], secrets)?;
                    return Ok(self.content(headers, body, None, Proof::of_content(&[&given])));
                };
                let time = once(headers, &timestamp.header)?;
                if !standard_webhooks::is_recent(time, now, timestamp.tolerance) {
                    return Err(SignatureError);
                }
                algorithm.verify(&given, &[time.as_bytes(), b".", body], secrets)?;
                Ok(self.content(headers, body, Some(time), Proof::of_content(&[&given])))
            }
        }
    }

    /// Content that is the same for every delivery says nothing about whether it was seen, unless its time is signed.
    /// The same body for another value of the path's parameter is other content.
    fn content(&self, headers: &Headers, body: &[u8], signed_time: Option<&str>, proof: Proof) -> Proof {
        let is_constant = signed_time.is_none() && (self.repeats || body.is_empty());
        match (proof.0, headers.one(PATH_HEADER)) {
            _ if is_constant => Proof(None),
            (Some(content), Ok(Some(path))) => Proof::of_content(&[&content, path.as_bytes()]),
            _ => proof,
        }
    }

    pub(super) fn headers_of_a_delivery(&self, sent: &Sent<'_>, secret: &Secret) -> Headers {
        let mut headers = Headers::new();
        headers.add("content-type", "application/json");
        headers.add("user-agent", "hookspool");
        if let Some(name) = self.id_header.as_deref() {
            headers.add(name, sent.id);
        }
        match &self.proving {
            Proving::StandardWebhooks { .. } => standard_webhooks::sign(&mut headers, sent.id, sent.body, secret, sent.at),
            Proving::Token { header, prefix } => {
                headers.add(header, &format!("{prefix}{}", String::from_utf8_lossy(secret.bytes())));
            }
            Proving::Hmac { header, prefix, encoding, algorithm, timestamp } => {
                let time = (sent.at.millis() / 1000).to_string();
                let mac = match timestamp {
                    None => algorithm.hmac(secret, &[sent.body]),
                    Some(timestamp) => {
                        headers.add(&timestamp.header, &time);
                        algorithm.hmac(secret, &[time.as_bytes(), b".", sent.body])
                    }
                };
                headers.add(header, &format!("{prefix}{}", encoding.encode(&mac)));
            }
        }
        headers
    }

    pub(super) fn read(&self, headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
        let size = body.len();
        if size > MAX_BYTES {
            return Ok(Reading::Nothing(format!("the body has {size} bytes; of a generic source at most {MAX_BYTES} are read")));
        }
        let json = match body {
            [] => Value::Null,
            body => serde_json::from_slice(body).map_err(|error| Malformed::NotJson(error.to_string()))?,
        };
        let Some(list) = &self.facts.each else {
            return Ok(Reading::Events(vec![self.facts.event(headers, &json)]));
        };
        match json.pointer(list).and_then(Value::as_array) {
            None => Ok(Reading::Nothing(format!("the body has no list at {list:?}"))),
            Some(items) if items.is_empty() => Ok(Reading::Nothing(format!("the list at {list:?} is empty"))),
            Some(items) if items.len() > MAX_EVENTS => {
                Ok(Reading::Nothing(format!("the list at {list:?} has {} items; at most {MAX_EVENTS} are read", items.len())))
            }
            Some(items) => Ok(Reading::Events(items.iter().map(|item| self.facts.event(headers, item)).collect())),
        }
    }
}

impl Facts {
    /// The text of a fact, if it is there.
    fn text(&self, key: &str, headers: &Headers, item: &Value) -> Option<String> {
        let (_, fact) = self.picked.iter().find(|(known, _)| *known == key)?;
        let text = match &fact.origin {
            Origin::Constant(text) => text.clone(),
            Origin::Header(name) => headers.one(name).ok().flatten()?.to_owned(),
            Origin::Path { before, after } => {
                let path = headers.one(PATH_HEADER).ok().flatten()?;
                path.get(*before..path.len().checked_sub(*after)?)?.to_owned()
            }
            Origin::Pointer(pointer) => match item.pointer(pointer)? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            },
        };
        (!text.is_empty() && text.len() <= MAX_FACT_BYTES).then(|| format!("{}{text}", fact.prefix))
    }

    fn event(&self, headers: &Headers, item: &Value) -> Event {
        let text = |key| self.text(key, headers, item);
        let parsed_sha = |key| text(key).and_then(|sha: String| sha.parse::<Sha>().ok());
        let mut event = Event::of(self.event, super::GENERIC);
        if let Some(reference) = text("ref").and_then(|name| name.parse::<RefName>().ok()) {
            event = event.with_ref(reference);
        }
        event.repository = text("repository").and_then(|name| name.parse().ok());
        event.sha = parsed_sha("sha");
        event.before = parsed_sha("before");
        event.pusher = text("pusher").map(|text| person(&text)).unwrap_or_default();
        let is_gone = text("sha").is_some_and(|sha| !sha.is_empty() && sha.bytes().all(|byte| byte == b'0'));
        if self.event == Kind::Push {
            event.kind = match (event.tag.is_some(), is_gone) {
                (false, false) => Kind::Push,
                (false, true) => Kind::BranchDeleted,
                (true, false) => Kind::Tag,
                (true, true) => Kind::TagDeleted,
            };
        }
        self.add_subject(&mut event, &text);
        event
    }

    fn add_subject(&self, event: &mut Event, text: &impl Fn(&'static str) -> Option<String>) {
        let action = text("action");
        match self.event {
            Kind::Release => {
                event.release = Some(Release {
                    action: action.unwrap_or_default(),
                    name: text("name"),
                    url: text("url"),
                    ..Release::default()
                });
            }
            Kind::Package => {
                event.package = Some(Package {
                    action: action.unwrap_or_default(),
                    name: text("name"),
                    ecosystem: None,
                    version: text("version"),
                    tag: text("tag"),
                    digest: text("digest"),
                    url: text("url"),
                });
            }
            Kind::Check => event.check = Some(Check { action, name: text("name"), status: text("status"), url: text("url") }),
            Kind::Deployment => {
                event.deployment = Some(Deployment {
                    action,
                    environment: text("environment"),
                    status: text("status"),
                    url: text("url"),
                    ..Deployment::default()
                });
            }
            Kind::Pipeline => {
                let (name, status, url) = (text("name"), text("status"), text("url"));
                event.pipeline = Some(Pipeline { action, id: None, name, status, url });
            }
            Kind::Service => event.service = Some(Service { name: text("service").or_else(|| text("name")), action }),
            _ => {}
        }
    }
}

/// `Name <address>`, an address or a login.
fn person(text: &str) -> Person {
    match text.contains(['<', '@']) {
        true if text.contains('<') => reading::author(text),
        true => Person { email: Some(text.to_owned()), ..Person::default() },
        false => Person { login: Some(text.to_owned()), ..Person::default() },
    }
}

#[cfg(test)]
mod tests;
