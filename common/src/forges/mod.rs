//! From headers and bytes to events: one file per forge, each pure. The structs that mirror a forge's JSON stay
//! private to its file.

mod content_type; // JSON, or a form around it
mod reading; // what every forge's parser needs
mod hub_signature; // the form of signature that most of them share
mod standard_webhooks; // the form that has a standard
mod github;
mod gitlab;
mod gitea; // and Forgejo, and Gogs
mod bitbucket; // Bitbucket Cloud
mod bitbucket_server;
mod pact_broker; // what an operator lets a Pact Broker send
mod generic; // whatever the configuration describes

use serde::{Deserialize, Serialize};

use self::content_type::ContentType;
use crate::clock::Instant;
use crate::event::Event;
use crate::headers::Headers;
use crate::secrets::Secret;
use crate::signature::{Proof, SignatureError};

pub use generic::{Encoding, Fact, Facts, Generic, Origin, Proving, Timestamp};
pub(crate) use standard_webhooks::TOLERANCE;

/// The header, which no client can send, that holds the path of a request to a source whose path has a parameter.
pub const PATH_HEADER: &str = ":path";

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
    /// A Pact Broker, or PactFlow.
    PactBroker,
}

type Verify = fn(&Headers, &[u8], &[Secret], Instant) -> Result<Proof, SignatureError>;

/// One forge: what its file says of it.
struct Forge {
    name: &'static str,
    /// What its bodies can be.
    content_types: &'static [ContentType],
    /// The headers of which the first that came holds the forge's own id of a delivery.
    id_headers: &'static [&'static str],
    /// The headers of which one holds the signature or token.
    signature_headers: &'static [&'static str],
    /// The headers that reading a delivery needs; never a signature or token.
    kept_headers: &'static [&'static str],
    /// The headers that the signature covers or needs, beside those that are kept.
    signed_headers: &'static [&'static str],
    verify: Verify,
    read: fn(&Headers, &[u8]) -> Result<Reading, Malformed>,
    headers_of_a_delivery: fn(&Sent<'_>, &Secret) -> Headers,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 7] =
        [Self::Github, Self::Gitlab, Self::Gitea, Self::Forgejo, Self::Bitbucket, Self::BitbucketServer, Self::PactBroker];

    const fn forge(self) -> &'static Forge {
        match self {
            Self::Github => &github::FORGE,
            Self::Gitlab => &gitlab::FORGE,
            Self::Gitea => &gitea::FORGE,
            Self::Forgejo => &gitea::FORGEJO,
            Self::Bitbucket => &bitbucket::FORGE,
            Self::BitbucketServer => &bitbucket_server::FORGE,
            Self::PactBroker => &pact_broker::FORGE,
        }
    }

    /// The provider's name, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.forge().name
    }
}

/// How the deliveries of a source prove themselves, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialect {
    /// As this forge has it.
    Forge(Provider),
    /// As the configuration has it.
    Generic(Box<Generic>),
}

impl From<Provider> for Dialect {
    fn from(provider: Provider) -> Self {
        Self::Forge(provider)
    }
}

/// A delivery that is to be sent: by `hookspool send`, the demo and the tests.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The forge's name of the event.
    pub event: &'a str,
    /// The delivery's id.
    pub id: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// When it is sent.
    pub at: Instant,
}

/// Most values of JSON in a delivery: in 25 MiB of paths or addresses there are fewer. It bounds the memory that somebody
/// with the secret can take.
const MAX_VALUES: usize = 2_000_000;

/// Most events of one delivery. A push of more refs at once is a mirror's, and would run every job there is.
const MAX_EVENTS: usize = 1000;

/// How many values the JSON holds at most: each but the first follows a comma or opens a list or an object.
fn values(json: &[u8]) -> usize {
    json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
}

/// The name of the provider that the configuration describes itself.
pub const GENERIC: &str = "generic";

