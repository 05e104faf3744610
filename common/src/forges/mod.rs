//! From headers and bytes to events: one file per forge, each pure. The structs that mirror a forge's JSON stay
//! private to its file.

mod github;

use serde::{Deserialize, Serialize};

use crate::delivery::Headers;
use crate::event::Event;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

/// The forges that Hookspool understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// GitHub and GitHub Enterprise Server.
    Github,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 1] = [Self::Github];

    /// The provider's name, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
        }
    }

    /// The header that holds the forge's own id of a delivery, in lower case.
    #[must_use]
    pub const fn id_header(self) -> &'static str {
        match self {
            Self::Github => github::ID_HEADER,
        }
    }

    /// The headers that are kept with a delivery, in lower case: what reading it needs, never a signature or token.
    #[must_use]
    pub const fn kept_headers(self) -> &'static [&'static str] {
        match self {
            Self::Github => github::KEPT_HEADERS,
        }
    }

    /// The header that holds the signature, in lower case. Without it nobody need read the body.
    #[must_use]
    pub const fn signature_header(self) -> &'static str {
        match self {
            Self::Github => github::SIGNATURE_HEADER,
        }
    }
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// It tells of these events; at least one.
    Events(Vec<Event>),
    /// It tells of nothing that Hookspool has a kind for; the reason says what it was.
    Nothing(String),
}

/// The body is not what the forge's content type promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The header that names the event is absent or repeated.
    #[error("header {0} is absent or repeated; a delivery of this provider has it once")]
    EventHeader(&'static str),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
}

/// Reads a delivery of `provider`.
///
/// # Errors
/// [`Malformed`] when it is not this provider's form at all. JSON of a shape that nobody expected is a
/// [`Reading::Nothing`], because forges add kinds and change shapes.
pub fn read(provider: Provider, headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
    let reading = match provider {
        Provider::Github => github::read(headers, body),
    }?;
    Ok(match reading {
        Reading::Events(events) => Reading::Events(events.into_iter().map(Event::bounded).collect()),
        nothing @ Reading::Nothing(_) => nothing,
    })
}

/// Checks a delivery's signature over its raw bytes.
///
/// # Errors
/// [`SignatureError`] when none of `secrets` made it.
pub fn verify(provider: Provider, headers: &Headers, body: &[u8], secrets: &[Secret]) -> Result<Proof, SignatureError> {
    match provider {
        Provider::Github => github::verify(headers, body, secrets),
    }
}

/// The headers that this provider would send with `body`: used by `hookspool send` and the demo.
#[must_use]
pub fn headers_of_a_delivery(provider: Provider, event: &str, id: &str, body: &[u8], secret: &Secret) -> Headers {
    match provider {
        Provider::Github => github::headers_of_a_delivery(event, id, body, secret),
    }
}
