//! The closed model of what happened on a forge: the same JSON wherever an event is shown or stored.
//!
//! What a forge does not say is absent. Reading an event back from JSON checks every name in it again, so root may
//! read events that an untrusted receiver wrote.

use serde::{Deserialize, Serialize};

/// Longest commit message that an event keeps, in bytes: enough for a mail, and it bounds a row of the inbox.
pub const MAX_MESSAGE_BYTES: usize = 4096;
/// Most commits that an event lists. GitHub's own lists end at 2,048.
pub const MAX_COMMITS: usize = 2048;
/// Most paths that an event lists over all its commits. Beyond it the paths count as not known.
pub const MAX_PATHS: usize = 10_000;
/// Longest name, login, address, label or action, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;

use crate::git_name::{RefName, Sha};
use crate::repository_name::RepositoryName;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Commits arrived on a branch, new or old.
    Push,
    /// A branch was made.
    BranchCreated,
    /// A branch is gone.
    BranchDeleted,
    /// A tag was made or moved.
    Tag,
    /// A tag is gone.
    TagDeleted,
    /// A pull or merge request was opened, changed or closed.
    PullRequest,
    /// A release was published or changed.
    Release,
    /// A package or image was published.
    Package,
    /// An issue was opened, changed or closed.
    Issue,
    /// Somebody commented on an issue, a commit or a pull request.
    Comment,
    /// A check or status changed.
    Check,
    /// A deployment was asked for or changed.
    Deployment,
    /// A pipeline of the forge changed.
    Pipeline,
    /// A Pact Broker's event.
    Pact,
    /// A service is to be deployed.
    Service,
    /// A job's time came.
    Schedule,
    /// A person asked.
    Manual,
    /// The forge tries whether anybody listens.
    Ping,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::Push,
        Self::BranchCreated,
        Self::BranchDeleted,
        Self::Tag,
        Self::TagDeleted,
        Self::PullRequest,
        Self::Release,
        Self::Package,
        Self::Issue,
        Self::Comment,
        Self::Check,
        Self::Deployment,
        Self::Pipeline,
        Self::Pact,
        Self::Service,
        Self::Schedule,
        Self::Manual,
        Self::Ping,
    ];

    /// The kind's name, as in configuration and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::BranchCreated => "branch_created",
            Self::BranchDeleted => "branch_deleted",
            Self::Tag => "tag",
            Self::TagDeleted => "tag_deleted",
            Self::PullRequest => "pull_request",
            Self::Release => "release",
            Self::Package => "package",
            Self::Issue => "issue",
            Self::Comment => "comment",
            Self::Check => "check",
            Self::Deployment => "deployment",
            Self::Pipeline => "pipeline",
            Self::Pact => "pact",
            Self::Service => "service",
            Self::Schedule => "schedule",
            Self::Manual => "manual",
            Self::Ping => "ping",
        }
    }

    /// Whether what the event tells of is gone from the forge.
    #[must_use]
    pub const fn is_deletion(self) -> bool {
        matches!(self, Self::BranchDeleted | Self::TagDeleted)
    }
}

/// Who did it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account on the forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The mail address, as the forge gave it; not known to be an address, nor to be theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Person {
    /// Nothing at all is known of this person.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.name.is_none() && self.login.is_none() && self.email.is_none()
    }
}

/// One commit that a push brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its id.
    pub sha: Sha,
    /// Its whole message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its author.
    #[serde(default, skip_serializing_if = "Person::is_unknown")]
    pub author: Person,
    /// The paths that it added, changed or removed; absent when the forge did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
}

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

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What kind of thing.
    pub kind: Kind,
    /// The forge's own name for it (`push`, `create`), so that two tellings of one action can be known as one.
    pub provider_event: String,
    /// The repository it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// The full ref.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<RefName>,
    /// The branch's short name, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The tag's short name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The commit, after the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<Sha>,
    /// The commit before the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Sha>,
    /// The ref did not exist before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// Commits that were on the ref are not on it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<bool>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Person::is_unknown")]
    pub pusher: Person,
    /// The commits that a push brought, oldest first; absent when the forge did not list them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits: Option<Vec<Commit>>,
    /// The pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequest>,
}

/// Cuts `text` to at most `limit` bytes, at a character's end.
fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

