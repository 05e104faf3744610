//! Whatever a source's configuration describes: a sender that is no forge.

mod proving; // how it proves itself
mod facts; // what it tells of

use serde_json::Value;

use super::{Malformed, PATH_HEADER, Reading, Sent, standard_webhooks};
use crate::clock::Instant;
use crate::event::Event;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub use facts::{Fact, Facts, Origin};
use proving::Proved;
pub use proving::{Encoding, Proving, Timestamp};

/// Largest body that is read, in bytes. As a tree, JSON takes up to twenty times its text.
const MAX_BYTES: usize = 1024 * 1024;

/// Most events of one delivery.
const MAX_EVENTS: usize = 100;

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
        self.proving.signature_header()
    }

    pub(super) fn signed_headers(&self) -> Vec<&str> {
        self.proving.signed_headers()
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
        let proved = self.proving.verify(headers, body, secrets, now)?;
        Ok(self.content(headers, body, proved))
    }

    /// Content that is the same for every delivery says nothing about whether it was seen, unless its time is signed.
    /// The same body for another value of the path's parameter is other content.
    fn content(&self, headers: &Headers, body: &[u8], Proved { proof, with_time }: Proved) -> Proof {
        let is_constant = !with_time && (self.repeats || body.is_empty());
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
        self.proving.prove(&mut headers, sent, secret);
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
            return Ok(told([&json].into_iter().map(|item| self.facts.event(headers, item)).collect()));
        };
        match json.pointer(list).and_then(Value::as_array) {
            None => Ok(Reading::Nothing(format!("the body has no list at {list:?}"))),
            Some(items) if items.is_empty() => Ok(Reading::Nothing(format!("the list at {list:?} is empty"))),
            Some(items) if items.len() > MAX_EVENTS => {
                Ok(Reading::Nothing(format!("the list at {list:?} has {} items; at most {MAX_EVENTS} are read", items.len())))
            }
            Some(items) => Ok(told(items.iter().map(|item| self.facts.event(headers, item)).collect())),
        }
    }
}

fn told(events: Result<Vec<Event>, String>) -> Reading {
    events.map_or_else(Reading::Nothing, Reading::Events)
}

#[cfg(test)]
mod tests;
