//! Whether anybody is told of a run. Pure: the past is an argument.

use std::time::Duration;

use hookspool_common::config::NotifyOn;
use hookspool_common::ledger::Outcome;

use super::story::Before;

/// How long after the last mail a job that stays broken is mailed again, where only changes are told.
pub const REMIND_AFTER: Duration = Duration::from_hours(24);

/// Whether anybody is to be told of this outcome.
///
/// A cancelled run tells nobody: whoever cancelled it knows. Interrupted and refused runs count as failures.
#[must_use]
pub fn tells(on: NotifyOn, outcome: &Outcome, before: Before, since_last_told: Option<Duration>) -> bool {
    let succeeded = match outcome {
        Outcome::Cancelled(_) => return false,
        Outcome::Succeeded => true,
        Outcome::Failed(_) | Outcome::TimedOut(_) | Outcome::Interrupted(_) | Outcome::Refused(_) => false,
    };
    match on {
        NotifyOn::Always => true,
        NotifyOn::Failure => !succeeded,
        NotifyOn::Change if succeeded => before == Before::Broken,
        // Still broken, and nobody was ever told: then this is the first that anybody hears of it.
        NotifyOn::Change => before != Before::Broken || since_last_told.is_none_or(|since| since >= REMIND_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> [Outcome; 6] {
        let why = || "test exited with status 1".to_owned();
        [
            Outcome::Succeeded,
            Outcome::Failed(why()),
            Outcome::TimedOut(why()),
            Outcome::Interrupted(why()),
            Outcome::Refused(why()),
            Outcome::Cancelled(why()),
        ]
    }

    fn told(on: NotifyOn, before: Before, since: Option<Duration>) -> [bool; 6] {
        outcomes().map(|outcome| tells(on, &outcome, before, since))
    }

    #[test]
    fn always_tells_of_everything_but_what_was_cancelled() {
        for before in [Before::None, Before::Succeeded, Before::Broken] {
            assert_eq!(told(NotifyOn::Always, before, Some(Duration::ZERO)), [true, true, true, true, true, false]);
        }
    }

    #[test]
    fn failure_tells_of_everything_that_neither_succeeded_nor_was_cancelled() {
        for before in [Before::None, Before::Succeeded, Before::Broken] {
            assert_eq!(told(NotifyOn::Failure, before, Some(Duration::ZERO)), [false, true, true, true, true, false]);
        }
    }

    #[test]
    fn change_tells_when_a_job_breaks_and_when_it_is_fixed() {
        for before in [Before::None, Before::Succeeded] {
            assert_eq!(told(NotifyOn::Change, before, Some(Duration::ZERO)), [false, true, true, true, true, false]);
        }
        assert_eq!(told(NotifyOn::Change, Before::Broken, Some(Duration::ZERO)), [true, false, false, false, false, false]);
    }

    #[test]
    fn change_reminds_of_a_broken_job_after_a_day() {
        let almost = REMIND_AFTER - Duration::from_millis(1);
        let failed = Outcome::Failed(String::new());
        assert!(!tells(NotifyOn::Change, &failed, Before::Broken, Some(almost)));
        assert!(tells(NotifyOn::Change, &failed, Before::Broken, Some(REMIND_AFTER)));
        assert!(tells(NotifyOn::Change, &failed, Before::Broken, None));
    }
}
