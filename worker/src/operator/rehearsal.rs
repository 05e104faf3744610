//! `hookspool replay --dry-run`: how what a configuration would run differs from what was asked for when the deliveries
//! came, or from what another configuration would run. Nothing is written.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use hookspool_common::config::Config;
use hookspool_common::event::Event;
use hookspool_common::matching::Match;
use hookspool_common::names::{JobName, SourceName};
use hookspool_common::record::{Proposal, Record};
use hookspool_common::repository_name::RepositoryName;
use serde_json::{Value, json};

use super::asked::{Asked, summary};
use super::delivery::{Found, find};
use super::inbox::Stored;
use super::view::{print_json, second, shown};
use super::{Exit, inbox, options};
use crate::admission::verdict;

pub(super) fn rehearse(config: &Config, options: &options::Replay) -> anyhow::Result<Exit> {
    let against = options.against.as_deref().map(Config::load).transpose()?;
    // Of deliveries that were named, each job is of interest; of a week's, what changes.
    let mut rehearsal = Rehearsal { shows_unchanged: options.since.is_none(), ..Rehearsal::default() };
    let mut take = |stored: Stored| rehearsal.take(config, against.as_ref(), &stored);
    if let Some(query) = super::replay::query(options) {
        let opened = inbox::read(config, &query, |stored| {
            take(stored);
            Ok(())
        })?;
        rehearsal.lost = opened.zip(query.since).and_then(|(opened, since)| opened.missing(since));
    } else {
        match find(config, &options.deliveries)? {
            Found::Not(exit) => return Ok(exit),
            Found::All(_, found) => found.into_iter().for_each(take),
        }
    }
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &rehearsal.json())?
    } else {
        rehearsal.print(&mut out, &config.file)?
    }
    Ok(if rehearsal.differs() { Exit::Failure } else { Exit::Success })
}

/// What becomes of a job that a delivery asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Unchanged,
    /// What the delivery asks for cannot be told any more.
    Unknown,
}

impl Change {
    const fn mark(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Unchanged => ' ',
            Self::Unknown => '?',
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
            Self::Unknown => "unknown",
        }
    }
}

/// One line of the difference.
struct Line {
    change: Change,
    job: Option<(RepositoryName, JobName, String)>,
    record: Record,
    reason: Option<String>,
}

#[derive(Default)]
struct Counts {
    deliveries: usize,
    added: usize,
    removed: usize,
    unchanged: usize,
    unknown: usize,
}

#[derive(Default)]
struct Rehearsal {
    shows_unchanged: bool,
    lines: Vec<Line>,
    counts: Counts,
    /// What of the time is not there any more, in words.
    lost: Option<String>,
    /// Sources that deliveries came to and the configuration does not have.
    missing: BTreeMap<SourceName, usize>,
}

/// A repository's job, and the event for which it runs.
type Jobs<'a> = BTreeMap<(RepositoryName, JobName, String), &'a Event>;

fn jobs(proposals: &[Proposal]) -> Jobs<'_> {
    let of = |proposal: &'_ Proposal, one: &Match| (one.repository.clone(), one.job.clone(), summary(&proposal.event));
    proposals.iter().flat_map(|proposal| proposal.jobs.iter().map(move |one| (of(proposal, one), &proposal.event))).collect()
}

impl Rehearsal {
    /// Whether something would change, or may.
    const fn differs(&self) -> bool {
        self.counts.added + self.counts.removed + self.counts.unknown > 0 || self.lost.is_some()
    }

