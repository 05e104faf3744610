//! What an event may displace. Strangers can open requests and write comments, so these must not take the place of
//! what others wait for, however the job's lane is set up.

use super::{Event, Kind};
use crate::git_name::RefName;

/// Which runs of its lane a newcomer may take the place of, or end, where its job wants that at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// None: each comment is a word of its own.
    Nothing,
    /// Those at the same ref. Only who may write to the repository moves its branches and tags; any other ref, and what
    /// has none, may be a stranger's.
    SameRef,
    /// Every one.
    Lane,
}

impl Reach {
    /// Whether a newcomer at `own` reaches a run at `other`.
    #[must_use]
    pub fn covers(self, own: Option<&RefName>, other: Option<&RefName>) -> bool {
        match self {
            Self::Nothing => false,
            Self::SameRef => own == other,
            Self::Lane => true,
        }
    }
}

impl Event {
    /// How far the event reaches within its lane.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let is_ours = self.reference.as_ref().is_some_and(|name| name.branch().or(name.tag()).is_some());
        match self.kind {
            Kind::Comment => Reach::Nothing,
            Kind::PullRequest => Reach::SameRef,
            _ if is_ours => Reach::Lane,
            _ => Reach::SameRef,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_moves_a_branch_or_tag_reaches_what_is_at_other_refs() {
        let name = |name: &str| -> RefName { name.parse().unwrap() };
        let (develop, request, other) = (name("refs/heads/develop"), name("refs/pull/7/head"), name("refs/pull/8/head"));
        let reaches = |kind, own: Option<&RefName>, other: Option<&RefName>| {
            let event = Event { reference: own.cloned(), ..Event::of(kind, "x") };
            event.reach().covers(own, other)
        };
        assert!(reaches(Kind::Push, Some(&develop), Some(&request)) && reaches(Kind::Push, Some(&develop), None));
        assert!(reaches(Kind::PullRequest, Some(&request), Some(&request)));
        for stranger in [Some(&develop), Some(&other), None] {
            assert!(!reaches(Kind::PullRequest, Some(&request), stranger));
            assert!(!reaches(Kind::Check, Some(&request), stranger));
        }
        // On a forge without refs for requests, a request is at a branch.
        assert!(!reaches(Kind::PullRequest, Some(&develop), Some(&name("refs/heads/master"))));
        assert!(reaches(Kind::Issue, None, None) && !reaches(Kind::Issue, None, Some(&develop)));
        assert!(!reaches(Kind::Comment, Some(&request), Some(&request)) && !reaches(Kind::Comment, None, None));
    }
}
