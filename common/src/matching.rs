//! Which jobs an event asks for. Both sides call this: the receiver to answer usefully, root to decide.
//!
//! A miss is data: the first condition that failed, in words.

use serde::{Deserialize, Serialize};

use crate::config::{Condition, Config, Job, Repository};
use crate::event::{Event, Kind};
use crate::globs::Globs;
use crate::names::{JobName, SourceName};
use crate::repository_name::RepositoryName;
use crate::skip::skip_word;

/// A job that an event asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The repository.
    pub repository: RepositoryName,
    /// Its job.
    pub job: JobName,
}

/// A job that an event does not ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// The repository.
    pub repository: RepositoryName,
    /// Its job.
    pub job: JobName,
    /// The first condition that failed; of several entries of `when`, that of the entry that came furthest.
    pub reason: String,
}

/// What an event asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Matching {
    /// What it asks for.
    pub matches: Vec<Match>,
    /// What it does not ask for, and why.
    pub misses: Vec<Miss>,
}

/// Every job of every repository that `source` may speak of, as match or miss.
#[must_use]
pub fn matches(config: &Config, source: &SourceName, event: &Event) -> Matching {
    let mut matching = Matching::default();
    for repository in config.repositories.iter().filter(|repository| repository.sources.contains(source)) {
        for job in &repository.jobs {
            let (name, job_name) = (repository.name.clone(), job.name.clone());
            match why_not(repository, job, event) {
                None => matching.matches.push(Match { repository: name, job: job_name }),
                Some(reason) => matching.misses.push(Miss { repository: name, job: job_name, reason }),
            }
        }
    }
    matching
}

/// Why nothing runs for `event`, in one sentence.
#[must_use]
pub fn reason_for_nothing(config: &Config, source: &SourceName, event: &Event) -> String {
    let Some(name) = &event.repository else {
        if let Some(name) = event.pact.as_ref().and_then(|pact| pact.addressee().name.as_deref()) {
            return format!("`{name}` is not in [source.repositories] of source `{source}`, so its repository is not known");
        }
        return format!("the `{}` does not say to which repository it belongs", event.kind.as_str());
    };
    let Some(repository) = config.repository(source, name) else {
        return format!("{name} is not in the configuration of source `{source}`");
    };
    let misses: Vec<String> = repository
        .jobs
        .iter()
        .filter_map(|job| why_not(repository, job, event).map(|reason| format!("job `{}`: {reason}", job.name)))
        .collect();
    misses.join("; ")
}

/// The first reason why `event` does not ask for `job`, or `None` when it does.
#[must_use]
pub fn why_not(repository: &Repository, job: &Job, event: &Event) -> Option<String> {
    match &event.repository {
        None => return Some("the event does not say to which repository it belongs".to_owned()),
        Some(name) if *name != repository.name => return Some(format!("the repository is {name}, not {}", repository.name)),
        Some(_) => {}
    }
    if event.kind == Kind::Schedule && job.scheduled.is_some() {
        return None;
    }
    if job.when.0.is_empty() {
        return Some("the job runs by its `schedule` alone".to_owned());
    }
    let mut furthest: Option<(usize, String)> = None;
    for condition in &job.when.0 {
        match first_failure(condition, event) {
            None => return None,
            Some(failure) if furthest.as_ref().is_none_or(|known| failure.0 > known.0) => furthest = Some(failure),
            Some(_) => {}
        }
    }
    furthest.map(|(_, reason)| reason)
}

/// How many conditions held before the first that failed, and that one in words.
fn first_failure(condition: &Condition, event: &Event) -> Option<(usize, String)> {
    if !condition.event.iter().any(|kind| event.is(*kind)) {
        let wanted: Vec<&str> = condition.event.iter().copied().map(Kind::as_str).collect();
        return Some((0, format!("the event is `{}`, not `{}`", event.kind.as_str(), wanted.join("` or `"))));
    }
    let mut held = 1;
    for (key, globs, values) in texts(condition, event) {
        let Some(globs) = globs else { continue };
        match values {
            None => return Some((held, format!("the event has no {key}, and `{key}` asks for {}", globs.shown()))),
            Some(values) if !globs.fit_together(&values) => {
                return Some((held, format!("{key} {} does not fit {}", shown(&values), globs.shown())));
            }
            Some(_) => held += 1,
        }
    }
    // Paths that are not fully known rule nothing out: better to run than to leave out silently.
    if let (Some(globs), Some(paths)) = (&condition.paths, event.paths())
        && !paths.iter().any(|path| globs.fit(path))
    {
        return Some((held, format!("no changed path fits {} ({})", globs.shown(), shown(&paths))));
    }
    // Last, so that it is only said where the job would run. The making of a branch is another thing than its commits.
    let is_about_its_making = condition.event.contains(&Kind::BranchCreated) && event.is(Kind::BranchCreated);
    skip_word(event).filter(|_| !is_about_its_making).map(|word| (held + 1, format!("its commit says {word}")))
}

/// Each key of `when`, its patterns, and what the event has for it.
type Texts<'a> = [(&'static str, &'a Option<Globs>, Option<Vec<&'a str>>); 11];

fn texts<'a>(condition: &'a Condition, event: &'a Event) -> Texts<'a> {
    let one = |value: Option<&'a str>| value.map(|value| vec![value]);
    let base = event.pull_request.as_ref().and_then(|request| request.base.reference.branch());
    let labels = event.labels().map(|labels| labels.iter().map(String::as_str).collect());
    let image_tag = event.package.as_ref().and_then(|package| package.tag.as_deref());
    let environment = event.deployment.as_ref().and_then(|deployment| deployment.environment.as_deref());
    let association = event.comment.as_ref().and_then(|comment| comment.association.as_deref());
    let comment = event.comment.as_ref().map(|comment| comment.body.lines().next().unwrap_or_default().trim());
    [
        ("branch", &condition.branch, one(event.branch.as_deref())),
        ("tag", &condition.tag, one(event.tag.as_deref().or(image_tag))),
        ("base", &condition.base, one(base)),
        ("action", &condition.action, one(event.action())),
        ("labels", &condition.labels, labels),
        ("name", &condition.name, one(event.name())),
        ("status", &condition.status, one(event.status())),
        ("environment", &condition.environment, one(environment)),
        ("comment", &condition.comment, one(comment)),
        ("association", &condition.association, one(association)),
        ("pusher", &condition.pusher, one(event.pusher.login.as_deref())),
    ]
}

/// At most this many values are named in a reason.
const SHOWN_VALUES: usize = 5;

fn shown(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().take(SHOWN_VALUES).map(|value| format!("{value:?}")).collect();
    match values.len().saturating_sub(SHOWN_VALUES) {
        0 if quoted.is_empty() => "none".to_owned(),
        0 => quoted.join(", "),
        more => format!("{} and {more} more", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests;
