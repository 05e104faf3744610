//! `hookspool deliveries DELIVERY`: one delivery with its headers, its events and its body.

use std::io::{self, Write};

use hookspool_common::config::Config;
use hookspool_common::inbox::Query;
use hookspool_common::record::InboxIdentity;
use serde_json::{Value, json};

use super::asked::summary;
use super::deliveries::{Takeover, events, json};
use super::inbox::{Raw, Stored};
use super::view::{print_columns, print_json, shown};
use super::{Exit, inbox, options, stored};

pub(super) fn delivery(config: &Config, id: &str, options: &options::Deliveries) -> anyhow::Result<Exit> {
    let stored = match find(config, &[id.to_owned()])? {
        Found::All(_, mut found) => found.remove(0),
        Found::Not(exit) => return Ok(exit),
    };
    let mut out = io::stdout().lock();
    if options.body {
        let Raw { body, .. } = stored.raw?;
        out.write_all(&body)?;
        return Ok(Exit::Success);
    }
    let takeover = Takeover::open(config).of(&stored.record)?;
    if options.json {
        let mut json = json(&stored.record, takeover.as_ref());
        json["events"] = json!(events(config, &stored));
        match &stored.raw {
            Ok(raw) => {
                json["headers"] = json!(raw.headers);
                json["body_bytes"] = json!(raw.body.len());
            }
            Err(gone) => json["gone"] = json!(gone.to_string()),
        }
        print_json(&mut out, &json)?;
    } else {
        print(&mut out, config, &stored, takeover.as_ref())?;
    }
    Ok(Exit::Success)
}

/// What the inbox has of some ids.
pub(super) enum Found {
    /// One delivery for each, in the order in which they came, and the inbox that they are in.
    All(InboxIdentity, Vec<Stored>),
    /// Not each of them; why was said.
    Not(Exit),
}

/// The deliveries with these ids, ours or the forge's.
pub(super) fn find(config: &Config, ids: &[String]) -> anyhow::Result<Found> {
    let (opened, mut found) = inbox::read_all(config, &Query { ids: Some(ids.to_vec()), ..Query::default() })?;
    let is = |stored: &Stored, id: &str| {
        stored.record.id.to_string() == id.to_ascii_lowercase() || stored.record.provider_id.as_deref() == Some(id)
    };
    for id in ids {
        let own: Vec<String> = found.iter().filter(|stored| is(stored, id)).map(|stored| stored.record.id.to_string()).collect();
        match own.as_slice() {
            [] => return not_found(config, id).map(Found::Not),
            [_] => {}
            several => {
                eprintln!(
                    "hookspool: {} is the id of several deliveries; name the one that is meant: {}",
                    shown(id),
                    several.join(", ")
                );
                return Ok(Found::Not(Exit::Failure));
            }
        }
    }
    // Nobody says anything else than was asked for.
    found.retain(|stored| ids.iter().any(|id| is(stored, id)));
    Ok(opened.map_or(Found::Not(Exit::NotFound), |opened| Found::All(opened.identity, found)))
}

/// A delivery that a pass has taken over was there once.
fn not_found(config: &Config, id: &str) -> anyhow::Result<Exit> {
    let known = match stored::ledger(config) {
        Ok(Some(ledger)) => ledger.deliveries(id)?,
        // Whoever may read the inbox alone cannot be told more.
        Ok(None) | Err(_) => Vec::new(),
    };
    let id = shown(id);
    if known.is_empty() {
        eprintln!("hookspool: there is no delivery {id} in the inbox; `hookspool deliveries` lists them");
        return Ok(Exit::NotFound);
    }
    eprintln!(
        "hookspool: delivery {id} was removed from the inbox when its time was over; `hookspool trace {id}` shows what came of it"
    );
    Ok(Exit::Failure)
}

fn print(out: &mut impl Write, config: &Config, stored: &Stored, takeover: Option<&Takeover>) -> anyhow::Result<()> {
    let record = &stored.record;
    let mut facts = vec![
        ("delivery", record.id.to_string()),
        ("forge's id", record.provider_id.clone().unwrap_or_else(|| "-".to_owned())),
        ("source", record.source.to_string()),
        ("received", record.received_at.to_string()),
        ("answer", record.answer.word().to_owned()),
    ];
    facts.extend(record.reason.clone().map(|reason| ("reason", reason)));
    if let Some(takeover) = takeover {
        facts.push(("taken over", takeover.imported_at.map_or_else(|| "not yet".to_owned(), |at| at.to_string())));
        facts.extend(takeover.runs.iter().map(|run| ("run", format!("{}: job {} is {}", run.id, run.job, run.state))));
    }
    facts.extend(events(config, stored).iter().map(|event| ("event", summary(event))));
    let raw = match &stored.raw {
        Ok(raw) => raw,
        Err(gone) => {
            facts.push(("body", gone.to_string()));
            return Ok(print_columns(out, &rows(&facts))?);
        }
    };
    print_columns(out, &rows(&facts))?;
    writeln!(out, "\nheaders")?;
    for (name, value) in &raw.headers {
        writeln!(out, "  {}: {}", shown(name), shown(value))?;
    }
    writeln!(out, "\nbody ({} bytes; as it came with --body)", raw.body.len())?;
    let text = match serde_json::from_slice::<Value>(&raw.body) {
        Ok(value) => serde_json::to_string_pretty(&value)?,
        Err(_) => String::from_utf8_lossy(&raw.body).into_owned(),
    };
    for line in text.lines() {
        writeln!(out, "{}", shown(line))?;
    }
    Ok(())
}

fn rows(facts: &[(&str, String)]) -> Vec<Vec<String>> {
    facts.iter().map(|(name, value)| vec![(*name).to_owned(), shown(value)]).collect()
}
