//! From headers and bytes to events: one file per forge, each pure. The structs that mirror a forge's JSON stay
//! private to its file.

mod reading; // what every forge's parser needs
mod hub_signature; // the form of signature that most of them share
mod github;
mod gitlab;
mod gitea; // and Forgejo, and Gogs
mod bitbucket; // Bitbucket Cloud
mod bitbucket_server;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

/// The forges that Hookspool understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// GitHub and GitHub Enterprise Server.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea, and Gogs, whose headers it understands as well.
    Gitea,
    /// Forgejo.
    Forgejo,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Server and Data Center.
    BitbucketServer,
}

type Verify = fn(&Headers, &[u8], &[Secret]) -> Result<Proof, SignatureError>;

/// One forge: what its file says of it.
struct Forge {
    name: &'static str,
    /// The headers of which the first that came holds the forge's own id of a delivery.
    id_headers: &'static [&'static str],
    /// The headers of which one holds the signature or token.
    signature_headers: &'static [&'static str],
    /// The headers that reading a delivery needs; never a signature or token.
    kept_headers: &'static [&'static str],
    verify: Verify,
    read: fn(&Headers, &[u8]) -> Result<Reading, Malformed>,
    headers_of_a_delivery: fn(&str, &str, &[u8], &Secret) -> Headers,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 6] = [Self::Github, Self::Gitlab, Self::Gitea, Self::Forgejo, Self::Bitbucket, Self::BitbucketServer];

    const fn forge(self) -> &'static Forge {
        match self {
            Self::Github => &github::FORGE,
            Self::Gitlab => &gitlab::FORGE,
            Self::Gitea => &gitea::FORGE,
            Self::Forgejo => &gitea::FORGEJO,
            Self::Bitbucket => &bitbucket::FORGE,
            Self::BitbucketServer => &bitbucket_server::FORGE,
        }
    }

    /// The provider's name, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.forge().name
    }

    /// The forge's own id of a delivery, if it gave one.
    #[must_use]
    pub fn id_of(self, headers: &Headers) -> Option<&str> {
        self.forge().id_headers.iter().find_map(|name| headers.one(name).ok().flatten())
    }

    /// The headers of which one holds the signature or token, in lower case. Without it nobody need read the body.
    #[must_use]
    pub const fn signature_headers(self) -> &'static [&'static str] {
        self.forge().signature_headers
    }

    /// The headers that are kept with a delivery, in lower case: what reading it needs, never a signature or token.
    #[must_use]
    pub const fn kept_headers(self) -> &'static [&'static str] {
        self.forge().kept_headers
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
    Ok(match (provider.forge().read)(headers, body)? {
        Reading::Events(events) => Reading::Events(events.into_iter().map(Event::bounded).collect()),
        nothing @ Reading::Nothing(_) => nothing,
    })
}

/// Checks a delivery's signature over its raw bytes.
///
/// # Errors
/// [`SignatureError`] when none of `secrets` made it.
pub fn verify(provider: Provider, headers: &Headers, body: &[u8], secrets: &[Secret]) -> Result<Proof, SignatureError> {
    (provider.forge().verify)(headers, body, secrets)
}

/// The headers that this provider would send with `body`: used by `hookspool send` and the demo.
#[must_use]
pub fn headers_of_a_delivery(provider: Provider, event: &str, id: &str, body: &[u8], secret: &Secret) -> Headers {
    (provider.forge().headers_of_a_delivery)(event, id, body, secret)
}

#[cfg(test)]
mod conformance;