    fn take(&mut self, config: &Config, against: Option<&Config>, stored: &Stored) {
        let record = &stored.record;
        self.counts.deliveries += 1;
        if config.source(&record.source).is_none() {
            *self.missing.entry(record.source.clone()).or_default() += 1;
        }
        let raw = match &stored.raw {
            Ok(raw) => raw,
            Err(gone) => {
                let then: Vec<String> = jobs(&record.proposals).into_keys().map(|(_, job, _)| job.to_string()).collect();
                let then = if then.is_empty() { "nothing".to_owned() } else { then.join(", ") };
                return self.line(Change::Unknown, None, record, Some(format!("{gone}; it asked for {then} when it came")));
            }
        };
        let new = Asked::of(config, stored, raw);
        let old = against.map(|against| Asked::of(against, stored, raw).proposals);
        let (then, now) = (jobs(old.as_ref().unwrap_or(&record.proposals)), jobs(&new.proposals));
        for (job, event) in &then {
            let change = if now.contains_key(job) { Change::Unchanged } else { Change::Removed };
            let why = || why_not(config, &record.source, event, job).or_else(|| new.reason.clone());
            self.line(change, Some(job.clone()), record, (change == Change::Removed).then(why).flatten());
        }
        for job in now.into_keys().filter(|job| !then.contains_key(job)) {
            self.line(Change::Added, Some(job), record, None);
        }
    }

    fn line(&mut self, change: Change, job: Option<(RepositoryName, JobName, String)>, record: &Record, reason: Option<String>) {
        let count = match change {
            Change::Added => &mut self.counts.added,
            Change::Removed => &mut self.counts.removed,
            Change::Unchanged => &mut self.counts.unchanged,
            Change::Unknown => &mut self.counts.unknown,
        };
        *count += 1;
        if change == Change::Unchanged && !self.shows_unchanged {
            return;
        }
        // Of the record only what is shown; the events of a week would fill the memory.
        self.lines.push(Line { change, job, record: Record { proposals: Vec::new(), ..record.clone() }, reason });
    }

    fn json(&self) -> Value {
        let Counts { deliveries, added, removed, unchanged, unknown } = self.counts;
        let line = |line: &Line| {
            json!({
                "change": line.change.as_str(),
                "repository": line.job.as_ref().map(|job| &job.0),
                "job": line.job.as_ref().map(|job| &job.1),
                "event": line.job.as_ref().map(|job| &job.2),
                "delivery": line.record.id,
                "provider_id": line.record.provider_id,
                "source": line.record.source,
                "received_at": line.record.received_at.to_string(),
                "reason": line.reason,
            })
        };
        json!({
            "changes": self.lines.iter().map(line).collect::<Vec<_>>(),
            "missing_sources": self.missing,
            "missing": self.lost,
            "deliveries": deliveries, "added": added, "removed": removed, "unchanged": unchanged, "unknown": unknown,
        })
    }

    fn print(&self, out: &mut impl Write, config: &Path) -> io::Result<()> {
        if let Some(lost) = &self.lost {
            writeln!(out, "? {lost}")?;
        }
        for Line { change, job, record, reason } in &self.lines {
            let (mark, at) = (change.mark(), second(record.received_at));
            let reason = reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
            match job {
                Some((repository, job, event)) => {
                    writeln!(out, "{mark} job {job} of {repository}  ({}, {}, {at}){reason}", shown(event), record.id)?;
                }
                None => writeln!(out, "{mark} delivery {}  ({}, {at}){reason}", record.id, record.source)?,
            }
        }
        for (source, count) in &self.missing {
            writeln!(out, "{}: to source `{source}`, which {} does not have", plural(*count), config.display())?;
        }
        let Counts { deliveries, added, removed, unchanged, unknown } = self.counts;
        let deliveries = plural(deliveries);
        let unknown = if unknown > 0 { format!(", {} of which it cannot be told", plural(unknown)) } else { String::new() };
        writeln!(out, "{deliveries}: {added} more to run, {removed} not any more, {unchanged} unchanged{unknown}")
    }
}

fn why_not(config: &Config, source: &SourceName, event: &Event, job: &(RepositoryName, JobName, String)) -> Option<String> {
    if config.source(source).is_none() {
        return Some(format!("source `{source}` is gone"));
    }
    verdict(config, source, event, &Match { repository: job.0.clone(), job: job.1.clone() }).err()
}

fn plural(count: usize) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{count} deliveries") }
}
