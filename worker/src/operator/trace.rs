//! `hookspool trace DELIVERY`: from a delivery's arrival to the mail's Message-ID, every step with its time.

use std::io::{self, Write};

use hookspool_common::clock::Instant;
use hookspool_common::config::Config;
use hookspool_common::ledger::{KnownDelivery, NoticeState};
use hookspool_common::record::Answer;
use serde_json::{Value, json};

use super::show::Shown;
use super::view::{delivery_json, duration_text, print_columns, print_json, shown};
use super::{Exit, options, stored};
use crate::folders::Folders;

pub(super) fn trace(config: &Config, options: &options::Trace) -> anyhow::Result<Exit> {
    let folders = Folders::new(&config.paths);
    let mut traced: Vec<(KnownDelivery, Vec<Shown>)> = Vec::new();
    if let Some(ledger) = stored::ledger(config)? {
        for delivery in ledger.deliveries(&options.delivery)? {
            let runs = ledger.runs_of(delivery.id)?.into_iter().map(|run| Shown::of(config, &*ledger, &folders, run));
            let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
            traced.push((delivery, runs));
        }
    }
    if traced.is_empty() {
        let id = shown(&options.delivery);
        eprintln!("hookspool: there is no delivery {id} in the ledger; one that has just come is taken over by the next pass");
        return Ok(Exit::NotFound);
    }
    let mut out = io::stdout().lock();
    if options.json {
        let json = |(delivery, runs): &(KnownDelivery, Vec<Shown>)| {
            let mut json = delivery_json(delivery);
            json["runs"] = runs.iter().map(Shown::json).collect();
            json["timeline"] =
                timeline(delivery, runs).into_iter().map(|(at, what)| json!({ "at": at.to_string(), "what": what })).collect();
            json
        };
        return print_json(&mut out, &Value::Array(traced.iter().map(json).collect())).map(|()| Exit::Success);
    }
    for (delivery, runs) in &traced {
        let id = delivery.provider_id.as_deref().map(|id| format!(" ({})", shown(id))).unwrap_or_default();
        writeln!(out, "delivery {}{id}", delivery.id)?;
        let row = |(at, what): (Instant, String)| {
            vec![at.to_string(), format!("+{}", duration_text(at.since(delivery.received_at))), what]
        };
        print_columns(&mut out, &timeline(delivery, runs).into_iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(Exit::Success)
}

/// Everything that happened, in the order of time.
fn timeline(delivery: &KnownDelivery, runs: &[Shown]) -> Vec<(Instant, String)> {
    let answer = match (delivery.answer, &delivery.reason) {
        (Answer::Accepted, _) => "received, on disk, answered 202".to_owned(),
        (_, reason) => format!("received, on disk, answered 200: {}", shown(reason.as_deref().unwrap_or("nothing to run"))),
    };
    let mut line = vec![(delivery.received_at, answer), (delivery.imported_at, "taken over by a pass".to_owned())];
    for Shown { run, steps, notices, .. } in runs {
        let cause = run.cause.in_words().map(|cause| format!(", {}", shown(&cause))).unwrap_or_default();
        line.push((run.queued_at, format!("run {}: job `{}` queued{cause}", run.id, run.job)));
        line.extend(run.started_at.map(|at| (at, format!("run {}: claimed by its runner", run.id))));
        for step in steps {
            line.push((step.started_at, format!("run {}: {} begins", run.id, step.name)));
            let result = step.result.as_ref().map(|result| shown(&result.to_string())).unwrap_or_default();
            line.extend(step.ended_at.map(|at| (at, format!("run {}: {} {result}", run.id, step.name))));
        }
        let reason = run.reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
        line.extend(run.ended_at.map(|at| (at, format!("run {}: {}{reason}", run.id, run.state))));
        for notice in notices {
            let (at, what) = match &notice.state {
                NoticeState::Sent(at) => (*at, "sent".to_owned()),
                NoticeState::Due { at, error: None, .. } => (*at, "due".to_owned()),
                NoticeState::Due { at, error: Some(error), .. } => (*at, format!("will be tried again ({})", shown(error))),
                NoticeState::GivenUp(error) => (notice.created_at, format!("given up ({})", shown(error))),
            };
            line.push((
                at,
                format!("run {}: mail {} to {} {what}", run.id, notice.mail.message_id, shown(&notice.mail.recipient)),
            ));
        }
    }
    line.sort_by_key(|(at, _)| *at);
    line
}
