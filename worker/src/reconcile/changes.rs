//! Two states of a repository, and the events between them: what deliveries would have told, as far as refs show it.
//!
//! Who did it, by how many pushes and with which commits, a ref does not show; so it is absent in the event.

use std::sync::Arc;

use hookspool_common::config::Repository;
use hookspool_common::event::{Event, Kind};
use hookspool_common::git_name::{RefName, Sha};
use hookspool_common::ledger::{KnownRefs, RefChange};
use hookspool_common::matching::why_not;
use hookspool_common::repository_name::RepositoryName;

use super::forge::{Refs, Tip};
use crate::admission::{MAX_REQUESTS, own_request};

/// What is different, with what the jobs of `files` make of it. At most as many runs as one delivery may ask for; the rest
/// stays different, and is for the next time.
pub(super) fn changes(name: &RepositoryName, known: &KnownRefs, refs: &Refs, files: &[&Repository]) -> Vec<RefChange> {
    let is_gone = |reference: &&RefName| !refs.contains_key(*reference);
    let gone = known.keys().filter(is_gone).map(|reference| (reference, None));
    let moved = refs.iter().filter(|(reference, tip)| known.get(*reference) != Some(&tip.object));
    let mut count = 0;
    let mut changes = Vec::new();
    for (reference, tip) in gone.chain(moved.map(|(reference, tip)| (reference, Some(tip)))) {
        let event = Arc::new(event(name, reference, known.get(reference), tip));
        let mut requests = Vec::new();
        for repository in files {
            let jobs = repository.jobs.iter().filter(|job| why_not(repository, job, &event).is_none());
            let of_source = |job| Some((repository.sources.first()?.clone(), own_request(repository, job, &event)));
            requests.extend(jobs.filter_map(of_source));
        }
        count += requests.len();
        if count > MAX_REQUESTS {
            tracing::warn!(repository = %name, "more than {MAX_REQUESTS} runs are wanting at once; the rest is for the next time");
            break;
        }
        changes.push(RefChange { reference: reference.clone(), now: tip.map(|tip| tip.object.clone()), requests });
    }
    changes
}

fn event(name: &RepositoryName, reference: &RefName, before: Option<&Sha>, tip: Option<&Tip>) -> Event {
    let is_branch = reference.branch().is_some();
    let kind = match (is_branch, tip) {
        (true, Some(_)) => Kind::Push,
        (true, None) => Kind::BranchDeleted,
        (false, Some(_)) => Kind::Tag,
        (false, None) => Kind::TagDeleted,
    };
    Event {
        repository: Some(name.clone()),
        sha: tip.map(|tip| tip.commit.clone()),
        // Of a tag only its object is known, which may be no commit.
        before: before.filter(|_| is_branch).cloned(),
        created: tip.map(|_| before.is_none()),
        ..Event::of(kind, "reconcile").with_ref(reference.clone())
    }
}