impl Dialect {
    /// The provider's name, as in configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forge(provider) => provider.as_str(),
            Self::Generic(_) => GENERIC,
        }
    }

    /// The names that `provider` may have.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Provider::ALL.into_iter().map(Provider::as_str).chain([GENERIC]).collect()
    }

    /// The sender's own id of a delivery, if it gave one.
    #[must_use]
    pub fn id_of<'h>(&self, headers: &'h Headers) -> Option<&'h str> {
        match self {
            Self::Forge(provider) => provider.forge().id_headers.iter().find_map(|name| headers.one(name).ok().flatten()),
            Self::Generic(generic) => generic.id_of(headers),
        }
    }

    /// The headers of which one holds the signature or token, in lower case. Without it nobody need read the body.
    #[must_use]
    pub fn signature_headers(&self) -> Vec<&str> {
        match self {
            Self::Forge(provider) => provider.forge().signature_headers.to_vec(),
            Self::Generic(generic) => vec![generic.signature_header()],
        }
    }

    /// The headers that are kept with a delivery, in lower case: what reading it needs, never a signature or token.
    #[must_use]
    pub fn kept_headers(&self) -> Vec<&str> {
        match self {
            Self::Forge(provider) => provider.forge().kept_headers.to_vec(),
            Self::Generic(generic) => generic.kept_headers(),
        }
    }

    /// The other headers that checking the signature needs, in lower case.
    #[must_use]
    pub fn signed_headers(&self) -> Vec<&str> {
        match self {
            Self::Forge(provider) => provider.forge().signed_headers.to_vec(),
            Self::Generic(generic) => generic.signed_headers(),
        }
    }

    /// Checks a delivery's signature over its raw bytes, or over the JSON in a form where the forge signs only that.
    ///
    /// # Errors
    /// [`SignatureError`] when none of `secrets` made it, or when it is too old where its age is signed.
    pub fn verify(&self, headers: &Headers, body: &[u8], secrets: &[Secret], now: Instant) -> Result<Proof, SignatureError> {
        match self {
            Self::Forge(provider) => {
                let forge = provider.forge();
                let signed = content_type::signed(forge.content_types, headers, body).ok_or(SignatureError)?;
                (forge.verify)(headers, &signed, secrets, now)
            }
            Self::Generic(generic) => generic.verify(headers, body, secrets, now),
        }
    }

    /// Reads a delivery.
    ///
    /// # Errors
    /// [`Malformed`] when it is not this provider's form at all. JSON of a shape that nobody expected is a
    /// [`Reading::Nothing`], because forges add kinds and change shapes.
    pub fn read(&self, headers: &Headers, body: &[u8]) -> Result<Reading, Malformed> {
        let reading = match self {
            Self::Forge(provider) => {
                let forge = provider.forge();
                let json = content_type::json(forge.content_types, headers, body)?;
                if values(&json) > MAX_VALUES {
                    return Ok(Reading::Nothing(format!("the body holds more than {MAX_VALUES} values; none are read")));
                }
                (forge.read)(headers, &json)?
            }
            Self::Generic(generic) => generic.read(headers, body)?,
        };
        let Reading::Events(events) = reading else { return Ok(reading) };
        // Root would refuse it; the sender is told at once.
        if let Some(why) = events.iter().find_map(Event::contradiction) {
            return Ok(Reading::Nothing(why));
        }
        Ok(Reading::Events(events.into_iter().map(Event::bounded).collect()))
    }

    /// Whether a body of this content type can be read (RFC 9110 section 8.3).
    #[must_use]
    pub fn takes(&self, content_type: Option<&str>, body: &[u8]) -> bool {
        let named = content_type.unwrap_or_default();
        match self {
            Self::Forge(provider) => content_type::is_taken(provider.forge().content_types, named),
            Self::Generic(_) => body.is_empty() || content_type::is_json(named),
        }
    }

    /// The headers that this provider would send.
    #[must_use]
    pub fn headers_of_a_delivery(&self, sent: &Sent<'_>, secret: &Secret) -> Headers {
        match self {
            Self::Forge(provider) => (provider.forge().headers_of_a_delivery)(sent, secret),
            Self::Generic(generic) => generic.headers_of_a_delivery(sent, secret),
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
    /// The content type is none that the forge sends.
    #[error("content type {0:?} is none that this provider sends; choose application/json where the webhook is set up")]
    ContentType(String),
    /// The body is not the form that its content type promises.
    #[error("the body is not a form whose one parameter is `payload`")]
    Form,
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
}

#[cfg(test)]
mod conformance;