impl Event {
    /// An event of which only the kind is known.
    #[must_use]
    pub fn of(kind: Kind, provider_event: &str) -> Self {
        Self {
            kind,
            provider_event: provider_event.to_owned(),
            repository: None,
            reference: None,
            branch: None,
            tag: None,
            sha: None,
            before: None,
            created: None,
            forced: None,
            pusher: Person::default(),
            commits: None,
            pull_request: None,
        }
    }

    /// Sets the ref, and the branch or tag that it names.
    #[must_use]
    pub fn with_ref(mut self, reference: RefName) -> Self {
        self.branch = reference.branch().map(str::to_owned);
        self.tag = reference.tag().map(str::to_owned);
        self.reference = Some(reference);
        self
    }

    /// Whether the event counts as `kind`: a push that made its branch is also a `branch_created`.
    #[must_use]
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind || (kind == Kind::BranchCreated && self.kind == Kind::Push && self.created == Some(true))
    }

    /// Every path that the event's commits touched; `None` when that is not fully known.
    #[must_use]
    pub fn paths(&self) -> Option<Vec<&str>> {
        let commits = self.commits.as_ref().filter(|commits| !commits.is_empty())?;
        let mut paths = Vec::new();
        for commit in commits {
            paths.extend(commit.paths.as_ref()?.iter().map(String::as_str));
        }
        Some(paths)
    }

    /// The event within the limits above: texts cut off, and lists that are too long absent rather than half there.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut_person = |person: &mut Person| {
            for text in [&mut person.name, &mut person.login, &mut person.email].into_iter().flatten() {
                truncate(text, MAX_TEXT_BYTES);
            }
        };
        cut_person(&mut self.pusher);
        truncate(&mut self.provider_event, MAX_TEXT_BYTES);
        self.commits = self.commits.filter(|commits| commits.len() <= MAX_COMMITS);
        let too_many_paths = self.paths().is_some_and(|paths| paths.len() > MAX_PATHS);
        for commit in self.commits.iter_mut().flatten() {
            truncate(&mut commit.message, MAX_MESSAGE_BYTES);
            cut_person(&mut commit.author);
            commit.paths = commit.paths.take().filter(|_| !too_many_paths);
        }
        if let Some(request) = &mut self.pull_request {
            truncate(&mut request.action, MAX_TEXT_BYTES);
            request.labels.truncate(MAX_TEXT_BYTES);
            request.labels.iter_mut().for_each(|label| truncate(label, MAX_TEXT_BYTES));
        }
        self
    }

    /// Whether branch and tag are what the ref says: root asks this of an event that the receiver wrote.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let reference = self.reference.as_ref();
        self.branch.as_deref() == reference.and_then(RefName::branch) && self.tag.as_deref() == reference.and_then(RefName::tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_in_the_json() {
        let event = Event::of(Kind::Ping, "ping");
        assert_eq!(serde_json::to_string(&event).unwrap(), r#"{"kind":"ping","provider_event":"ping"}"#);
    }

    #[test]
    fn every_kind_has_the_name_that_its_json_has() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }

    #[test]
    fn an_event_whose_branch_is_not_its_refs_is_inconsistent() {
        let mut event = Event::of(Kind::Push, "push").with_ref("refs/heads/feature/x".parse().unwrap());
        assert_eq!(event.branch.as_deref(), Some("feature/x"));
        assert!(event.is_consistent());
        event.branch = Some("master".to_owned());
        assert!(!event.is_consistent());
    }

    #[test]
    fn a_list_of_paths_that_is_too_long_counts_as_not_known() {
        let sha: Sha = "366701fde727cb7a9e7f21eb88264f59f6f9b89c".parse().unwrap();
        let paths = |count: usize| Some((0..count).map(|number| number.to_string()).collect());
        let commit =
            |count| Commit { sha: sha.clone(), message: "ü".repeat(5000), author: Person::default(), paths: paths(count) };
        let mut event = Event::of(Kind::Push, "push");
        event.commits = Some(vec![commit(MAX_PATHS), commit(0)]);
        let kept = event.clone().bounded();
        assert_eq!(kept.paths().unwrap().len(), MAX_PATHS);
        assert_eq!(kept.commits.unwrap()[0].message.len(), MAX_MESSAGE_BYTES);
        event.commits = Some(vec![commit(MAX_PATHS), commit(1)]);
        assert_eq!(event.bounded().paths(), None);
    }

    #[test]
    fn a_hostile_ref_does_not_come_back_from_json() {
        assert!(serde_json::from_str::<Event>(r#"{"kind":"push","provider_event":"push","ref":"refs/heads/../x"}"#).is_err());
    }
}
