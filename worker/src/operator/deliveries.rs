//! `hookspool deliveries`: what came in, the newest first.

use std::io::{self, Write};

use hookspool_common::clock::Instant;
use hookspool_common::config::Config;
use hookspool_common::event::Event;
use hookspool_common::inbox::Query;
use hookspool_common::ledger::{Ledger, Run};
use hookspool_common::record::Record;
use serde_json::{Value, json};

use super::asked::{Asked, summary};
use super::inbox::Stored;
use super::view::{print_columns, print_json, second, shown};
use super::{Exit, delivery, inbox, options, stored};

/// How many are listed unless somebody says otherwise.
const LISTED: usize = 20;

pub(super) fn deliveries(config: &Config, options: &options::Deliveries) -> anyhow::Result<Exit> {
    if let Some(id) = &options.delivery {
        return delivery::delivery(config, id, options);
    }
    let query = Query {
        since: options.since.map(options::before_now),
        source: options.source.clone(),
        answer: options.answer,
        limit: Some(options.limit.unwrap_or(LISTED)),
        newest_first: true,
        ids: None,
    };
    let ledger = Takeover::open(config);
    let mut listed: Vec<Listed> = Vec::new();
    let opened = inbox::read(config, &query, |stored| {
        let events = events(config, &stored);
        let takeover = ledger.of(&stored.record)?;
        // Its body is not kept: only one at a time is in memory.
        listed.push(Listed { record: stored.record, events, takeover });
        Ok(())
    })?;
    if let Some(missing) = opened.zip(query.since).and_then(|(opened, since)| opened.missing(since)) {
        eprintln!("hookspool: {missing}");
    }
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &Value::Array(listed.iter().map(Listed::json).collect()))?;
    } else if listed.is_empty() {
        writeln!(out, "no deliveries")?;
    } else {
        let heading = ["RECEIVED", "DELIVERY", "FORGE'S ID", "SOURCE", "ANSWER", "RUNS", "EVENT", "REASON"];
        let heading = heading.map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(heading).chain(listed.iter().map(Listed::row)).collect();
        print_columns(&mut out, &rows)?;
    }
    Ok(Exit::Success)
}

/// What a delivery tells of: as it was read when it came, or, where nothing was to run, as it would be read now.
pub(super) fn events(config: &Config, stored: &Stored) -> Vec<Event> {
    if !stored.record.proposals.is_empty() {
        return stored.record.proposals.iter().map(|proposal| proposal.event.clone()).collect();
    }
    stored.raw.as_ref().map(|raw| Asked::of(config, stored, raw).events).unwrap_or_default()
}

/// A delivery in the list.
struct Listed {
    record: Record,
    events: Vec<Event>,
    takeover: Option<Takeover>,
}

impl Listed {
    fn json(&self) -> Value {
        let mut json = json(&self.record, self.takeover.as_ref());
        json["events"] = self.events.iter().map(|event| json!(summary(event))).collect();
        json
    }

    fn row(&self) -> Vec<String> {
        let record = &self.record;
        let events: Vec<String> = self.events.iter().map(|event| shown(&summary(event))).collect();
        vec![
            second(record.received_at),
            record.id.to_string(),
            shown(record.provider_id.as_deref().unwrap_or("-")),
            record.source.to_string(),
            record.answer.word().to_owned(),
            self.takeover.as_ref().map_or_else(|| "?".to_owned(), Takeover::runs_text),
            if events.is_empty() { "-".to_owned() } else { events.join(", ") },
            record.reason.as_deref().map(shown).unwrap_or_default(),
        ]
    }
}

/// A delivery as JSON. Where the ledger cannot be read, `imported_at` and `runs` are absent.
pub(super) fn json(record: &Record, takeover: Option<&Takeover>) -> Value {
    let mut json = json!({
        "delivery": record.id,
        "provider_id": record.provider_id,
        "source": record.source,
        "received_at": record.received_at.to_string(),
        "answer": record.answer.word(),
        "reason": record.reason,
        "jobs": record.proposals.iter().flat_map(|proposal| &proposal.jobs).collect::<Vec<_>>(),
    });
    if let Some(takeover) = takeover {
        json["imported_at"] = json!(takeover.imported_at.map(|at| at.to_string()));
        json["runs"] = takeover.runs.iter().map(|run| json!(run.id)).collect();
    }
    json
}

/// What the ledger says of a delivery.
pub(super) struct Takeover {
    /// When a pass took it over, if one did.
    pub(super) imported_at: Option<Instant>,
    /// The runs that it made or joined.
    pub(super) runs: Vec<Run>,
}

impl Takeover {
    /// The ledger, if it can be read. It is root's; whoever may read the inbox alone is told what is missing.
    pub(super) fn open(config: &Config) -> Takeovers {
        match stored::ledger(config) {
            Ok(ledger) => Takeovers(Some(ledger)),
            Err(error) => {
                eprintln!("hookspool: what became of them is not shown: {error:#}");
                Takeovers(None)
            }
        }
    }

    fn runs_text(&self) -> String {
        match (self.imported_at, self.runs.as_slice()) {
            (None, _) => "not yet".to_owned(),
            (Some(_), []) => "-".to_owned(),
            (Some(_), runs) => runs.iter().map(|run| run.id.to_string()).collect::<Vec<_>>().join(","),
        }
    }
}

/// The ledger, asked for one delivery after the other. Absent when it cannot be read; empty before the first pass.
pub(super) struct Takeovers(Option<Option<Box<dyn Ledger>>>);

impl Takeovers {
    pub(super) fn of(&self, record: &Record) -> anyhow::Result<Option<Takeover>> {
        let Some(readable) = &self.0 else { return Ok(None) };
        let Some(ledger) = readable else { return Ok(Some(Takeover { imported_at: None, runs: Vec::new() })) };
        let known = ledger.deliveries(&record.id.to_string())?.into_iter().find(|known| known.id == record.id);
        let runs = if known.is_some() { ledger.runs_of(record.id)? } else { Vec::new() };
        Ok(Some(Takeover { imported_at: known.map(|known| known.imported_at), runs }))
    }
}
