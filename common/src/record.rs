//! What the importer hands to the pass: one JSON object a line, first a [`Preface`], then [`Record`]s.
//!
//! The pass parses them as hostile input: unknown fields, bad names and long lines are refused. A record names a
//! delivery, jobs and an event's facts; never a command, a path, an environment variable, a URL or a recipient.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::event::Event;
use crate::matching::Match;
use crate::names::{DeliveryId, SourceName};

/// Longest line of the importer, in bytes: a little more than the largest body that the receiver takes.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;

/// The identity of one inbox: 32 hex digits, made with it. A replaced inbox has another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InboxIdentity(String);

impl InboxIdentity {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InboxIdentity {
    type Err = String;
    fn from_str(value: &str) -> Result<Self, String> {
        if value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(value.to_owned()));
        }
        Err(format!("{:?} is not an inbox's identity", value.chars().take(80).collect::<String>()))
    }
}

impl TryFrom<String> for InboxIdentity {
    type Error = String;
    fn try_from(value: String) -> Result<Self, String> {
        value.parse()
    }
}

impl From<InboxIdentity> for String {
    fn from(identity: InboxIdentity) -> Self {
        identity.0
    }
}

impl fmt::Display for InboxIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The importer's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preface {
    /// The inbox that the records come from.
    pub inbox: InboxIdentity,
    /// The place in it after which they begin.
    pub after: i64,
}

/// What the receiver answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// 202: jobs are to run.
    Accepted,
    /// 200: nothing is to run.
    Ignored,
    /// 200: the forge only tried whether anybody listens.
    Ping,
}

impl Answer {
    /// Every answer.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Ignored, Self::Ping];

    /// The answer's name in both databases.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Ping => "ping",
        }
    }

    /// The word for it in the receiver's reply, and wherever people read it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ping => "pong",
            Self::Accepted | Self::Ignored => self.as_str(),
        }
    }
}

/// An event and the jobs that the receiver thinks it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// What happened.
    pub event: Event,
    /// What is to run.
    pub jobs: Vec<Match>,
}

/// One delivery of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its place in the inbox; grows.
    pub seq: i64,
    /// Its id.
    pub id: DeliveryId,
    /// The source it came to.
    pub source: SourceName,
    /// The forge's own id for it.
    pub provider_id: Option<String>,
    /// When it came.
    pub received_at: Instant,
    /// What the receiver answered.
    pub answer: Answer,
    /// Why nothing is to run.
    pub reason: Option<String>,
    /// What is to run.
    pub proposals: Vec<Proposal>,
}
