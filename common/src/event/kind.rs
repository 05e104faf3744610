//! The closed list of kinds.

use serde::{Deserialize, Serialize};

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

    /// Whether the event is nothing without a ref.
    #[must_use]
    pub const fn is_about_a_ref(self) -> bool {
        matches!(self, Self::Push | Self::BranchCreated | Self::BranchDeleted | Self::Tag | Self::TagDeleted | Self::PullRequest)
    }

    /// Whether the event is about some commit, also where the forge does not say its ref.
    #[must_use]
    pub const fn is_about_a_commit(self) -> bool {
        self.is_about_a_ref() || matches!(self, Self::Release | Self::Check | Self::Deployment | Self::Pipeline)
    }

    /// Whether a sender tells of such things; of the others only Hookspool itself does.
    #[must_use]
    pub const fn is_told_by_senders(self) -> bool {
        !matches!(self, Self::Schedule | Self::Manual | Self::Ping)
    }

    /// Whether what the event tells of is gone from the forge.
    #[must_use]
    pub const fn is_deletion(self) -> bool {
        matches!(self, Self::BranchDeleted | Self::TagDeleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_name_that_its_json_has() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }
}
