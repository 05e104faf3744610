//! The closed model of what happened on a forge: the same JSON wherever an event is shown or stored.
//!
//! What a forge does not say is absent. Reading an event back from JSON checks every name in it again, so root may
//! read events that an untrusted receiver wrote.

pub(crate) mod bounds; // what an event may hold at most
mod kind;
mod reach; // what it may displace
mod subject; // what an event is about, beside a ref

use serde::{Deserialize, Serialize};

use crate::git_name::{RefName, Sha};
use crate::repository_name::RepositoryName;

pub use bounds::{MAX_COMMITS, MAX_COMMITS_BYTES, MAX_LABELS, MAX_MESSAGE_BYTES, MAX_PATHS, MAX_PATHS_BYTES, MAX_TEXT_BYTES};
pub use kind::Kind;
pub use reach::Reach;
pub use subject::{
    Check, Comment, CommentOn, Deployment, Issue, Package, Pact, Pacticipant, Pipeline, PullRequest, Release, Service, Side,
};

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
    /// The release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The package or image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// The issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Issue>,
    /// The comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Comment>,
    /// The check or commit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// The deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// The forge's pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// The contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pact: Option<Pact>,
    /// The service that is to be deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
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
            release: None,
            package: None,
            issue: None,
            comment: None,
            check: None,
            deployment: None,
            pipeline: None,
            pact: None,
            service: None,
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

    /// The commit that its runs are at, where the event says it. A comment on a commit only speaks of one: whoever can
    /// write comments would choose which old code runs.
    #[must_use]
    pub fn commit_to_run(&self) -> Option<&Sha> {
        let only_speaks = self.comment.as_ref().is_some_and(|comment| comment.on != CommentOn::PullRequest);
        self.sha.as_ref().filter(|_| !only_speaks)
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

    /// What happened to the event's subject, in the sender's word; for a contract, the broker's name of the event.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        let of_request = self.pull_request.as_ref().map(|request| request.action.as_str());
        let of_release = self.release.as_ref().map(|release| release.action.as_str());
        let of_package = self.package.as_ref().map(|package| package.action.as_str());
        let of_comment = self.comment.as_ref().map(|comment| comment.action.as_str());
        let of_issue = self.issue.as_ref().and_then(|issue| issue.action.as_deref());
        let of_check = self.check.as_ref().and_then(|check| check.action.as_deref());
        let of_deployment = self.deployment.as_ref().and_then(|deployment| deployment.action.as_deref());
        let of_pipeline = self.pipeline.as_ref().and_then(|pipeline| pipeline.action.as_deref());
        let of_pact = self.pact.as_ref().map(|pact| pact.event.as_str());
        let of_service = self.service.as_ref().and_then(|service| service.action.as_deref());
        let of_events = of_request.or(of_release).or(of_package).or(of_comment).or(of_issue);
        let action = of_events.or(of_check).or(of_deployment).or(of_pipeline).or(of_pact).or(of_service);
        action.filter(|action| !action.is_empty())
    }

    /// The labels of the request or issue.
    #[must_use]
    pub fn labels(&self) -> Option<&[String]> {
        let of_request = self.pull_request.as_ref().map(|request| request.labels.as_slice());
        of_request.or_else(|| self.issue.as_ref().map(|issue| issue.labels.as_slice()))
    }

    /// The name of what the event is about: a package, check, pipeline, service, release, or the provider of a contract.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let of_package = self.package.as_ref().and_then(|package| package.name.as_deref());
        let of_check = self.check.as_ref().and_then(|check| check.name.as_deref());
        let of_pipeline = self.pipeline.as_ref().and_then(|pipeline| pipeline.name.as_deref());
        let of_service = self.service.as_ref().and_then(|service| service.name.as_deref());
        let of_release = self.release.as_ref().and_then(|release| release.name.as_deref());
        let of_pact = self.pact.as_ref().and_then(|pact| pact.provider.name.as_deref());
        of_package.or(of_check).or(of_pipeline).or(of_service).or(of_release).or(of_pact)
    }

    /// How far a check, pipeline, deployment, verification or issue is.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        let of_check = self.check.as_ref().and_then(|check| check.status.as_deref());
        let of_pipeline = self.pipeline.as_ref().and_then(|pipeline| pipeline.status.as_deref());
        let of_deployment = self.deployment.as_ref().and_then(|deployment| deployment.status.as_deref());
        let of_pact = self.pact.as_ref().and_then(|pact| pact.status.as_deref());
        let of_issue = self.issue.as_ref().and_then(|issue| issue.state.as_deref());
        of_check.or(of_pipeline).or(of_deployment).or(of_pact).or(of_issue)
    }

    /// What an event that is not about a ref is about, beginning with its kind. Newer news of it may take the place of
    /// older news of it, and of nothing else.
    #[must_use]
    pub fn topic(&self) -> Option<String> {
        // What a person has run at a ref must not overlap with what pushes run there.
        if self.kind.is_about_a_ref() || self.kind == Kind::Manual {
            return None;
        }
        // Two names in a row would not say where one ends; in quotation marks they do.
        let of_pact = self.pact.as_ref().map(|pact| format!("{:?}", (&pact.url, &pact.addressee().version)));
        let of_package = self.package.as_ref().map(|package| format!("{:?}", (&package.name, &package.tag, &package.version)));
        let number = self.comment.as_ref().and_then(|comment| comment.number).or(self.issue.as_ref().map(|issue| issue.number));
        let environment = self.deployment.as_ref().and_then(|deployment| deployment.environment.clone());
        let named = of_pact.or(of_package).or_else(|| self.name().map(str::to_owned)).or(environment);
        let named = named.or_else(|| number.map(|number| format!("#{number}")));
        Some([Some(self.kind.as_str().to_owned()), named].into_iter().flatten().collect::<Vec<_>>().join(" "))
    }

    /// Whether its parts agree: root asks this of an event that the receiver wrote.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.contradiction().is_none()
    }

    /// Which of its parts do not agree: branch and tag with the ref, the ref or subject with the kind.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let reference = self.reference.as_ref();
        let (branch, tag) = (reference.and_then(RefName::branch), reference.and_then(RefName::tag));
        if self.branch.as_deref() != branch || self.tag.as_deref() != tag {
            return Some("the event's branch or tag is not that of its ref".to_owned());
        }
        let kind = self.kind.as_str();
        let has_its_subject = match self.kind {
            Kind::PullRequest => self.pull_request.is_some(),
            Kind::Comment => self.comment.is_some(),
            _ => true,
        };
        if !has_its_subject {
            return Some(format!("the event is a `{kind}`, and does not say which"));
        }
        let is_on_request = self.comment.as_ref().is_some_and(|comment| comment.on == CommentOn::PullRequest);
        let can_be_there = match self.kind {
            Kind::Push | Kind::BranchCreated | Kind::BranchDeleted => branch.is_some(),
            Kind::Tag | Kind::TagDeleted | Kind::Release => tag.is_some(),
            Kind::PullRequest => tag.is_none(),
            Kind::Comment => is_on_request && tag.is_none(),
            _ => true,
        };
        reference.filter(|_| !can_be_there).map(|reference| format!("a `{kind}` cannot be at {reference}"))
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
    fn an_event_whose_branch_is_not_its_refs_is_inconsistent() {
        let mut event = Event::of(Kind::Push, "push").with_ref("refs/heads/feature/x".parse().unwrap());
        assert_eq!(event.branch.as_deref(), Some("feature/x"));
        assert!(event.is_consistent());
        event.branch = Some("master".to_owned());
        assert!(!event.is_consistent());
    }

    #[test]
    fn an_event_whose_ref_or_subject_is_not_one_of_its_kind_is_inconsistent() {
        let at = |kind, reference: &str| Event::of(kind, "x").with_ref(reference.parse().unwrap());
        let (branch, tag, of_request) = ("refs/heads/dev", "refs/tags/v1", "refs/pull/7/head");
        for (kind, good, bad) in [
            (Kind::Push, branch, [tag, of_request]),
            (Kind::BranchCreated, branch, [tag, of_request]),
            (Kind::BranchDeleted, branch, [tag, of_request]),
            (Kind::Tag, tag, [branch, of_request]),
            (Kind::TagDeleted, tag, [branch, of_request]),
            (Kind::Release, tag, [branch, of_request]),
        ] {
            assert_eq!(at(kind, good).contradiction(), None);
            for bad in bad {
                assert_eq!(at(kind, bad).contradiction(), Some(format!("a `{}` cannot be at {bad}", kind.as_str())));
            }
        }
        let side = || Side { reference: branch.parse().unwrap(), sha: None };
        let action = || "opened".to_owned();
        let request =
            PullRequest { number: 7, action: action(), head: side(), base: side(), labels: Vec::new(), from_fork: None };
        let requested = |reference| Event { pull_request: Some(request.clone()), ..at(Kind::PullRequest, reference) };
        assert!(requested(of_request).is_consistent() && requested(branch).is_consistent() && !requested(tag).is_consistent());
        let comment = |on| Comment {
            action: action(),
            on,
            number: None,
            body: String::new(),
            author: Person::default(),
            association: None,
            url: None,
        };
        let said = |on, reference| Event { comment: Some(comment(on)), ..at(Kind::Comment, reference) };
        assert!(said(CommentOn::PullRequest, of_request).is_consistent());
        assert!(!said(CommentOn::PullRequest, tag).is_consistent());
        assert!(!said(CommentOn::Commit, branch).is_consistent() && !said(CommentOn::Issue, of_request).is_consistent());
        assert!(!Event::of(Kind::PullRequest, "x").is_consistent() && !Event::of(Kind::Comment, "x").is_consistent());
    }

    #[test]
    fn a_hostile_ref_does_not_come_back_from_json() {
        assert!(serde_json::from_str::<Event>(r#"{"kind":"push","provider_event":"push","ref":"refs/heads/../x"}"#).is_err());
    }
}
