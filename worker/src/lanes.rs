//! What a newcomer does to another run of its lane, as its job's `on_new` has it.

use hookspool_common::config::{Config, Job, OnNew, Repository};
use hookspool_common::ledger::{Cause, Ledger, LedgerError, Run};

/// The job of a run, with its repository, as root's configuration has them now.
#[must_use]
pub fn job_of<'c>(config: &'c Config, run: &Run) -> Option<(&'c Repository, &'c Job)> {
    let repository = config.repository(&run.source, &run.repository)?;
    repository.job(&run.job).map(|job| (repository, job))
}

/// What `newcomer` does to `other`, which came before it. What is made anew displaces nobody: it is no news.
fn does_to(config: &Config, newcomer: &Run, other: &Run) -> OnNew {
    let is_news = newcomer.id > other.id && !matches!(newcomer.cause, Cause::Rerun { .. } | Cause::Retry { .. });
    let reaches = newcomer.event.reach().covers(newcomer.reference.as_ref(), other.reference.as_ref());
    job_of(config, newcomer).filter(|_| is_news && reaches).map_or(OnNew::Queue, |(_, job)| job.lane.on_new)
}

/// Whether a newer run that waits in its lane takes the place of a run that would be made anew.
///
/// # Errors
/// [`LedgerError`]
pub fn is_displaced(config: &Config, ledger: &dyn Ledger, run: &Run) -> Result<bool, LedgerError> {
    has_newcomer(config, ledger, run, |on_new| on_new != OnNew::Queue)
}

/// Whether a newer run that waits in its lane ends a run that goes on.
///
/// # Errors
/// [`LedgerError`]
pub fn is_cancelled(config: &Config, ledger: &dyn Ledger, run: &Run) -> Result<bool, LedgerError> {
    has_newcomer(config, ledger, run, |on_new| on_new == OnNew::CancelRunning)
}

/// Whether a newer run waits in the lane of `run` that does to it what is meant, which is not to wait for its turn. A hundred
/// thousand may do that, so only those are looked at whose jobs may do what is meant.
fn has_newcomer(config: &Config, ledger: &dyn Ledger, run: &Run, is_meant: impl Fn(OnNew) -> bool) -> Result<bool, LedgerError> {
    let own = job_of(config, run).map(|(_, job)| job);
    let shares =
        |job: &Job| own.is_none_or(|own| job.name == own.name || (job.lane.group.is_some() && job.lane.group == own.lane.group));
    let of_repository = config.repositories.iter().filter(|repository| repository.name == run.repository);
    for job in of_repository.flat_map(|repository| &repository.jobs).filter(|job| shares(job) && is_meant(job.lane.on_new)) {
        let newcomers = ledger.newcomers(run, &job.name)?;
        if newcomers.iter().any(|newcomer| is_meant(does_to(config, newcomer, run))) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookspool_common::clock::Instant;
    use hookspool_common::event::{Event, Kind};
    use hookspool_common::ledger::{Request, SqliteLedger};
    use hookspool_common::names::RunId;

    use super::*;

    const JOBS: &str = "repository='github.com/octo/shop'\nsource='github'\n\
        [[job]]\nname='waits'\nbuild='true'\nwhen={event='push'}\nlane={group='one', on_new='queue'}\n\
        [[job]]\nname='replaces'\nbuild='true'\nwhen={event='push'}\nlane={group='one', on_new='replace-queued'}\n\
        [[job]]\nname='cancels'\nbuild='true'\nwhen={event='push'}\nlane={group='one', on_new='cancel-running'}\n\
        [[job]]\nname='alone'\nbuild='true'\nwhen={event='push'}\nlane={on_new='queue'}\n";

    struct Machine {
        folder: tempfile::TempDir,
        ledger: SqliteLedger,
        config: Config,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
            let main = "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n";
            std::fs::write(folder.path().join("hookspool.toml"), main).unwrap();
            std::fs::create_dir(folder.path().join("repositories")).unwrap();
            std::fs::write(folder.path().join("repositories/shop.toml"), JOBS).unwrap();
            let config = Config::load(&folder.path().join("hookspool.toml")).unwrap();
            Self { folder, ledger, config }
        }

        fn queued(&mut self, job: &str, lane: &str) -> Run {
            let mut event = Event::of(Kind::Push, "push").with_ref("refs/heads/main".parse().unwrap());
            event.repository = Some("github.com/octo/shop".parse().unwrap());
            let request = Request {
                repository: event.repository.clone().unwrap(),
                job: job.parse().unwrap(),
                event: Arc::new(event),
                lane: lane.to_owned(),
                // What waits already is left alone, whatever the configuration says by now.
                on_new: OnNew::Queue,
                priority: 50,
                refused: None,
            };
            let source = "github".parse().unwrap();
            let run = self.ledger.start(&source, &request, "ada", false, Instant::from_millis(1)).unwrap().run;
            self.run(run)
        }

        fn run(&self, run: RunId) -> Run {
            self.ledger.run(run).unwrap().unwrap()
        }

        /// Whether it is cancelled, and whether it is displaced.
        fn fate(&self, run: &Run) -> (bool, bool) {
            let fate = [is_cancelled, is_displaced].map(|is| is(&self.config, &self.ledger, run).unwrap());
            (fate[0], fate[1])
        }
    }

    #[test]
    fn a_run_gives_way_to_what_came_after_it_into_its_lane_as_the_newcomers_job_says() {
        let mut machine = Machine::new();
        machine.queued("cancels", "one");
        let run = machine.queued("waits", "one");
        machine.queued("cancels", "another");
        machine.queued("waits", "one");
        assert_eq!(machine.fate(&run), (false, false));
        machine.queued("replaces", "one");
        assert_eq!(machine.fate(&run), (false, true));
        machine.queued("cancels", "one");
        assert_eq!(machine.fate(&run), (true, true));
        // A job that is gone from the configuration may have been of any lane.
        assert_eq!(machine.fate(&Run { job: "gone".parse().unwrap(), ..run }), (true, true));
    }

    #[test]
    fn what_only_waits_its_turn_is_not_even_read() {
        let mut machine = Machine::new();
        let (shared, alone) = (machine.queued("waits", "one"), machine.queued("alone", "alone"));
        machine.queued("waits", "one");
        machine.queued("alone", "alone");
        // What is read now is an error.
        let ledger = rusqlite::Connection::open(machine.folder.path().join("ledger.db")).unwrap();
        ledger.execute("UPDATE run SET event = '?'", []).unwrap();
        assert!(machine.ledger.queued_in("one").is_err() && machine.ledger.queued_in("alone").is_err());
        assert_eq!((machine.fate(&shared), machine.fate(&alone)), ((false, false), (false, false)));
    }
}
