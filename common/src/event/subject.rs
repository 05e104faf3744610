//! What an event is about, beside a ref: a request, a release, an issue, a check, a contract.
//!
//! Each says in the sender's own word what happened to it. What the sender does not say is absent.

use serde::{Deserialize, Serialize};

use super::Person;
use crate::git_name::{RefName, Sha};

/// One side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// The branch, as a full ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<Sha>,
}

/// A pull request (GitLab: merge request).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// Its number within the repository.
    pub number: u64,
    /// What happened to it, in the forge's word (`opened`, `synchronize`, `closed`, …).
    pub action: String,
    /// Where the changes come from.
    pub head: Side,
    /// Where they are to go.
    pub base: Side,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Whether the changes come from another repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_fork: Option<bool>,
}

/// A release of the repository; its tag is the event's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// What happened to it (`published`, `edited`, …).
    pub action: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// It is not meant for everybody yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prerelease: Option<bool>,
    /// It is not public yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<bool>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A package or image in a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// What happened to it (`published`, `push`, …).
    pub action: String,
    /// Its name, such as `shop/web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What sort of package it is, such as `container` or `npm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecosystem: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// An image's tag. It is not a tag of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// An image's digest, such as `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// An issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// Its number within the repository.
    pub number: u64,
    /// What happened to it (`opened`, `closed`, `labeled`, …); with a comment, that is the comment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `open` or `closed`, in the forge's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why it is in this state (`completed`, `not_planned`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Who opened it.
    #[serde(default, skip_serializing_if = "Person::is_unknown")]
    pub author: Person,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Where a comment was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommentOn {
    /// On an issue.
    Issue,
    /// On a pull or merge request.
    PullRequest,
    /// On a commit.
    Commit,
    /// On something else, such as a snippet.
    Other,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comment {
    /// What happened to it (`created`, `edited`, …).
    pub action: String,
    /// What it is on.
    pub on: CommentOn,
    /// The number of the issue or request that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Its text.
    pub body: String,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Person::is_unknown")]
    pub author: Person,
    /// What the author is to the repository, in the forge's word (`OWNER`, `MEMBER`, `CONTRIBUTOR`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub association: Option<String>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A check, commit status or job of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What happened (`completed`, `rerequested`, …), where the forge says it apart from the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Its name or context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it ended (`success`, `failure`, …), or else how far it is (`queued`, `in_progress`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// What happened (`created`, …), where the forge says it apart from the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The forge's number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where it goes, such as `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What is to be done, such as `deploy` or `deploy:migrations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// How far it is (`pending`, `success`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A run of the forge's own pipeline or workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// What happened (`completed`, …), where the forge says it apart from the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The forge's number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it ended (`success`, …), or else how far it is (`running`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One side of a contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pacticipant {
    /// Its name in the Pact Broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version's number, often a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The branch of that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The tags of that version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Pacticipant {
    /// Nothing is known of it.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.name.is_none() && self.version.is_none() && self.branch.is_none() && self.tags.is_empty()
    }
}

/// What a Pact Broker tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pact {
    /// The broker's name of the event, such as `contract_requiring_verification_published`.
    pub event: String,
    /// Where the contract is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who wrote the contract.
    #[serde(default, skip_serializing_if = "Pacticipant::is_unknown")]
    pub consumer: Pacticipant,
    /// Who is to keep it.
    #[serde(default, skip_serializing_if = "Pacticipant::is_unknown")]
    pub provider: Pacticipant,
    /// Where the results of a verification are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_url: Option<String>,
    /// How a verification ended, in the broker's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl Pact {
    /// Whom the event concerns: the consumer that waits for a verification, or the provider that is to keep a contract.
    #[must_use]
    pub fn addressee(&self) -> &Pacticipant {
        if self.event.starts_with("provider_verification_") { &self.consumer } else { &self.provider }
    }
}

/// A service that is to be deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Which one; absent means every one that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happened, such as `published`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}
