//! `hookspool runs`: the newest runs.

use std::io::{self, Write};

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::Config;
use hookspool_common::ledger::{Run, RunQuery};
use serde_json::{Value, json};

use super::view::{print_columns, print_json, run_json, second, shown, took, waiting_text};
use super::{Exit, options, stored};

pub(super) fn runs(config: &Config, options: &options::Runs) -> anyhow::Result<Exit> {
    let (state, repository, job) = (options.state, options.repository.clone(), options.job.clone());
    let query = RunQuery { state, repository, job, limit: options.limit };
    let mut runs = Vec::new();
    if let Some(ledger) = stored::ledger(config)? {
        for run in ledger.runs(&query)? {
            let waiting = ledger.waiting(&run, SystemClock.now())?.map(|waiting| waiting_text(&waiting));
            runs.push((run, waiting));
        }
    }
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &Value::Array(runs.iter().map(json).collect()))?;
    } else if runs.is_empty() {
        writeln!(out, "no runs")?;
    } else {
        let heading = ["RUN", "STATE", "REPOSITORY", "JOB", "REF", "COMMIT", "QUEUED", "TOOK", ""].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(heading).chain(runs.iter().map(row)).collect();
        print_columns(&mut out, &rows)?;
    }
    Ok(Exit::Success)
}

fn json((run, waiting): &(Run, Option<String>)) -> Value {
    let mut json = run_json(run);
    json["waiting"] = json!(waiting);
    json
}

fn row((run, waiting): &(Run, Option<String>)) -> Vec<String> {
    vec![
        run.id.to_string(),
        run.state.to_string(),
        run.repository.path().to_owned(),
        run.job.to_string(),
        run.reference.as_ref().map_or_else(|| "-".to_owned(), |reference| shown(reference.short())),
        run.sha.as_ref().map_or("-", |sha| sha.short()).to_owned(),
        second(run.queued_at),
        took(run.started_at, run.ended_at),
        run.reason.as_deref().map(shown).or_else(|| waiting.clone()).unwrap_or_default(),
    ]
}
