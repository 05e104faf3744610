//! What the importer hands to the pass: one JSON object a line, first a [`Preface`], then [`Record`]s.
//!
//! The pass parses them as hostile input: unknown fields, bad names and long lines are refused. A record names a
//! delivery, jobs and an event's facts; never a command, a path, an environment variable, a URL or a recipient.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Instant;
use crate::event::bounds::truncate;
use crate::event::{Event, MAX_TEXT_BYTES};
use crate::matching::Match;
use crate::names::{DeliveryId, SourceName};

/// Longest line of the importer, in bytes: a little more than the largest body that the receiver takes.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;

/// Most events that a record holds. An event of few bytes of JSON takes a hundred times as much memory.
pub const MAX_PROPOSALS: usize = 1000;

/// Longest reason that the ledger keeps, in bytes. The inbox has the whole.
pub const MAX_REASON_BYTES: usize = 64 * 1024;

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
    #[serde(deserialize_with = "few")]
    pub proposals: Vec<Proposal>,
}

impl Record {
    /// The record with every text and event within its limits, whoever wrote it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.provider_id.iter_mut().for_each(|id| truncate(id, MAX_TEXT_BYTES));
        self.reason.iter_mut().for_each(|reason| truncate(reason, MAX_REASON_BYTES));
        let bounded = |proposal: Proposal| Proposal { event: proposal.event.bounded(), ..proposal };
        self.proposals = self.proposals.into_iter().map(bounded).collect();
        self
    }
}

/// Reads proposals as the inbox has them.
///
/// # Errors
/// When they are not of that form, or more than [`MAX_PROPOSALS`].
pub fn read_proposals(json: &str) -> serde_json::Result<Vec<Proposal>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let proposals = few(&mut deserializer)?;
    deserializer.end().map(|()| proposals)
}

/// A list of proposals that ends, as an error, before it is too long.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Proposal>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Proposal>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of proposals")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Proposal>, A::Error> {
            let mut proposals = Vec::new();
            while let Some(proposal) = items.next_element()? {
                if proposals.len() == MAX_PROPOSALS {
                    return Err(A::Error::custom(format_args!("there are more than {MAX_PROPOSALS} events")));
                }
                proposals.push(proposal);
            }
            Ok(proposals)
        }
    }
    deserializer.deserialize_seq(Few)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_more_events_than_any_delivery_has_is_not_read() {
        let proposals =
            |count| format!("[{}]", vec![r#"{"event":{"kind":"push","provider_event":"p"},"jobs":[]}"#; count].join(","));
        assert_eq!(read_proposals(&proposals(MAX_PROPOSALS)).unwrap().len(), MAX_PROPOSALS);
        let refused = read_proposals(&proposals(MAX_PROPOSALS + 1)).unwrap_err().to_string();
        assert!(refused.contains("more than 1000 events"), "{refused}");
        let record = |count| {
            format!(
                r#"{{"seq":1,"id":"{}","source":"g","provider_id":null,"received_at":1,"answer":"accepted","reason":null,"proposals":{}}}"#,
                DeliveryId::generate(),
                proposals(count)
            )
        };
        assert!(serde_json::from_str::<Record>(&record(MAX_PROPOSALS)).is_ok());
        assert!(serde_json::from_str::<Record>(&record(MAX_PROPOSALS + 1)).is_err());
    }
}
