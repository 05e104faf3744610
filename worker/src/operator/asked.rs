//! What a stored delivery asks for under a configuration: its bytes are read anew and matched anew, as if they had just
//! come.

use hookspool_common::config::Config;
use hookspool_common::event::{Event, Kind};
use hookspool_common::forges::Reading;
use hookspool_common::matching::{matches, reason_for_nothing};
use hookspool_common::record::Proposal;

use super::inbox::{Raw, Stored};

/// What a delivery asks for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Every event that it tells of.
    pub(super) events: Vec<Event>,
    /// Those that ask for jobs, with the jobs.
    pub(super) proposals: Vec<Proposal>,
    /// Why there is no job.
    pub(super) reason: Option<String>,
}

impl Asked {
    /// What `stored` asks for under `config`, given that its bytes are still there.
    pub(super) fn of(config: &Config, stored: &Stored, raw: &Raw) -> Self {
        let source = &stored.record.source;
        let Some(configured) = config.source(source) else {
            return Self::nothing(format!("source `{source}` is not in {}", config.file.display()));
        };
        let events = match configured.read(&raw.headers(), &raw.body) {
            Ok(Reading::Events(events)) => events,
            Ok(Reading::Nothing(reason)) => return Self::nothing(reason),
            Err(malformed) => return Self::nothing(malformed.to_string()),
        };
        let mut asked = Self::default();
        let mut reasons = Vec::new();
        for event in &events {
            let jobs = if event.kind == Kind::Ping { Vec::new() } else { matches(config, source, event).matches };
            match (jobs.is_empty(), event.kind) {
                (false, _) => asked.proposals.push(Proposal { event: event.clone(), jobs }),
                (true, Kind::Ping) => reasons.push("a ping asks for nothing".to_owned()),
                (true, _) => reasons.push(reason_for_nothing(config, source, event)),
            }
        }
        asked.reason = asked.proposals.is_empty().then(|| reasons.join("; "));
        Self { events, ..asked }
    }

    fn nothing(reason: String) -> Self {
        Self { reason: Some(reason), ..Self::default() }
    }
}

/// `push refs/heads/main 366701f`.
pub(super) fn summary(event: &Event) -> String {
    let reference = event.reference.as_ref().map(|reference| format!(" {reference}")).unwrap_or_default();
    let sha = event.sha.as_ref().map(|sha| format!(" {}", sha.short())).unwrap_or_default();
    format!("{}{reference}{sha}", event.kind.as_str())
}
