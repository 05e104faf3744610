//! The end of a run: its outcome, its steps and the notices of it become one transaction of the ledger, and its folders
//! go. A runner does this for itself; a pass does it for a runner that died. What follows, another attempt or a lane that is
//! held, is part of the transaction.

use std::time::Duration;

use hookspool_common::clock::Instant;
use hookspool_common::config::{Config, DEFAULT_PATH, Notify};
use hookspool_common::ledger::{Cause, Finish, Ledger, LedgerError, NewNotice, Outcome, Run, RunState, Sequel, StepRecord};
use std::path::{Path, PathBuf};

use crate::admission;
use crate::alive::Alive;
use crate::folders::{Folders, remove_tree};
use crate::forward;
use crate::kept;
use crate::lanes::job_of;
use crate::mail::{self, Before, Held, Story};
use crate::output::RunLog;
use crate::secrets;
use crate::sequel;

/// How much of the failing step's output a mail is made from.
pub const OUTPUT_END_BYTES: u64 = 16 * 1024;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// The steps, in order.
    pub steps: Vec<StepRecord>,
    /// The end of the failing step's output.
    pub output_end: String,
}

/// Writes the ending down, with the notices that it asks for. The lock shows that nobody else may.
///
/// # Errors
/// [`LedgerError`] when nothing was written; the run is then still running, and a later pass ends it.
pub fn conclude(
    config: &Config,
    ledger: &mut dyn Ledger,
    folders: &Folders,
    lock: &Alive,
    ending: &Ending,
    now: Instant,
) -> Result<(), LedgerError> {
    let running = ledger.run(lock.run())?.filter(|run| run.state == RunState::Running);
    let kept = running.and_then(|run| keep(config, folders, &run, ending));
    loop {
        let run = ledger.run(lock.run())?.filter(|run| run.state == RunState::Running);
        let run = run.ok_or(LedgerError::Unexpected { run: lock.run(), expected: "running" })?;
        let sequel = sequel::after(config, ledger, &run, &ending.outcome, &ending.steps, now)?;
        let notices = notices(config, ledger, &run, ending, &sequel, kept.as_deref(), now)?;
        let finish = Finish { outcome: &ending.outcome, steps: &ending.steps, notices: &notices, sequel: sequel.clone() };
        let next = match ledger.finish(run.id, &finish, now) {
            // Somebody has come into its lane since the sequel was decided.
            Err(LedgerError::Unexpected { .. }) if matches!(sequel, Sequel::Retry { .. }) => continue,
            finished => finished?,
        };
        let follows = match (&sequel, next) {
            (_, Some(next)) => format!("run {next} tries again"),
            (Sequel::Hold(_), _) => "its lane is held".to_owned(),
            _ => "-".to_owned(),
        };
        tracing::info!(run = %run.id, repository = %run.repository, job = %run.job, state = %ending.outcome.state(),
            reason = ending.outcome.reason().unwrap_or("-"), mails = notices.len(), follows, "run ended");
        return Ok(());
    }
}

/// Removes what a run needed only while it ran. Its log stays.
pub fn clean_up(folders: &Folders, lock: &Alive) {
    for folder in [folders.secrets(lock.run()), folders.work(lock.run()), folders.run(lock.run())] {
        if let Err(error) = remove_tree(&folder) {
            tracing::warn!(run = %lock.run(), folder = %folder.display(), %error, "cannot remove a run's folder");
        }
    }
}

/// Takes the workspace aside where the job wants to keep it, and says so in the log.
fn keep(config: &Config, folders: &Folders, run: &Run, ending: &Ending) -> Option<PathBuf> {
    let (_, job) = job_of(config, run)?;
    if !kept::is_wanted(job, &ending.outcome) {
        return None;
    }
    let kept = kept::keep(folders, run.id).unwrap_or_else(|error| {
        tracing::error!(run = %run.id, %error, "cannot keep the run's workspace");
        None
    })?;
    if let Ok(mut log) = RunLog::reopen(&folders.log(run.id)) {
        log.note(&format!("the workspace is kept in {}", kept.display()));
    }
    Some(kept)
}

/// Nobody is told of a run that is tried again: its story is told once, with the last attempt.
fn notices(
    config: &Config,
    ledger: &dyn Ledger,
    run: &Run,
    ending: &Ending,
    sequel: &Sequel,
    kept: Option<&Path>,
    now: Instant,
) -> Result<Vec<NewNotice>, LedgerError> {
    let Some(mail) = config.mail.as_ref().filter(|_| !matches!(sequel, Sequel::Retry { .. })) else { return Ok(Vec::new()) };
    // Nobody told of it, and the job does not want it: that is no news.
    if run.cause == Cause::Reconcile && matches!(ending.outcome, Outcome::Refused(_)) {
        return Ok(Vec::new());
    }
    let before = match ledger.previous(&run.repository, &run.job, run.reference.as_ref(), run.id)?.map(|run| run.state) {
        None => Before::None,
        Some(RunState::Succeeded) => Before::Succeeded,
        Some(_) => Before::Broken,
    };
    // Of a job that was not broken nobody needs to know this.
    let last_told = match before {
        Before::Broken => ledger.last_told(&run.repository, &run.job, run.reference.as_ref())?,
        Before::None | Before::Succeeded => None,
    };
    let since_last_told = last_told.map(|told| Duration::from_millis(now.since(told)));
    // A job that is gone from the configuration has told the pusher by default.
    let job = job_of(config, run).map(|(_, job)| job);
    let has_run = |phase: &str| ending.steps.iter().any(|step| step.name == phase);
    let phases = job.iter().flat_map(|job| &job.steps).map(|step| step.phase.as_str());
    let not_run: Vec<&str> = phases.filter(|phase| !has_run(phase)).collect();
    let notify = job.map_or_else(Notify::default, |job| job.notify.clone());
    let person = ledger.hold_of(&run.lane)?;
    let person = person.as_ref().and_then(|hold| Some((hold.by.as_deref()?, hold.reason.as_str())));
    let held = match sequel {
        Sequel::Hold(reason) => Some(Held { reason, person, can_rerun: admission::again(config, run).is_ok() }),
        Sequel::None | Sequel::Retry { .. } => None,
    };
    let run = &secrets::shown_in_mail(config, run);
    let story = Story {
        run,
        outcome: &ending.outcome,
        steps: &ending.steps,
        not_run: &not_run,
        ended_at: now,
        output_end: &ending.output_end,
        before,
        kept,
        held,
        is_older: forward::has_refused(ending.outcome.state(), &ending.steps),
        config_path: Some(config.file.as_path()).filter(|file| *file != Path::new(DEFAULT_PATH)),
    };
    Ok(mail::notices(mail, &notify, &story, since_last_told))
}
