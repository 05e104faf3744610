//! What follows a run that did not come to a good end: another attempt, a lane that is held, or nothing.

use hookspool_common::clock::Instant;
use hookspool_common::config::{Config, OnCrash, Retry, RetryOn};
use hookspool_common::ledger::{Cause, Ledger, LedgerError, Outcome, Run, RunState, Sequel, StepRecord};

use crate::lanes::{is_displaced, job_of};

/// So many runners in a row may die over one thing. Whatever it is, it would kill the next one too.
pub const MAX_CRASHES: usize = 3;

/// What follows when `run` ends with this outcome and these steps.
///
/// # Errors
/// [`LedgerError`]
pub fn after(
    config: &Config,
    ledger: &dyn Ledger,
    run: &Run,
    outcome: &Outcome,
    steps: &[StepRecord],
    now: Instant,
) -> Result<Sequel, LedgerError> {
    match outcome {
        Outcome::Interrupted(why) => after_a_crash(config, ledger, run, why),
        Outcome::Failed(_) | Outcome::TimedOut(_) => {
            let retry = job_of(config, run).and_then(|(_, job)| job.retry.as_ref());
            match retry.filter(|retry| run.attempt < retry.attempts && names(retry, outcome, steps)) {
                Some(retry) => {
                    let delay = i64::try_from(retry.delay.as_millis()).unwrap_or(i64::MAX);
                    again(config, ledger, run, Some(now.plus_millis(delay)))
                }
                None => Ok(Sequel::None),
            }
        }
        // A person or a newer run ended it, or it must not run.
        Outcome::Cancelled(_) | Outcome::Refused(_) | Outcome::Succeeded => Ok(Sequel::None),
    }
}

/// Whether this is a failure after which the job is to be tried again.
fn names(retry: &Retry, outcome: &Outcome, steps: &[StepRecord]) -> bool {
    if matches!(outcome, Outcome::TimedOut(_)) && retry.on.contains(&RetryOn::TimedOut) {
        return true;
    }
    let failed = |step: &&StepRecord| step.result.as_ref().is_none_or(|result| !result.is_success());
    let failed = steps.iter().find(failed).map(|step| step.name.as_str());
    failed.is_some_and(|failed| retry.on.iter().any(|on| on.as_str() == failed))
}

fn again(config: &Config, ledger: &dyn Ledger, run: &Run, not_before: Option<Instant>) -> Result<Sequel, LedgerError> {
    // In this order: whoever comes after the first look is noticed when the outcome is written down.
    let newest = ledger.newest_in(&run.lane)?;
    let is_displaced = is_displaced(config, ledger, run)?;
    Ok(if is_displaced { Sequel::None } else { Sequel::Retry { not_before, newest } })
}

/// How far a run came whose runner died is not known. A job that nobody knows any more is not tried again blindly.
fn after_a_crash(config: &Config, ledger: &dyn Ledger, run: &Run, why: &str) -> Result<Sequel, LedgerError> {
    let held = |more: &str| Ok(Sequel::Hold(format!("run {}: {why}{more}", run.id)));
    match job_of(config, run).map(|(_, job)| job.on_crash) {
        None => held(", and its job is not in the configuration any more"),
        Some(OnCrash::Hold) => held(""),
        Some(OnCrash::Fail) => Ok(Sequel::None),
        Some(OnCrash::Retry) if crashes(ledger, run)? >= MAX_CRASHES => {
            held(&format!(", as did the {} before it", MAX_CRASHES - 1))
        }
        Some(OnCrash::Retry) => again(config, ledger, run, None),
    }
}

/// How many runners in a row died over the same, this one too; counted up to the bound.
fn crashes(ledger: &dyn Ledger, run: &Run) -> Result<usize, LedgerError> {
    let mut count = 1;
    let mut cause = run.cause.clone();
    while let Cause::Retry { of } = cause
        && count < MAX_CRASHES
        && let Some(before) = ledger.run(of)?.filter(|before| before.state == RunState::Interrupted)
    {
        count += 1;
        cause = before.cause;
    }
    Ok(count)
}
