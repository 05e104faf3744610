//! A push, before it is put into a forge's words; and which forge has which.

use hookspool_common::forges::{Dialect, Provider};
use hookspool_common::git_name::{RefName, Sha};
use hookspool_common::repository_name::RepositoryName;

use super::{bitbucket, bitbucket_server, gitea, github, gitlab};

/// What stands for a commit where there is none.
pub(super) const ZERO: &str = "0000000000000000000000000000000000000000";

/// A commit of a push.
#[derive(Debug, Clone)]
pub(in crate::operator) struct PushedCommit {
    pub(in crate::operator) sha: Sha,
    pub(in crate::operator) message: String,
    /// Changed paths; `None` where nobody looked.
    pub(in crate::operator) paths: Option<Vec<String>>,
}

/// A push.
#[derive(Debug, Clone, Copy)]
pub(in crate::operator) struct PushedRef<'a> {
    pub(in crate::operator) repository: &'a RepositoryName,
    pub(in crate::operator) reference: &'a RefName,
    /// The commit before; `None` for a ref that is new.
    pub(in crate::operator) before: Option<&'a Sha>,
    pub(in crate::operator) after: &'a Sha,
    pub(in crate::operator) forced: bool,
    /// Login and mail address.
    pub(in crate::operator) pusher: (&'a str, &'a str),
    pub(in crate::operator) commits: &'a [PushedCommit],
}

impl PushedRef<'_> {
    /// The host of the repository.
    pub(super) fn host(&self) -> &str {
        self.repository.as_str().split('/').next().unwrap_or_default()
    }

    /// Where people see the repository.
    pub(super) fn web(&self) -> String {
        format!("https://{}", self.repository)
    }
}

/// Whether the senders of this dialect tell of pushes, in words that are known here.
pub(super) fn tells_of_pushes(dialect: &Dialect) -> bool {
    matches!(dialect, Dialect::Forge(provider) if *provider != Provider::PactBroker)
}

/// The event's name and the body that `provider` sends of a push, if it tells of pushes.
pub(super) fn delivery_of(provider: Provider, push: &PushedRef<'_>) -> Option<(&'static str, Vec<u8>)> {
    Some(match provider {
        Provider::Github => ("push", github::push_body(push)),
        Provider::Gitea | Provider::Forgejo => gitea::delivery(push),
        Provider::Gitlab => gitlab::delivery(push),
        Provider::Bitbucket => bitbucket::delivery(push),
        Provider::BitbucketServer => bitbucket_server::delivery(push),
        Provider::PactBroker => return None,
    })
}
