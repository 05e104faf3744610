//! `hookspool show N`: one run, with its steps, deliveries and mails.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::{Config, DEFAULT_PATH};
use hookspool_common::ledger::{KnownDelivery, Ledger, Notice, Run, StepRecord};
use hookspool_common::names::RunId;
use serde_json::{Value, json};

use super::stored::{no_run, no_such_run};
use super::view::{
    delivery_json, duration_text, hold_text, notice_json, notice_text, print_columns, print_json, run_json, shown, step_json,
    took, waiting_text,
};
use super::{Exit, options, stored};
use crate::folders::Folders;
use crate::mail::shell_word;
use crate::{forward, journal, kept, packed_log, secrets};

/// Everything about one run.
pub(super) struct Shown {
    pub(super) run: Run,
    pub(super) steps: Vec<StepRecord>,
    pub(super) deliveries: Vec<KnownDelivery>,
    pub(super) notices: Vec<Notice>,
    /// What it waits for.
    waiting: Option<String>,
    /// The runs that were made from it.
    made: Vec<RunId>,
    /// How its lane is held because of it.
    held: Option<String>,
    log: Option<PathBuf>,
    kept: Option<PathBuf>,
}

impl Shown {
    pub(super) fn of(config: &Config, ledger: &dyn Ledger, folders: &Folders, run: Run) -> anyhow::Result<Self> {
        // The ledger learns of the steps with the outcome; until then the journal has them.
        let steps = if run.state.is_final() { ledger.steps(run.id)? } else { journal::read(&folders.run(run.id)).steps };
        let (deliveries, notices) = (ledger.deliveries_of(run.id)?, ledger.notices_of(run.id)?);
        let waiting = ledger.waiting(&run, SystemClock.now())?.map(|waiting| waiting_text(&waiting));
        let made = ledger.made_from(run.id)?.into_iter().map(|run| run.id).collect();
        Ok(Self {
            steps,
            deliveries,
            notices,
            waiting,
            made,
            held: ledger.hold_of(&run.lane)?.filter(|hold| hold.run == Some(run.id)).map(|hold| hold_text(&hold)),
            // Whoever may not look there is told where it would be.
            log: Some(packed_log::path(folders, run.id)).filter(|log| log.try_exists().unwrap_or(true)),
            kept: kept::path(folders, run.id),
            // A commit's message may hold a secret. Whoever may not read the secrets sees what the forge told: nothing here
            // knows then what to hide.
            run: secrets::shown_in_mail(config, &run),
        })
    }

    pub(super) fn json(&self) -> Value {
        let mut json = run_json(&self.run);
        json["steps"] = self.steps.iter().map(step_json).collect();
        json["deliveries"] = self.deliveries.iter().map(delivery_json).collect();
        json["mails"] = self.notices.iter().map(notice_json).collect();
        json["waiting"] = json!(self.waiting);
        json["held"] = json!(self.held);
        json["made_anew_as"] = json!(self.made);
        json["log"] = json!(self.log);
        json["workspace"] = json!(self.kept);
        json["event"] = json!(self.run.event);
        json
    }
}

pub(super) fn show(config: &Config, options: &options::Show) -> anyhow::Result<Exit> {
    let folders = Folders::new(&config.paths);
    let ledger = stored::ledger(config)?;
    let run = match &ledger {
        Some(ledger) => ledger.run(options.run)?,
        None => None,
    };
    let Some(ledger) = ledger else { return Ok(no_such_run(options.run)) };
    let Some(run) = run else { return no_run(&*ledger, options.run) };
    let shown = Shown::of(config, &*ledger, &folders, run)?;
    let mut out = io::stdout().lock();
    if options.json {
        print_json(&mut out, &shown.json())?;
    } else {
        print(&mut out, &shown, config)?;
    }
    Ok(Exit::Success)
}

fn print(out: &mut impl Write, shown: &Shown, config: &Config) -> anyhow::Result<()> {
    let run = &shown.run;
    let event = &run.event;
    let mut facts = vec![
        vec!["run".to_owned(), run.id.to_string()],
        vec!["state".to_owned(), run.state.to_string()],
        vec!["repository".to_owned(), run.repository.to_string()],
        vec!["job".to_owned(), run.job.to_string()],
        vec!["event".to_owned(), event.kind.as_str().to_owned()],
    ];
    let mut fact =
        |name: &str, value: Option<String>| facts.extend(value.map(|value| vec![name.to_owned(), self::shown(&value)]));
    fact("reason", run.reason.clone());
    fact("ref", run.reference.as_ref().map(ToString::to_string));
    fact("commit", run.sha.as_ref().map(ToString::to_string));
    fact("pusher", event.pusher.login.clone().or_else(|| event.pusher.name.clone()));
    fact("cause", run.cause.in_words());
    fact("attempt", (run.attempt > 1).then(|| run.attempt.to_string()));
    fact("waiting", shown.waiting.clone());
    fact("held", shown.held.clone());
    let made: Vec<String> = shown.made.iter().map(|run| format!("run {run}")).collect();
    fact("made anew", (!made.is_empty()).then(|| made.join(", ")));
    fact("lane", Some(run.lane.clone()));
    fact("queued", Some(run.queued_at.to_string()));
    fact("started", run.started_at.map(|at| at.to_string()));
    fact("ended", run.ended_at.map(|at| at.to_string()));
    fact("log", shown.log.as_ref().map(|path| path.display().to_string()));
    fact("workspace", shown.kept.as_ref().map(|path| path.display().to_string()));
    print_columns(out, &facts)?;
    if !shown.steps.is_empty() {
        writeln!(out, "\nsteps")?;
        let row = |step: &StepRecord| {
            let result = step.result.as_ref().map_or_else(|| "…".to_owned(), |result| self::shown(&result.to_string()));
            vec![format!("  {}", step.name), took(Some(step.started_at), step.ended_at), result]
        };
        print_columns(out, &shown.steps.iter().map(row).collect::<Vec<_>>())?;
    }
    if !shown.deliveries.is_empty() {
        writeln!(out, "\ndeliveries")?;
    }
    for delivery in &shown.deliveries {
        let id = delivery.provider_id.as_deref().map(|id| format!(" ({})", self::shown(id))).unwrap_or_default();
        writeln!(out, "  {}{id} received {}", delivery.id, delivery.received_at)?;
    }
    if !shown.notices.is_empty() {
        writeln!(out, "\nmails")?;
    }
    for notice in &shown.notices {
        writeln!(out, "  {}", notice_text(notice))?;
    }
    if forward::has_refused(run.state, &shown.steps) {
        let file = Some(&config.file).filter(|file| *file != Path::new(DEFAULT_PATH));
        let file = file.map(|file| format!(" --config {}", shell_word(file))).unwrap_or_default();
        writeln!(out, "\nto deploy it all the same: hookspool rerun {} --allow-older{file}", run.id)?;
    }
    if let Some(ended_at) = run.ended_at {
        writeln!(out, "\nfrom queued to ended: {}", duration_text(ended_at.since(run.queued_at)))?;
    }
    Ok(())
}
