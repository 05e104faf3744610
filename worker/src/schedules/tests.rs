//! What passes make of schedules at chosen instants, on a real ledger.

use super::*;
use hookspool_common::ledger::{Cause, Run, RunQuery, RunState, SqliteLedger};

/// A pass's ledger and configuration, and a clock that the test moves.
struct Machine {
    folder: tempfile::TempDir,
    ledger: SqliteLedger,
    config: Config,
}

const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 2026-03-28T00:00:00Z; Berlin's clock goes forward in the night after it.
const MIDNIGHT: i64 = 1_774_656_000_000;

fn at(millis: i64) -> Instant {
    Instant::from_millis(MIDNIGHT + millis)
}

impl Machine {
    fn with(jobs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        let main = "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n";
        std::fs::write(folder.path().join("hookspool.toml"), main).unwrap();
        std::fs::create_dir(folder.path().join("repositories")).unwrap();
        let config = configure(&folder, jobs);
        Self { folder, ledger, config }
    }

    /// One job at 03:00 UTC.
    fn nightly(more: &str) -> Self {
        Self::with(&nightly(more))
    }

    fn reconfigure(&mut self, jobs: &str) {
        self.config = configure(&self.folder, jobs);
    }

    /// A pass; how many runs it made.
    fn pass(&mut self, millis: i64) -> usize {
        let before = self.runs().len();
        let made = queue_due(&self.config, &mut self.ledger, at(millis)).unwrap();
        let count = self.runs().len() - before;
        assert_eq!(made, count > 0);
        count
    }

    /// Passes each minute of this span; how many runs they made.
    fn passes(&mut self, from: i64, to: i64) -> usize {
        (from / MINUTE..=to / MINUTE).map(|minute| self.pass(minute * MINUTE)).sum()
    }

    fn runs(&self) -> Vec<Run> {
        self.ledger.runs(&RunQuery::newest(1000)).unwrap()
    }
}

fn nightly(more: &str) -> String {
    format!("[[job]]\nname='nightly'\nbuild='true'\nschedule='0 3 * * *'\nlane={{on_new='queue'}}\n{more}\n")
}

fn configure(folder: &tempfile::TempDir, jobs: &str) -> Config {
    let repository = format!("repository='github.com/octo/shop'\nsource='github'\n{jobs}");
    std::fs::write(folder.path().join("repositories/shop.toml"), repository).unwrap();
    Config::load(&folder.path().join("hookspool.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn a_job_whose_time_has_come_is_one_run_at_no_ref_that_says_why() {
    let mut machine = Machine::nightly("timezone='UTC'");
    assert_eq!(machine.passes(0, 3 * HOUR - MINUTE), 0);
    assert_eq!(machine.pass(3 * HOUR + 7), 1);
    assert_eq!(machine.passes(3 * HOUR + MINUTE, 26 * HOUR), 0);
    let run = machine.runs().remove(0);
    assert_eq!((run.cause, run.state, run.delivery), (Cause::Schedule, RunState::Queued, None));
    assert_eq!((run.event.kind, run.reference, run.sha), (Kind::Schedule, None, None));
    assert_eq!(run.lane, "github.com/octo/shop job nightly - schedule");
    assert_eq!(machine.passes(27 * HOUR, 48 * HOUR), 1);
}

#[test]
fn a_schedule_that_is_new_begins_now_and_never_with_the_past() {
    let mut machine = Machine::nightly("timezone='UTC'\ncatch_up=true");
    assert_eq!(machine.pass(3 * HOUR + MINUTE), 0);
    assert_eq!(machine.passes(3 * HOUR + 2 * MINUTE, 24 * HOUR), 0);
    assert_eq!(machine.pass(27 * HOUR), 1);
}

#[test]
fn a_pass_that_is_a_little_late_is_on_time() {
    for (late, runs) in [(9 * MINUTE, 1), (GRACE_MILLIS - 1, 1), (GRACE_MILLIS, 0), (HOUR, 0)] {
        let mut machine = Machine::nightly("timezone='UTC'");
        machine.pass(0);
        assert_eq!(machine.pass(3 * HOUR + late), runs, "{late} ms late");
    }
}

#[test]
fn what_was_missed_is_one_run_where_the_job_catches_up_and_none_where_it_does_not() {
    let mut machine = Machine::nightly("timezone='UTC'\ncatch_up=true");
    machine.pass(0);
    // Off for three days and nights.
    assert_eq!(machine.passes(3 * DAY + 12 * HOUR, 3 * DAY + 13 * HOUR), 1);
    assert_eq!(machine.pass(4 * DAY + 3 * HOUR), 1);
    let mut machine = Machine::nightly("timezone='UTC'");
    machine.pass(0);
    assert_eq!(machine.passes(3 * DAY + 12 * HOUR, 3 * DAY + 13 * HOUR), 0);
    assert_eq!(machine.pass(4 * DAY + 3 * HOUR), 1);
}

#[test]
fn a_clock_that_is_set_back_runs_nothing_twice_and_one_set_forward_by_a_year_runs_once() {
    let mut machine =
        Machine::with("[[job]]\nname='often'\nbuild='true'\nschedule='*/5 * * * *'\ncatch_up=true\nlane={on_new='queue'}\n");
    machine.pass(1);
    assert_eq!(machine.passes(MINUTE, HOUR), 12);
    // Half an hour back: what the clock shows again has been.
    assert_eq!(machine.passes(HOUR / 2, HOUR), 0);
    assert_eq!(machine.passes(HOUR + MINUTE, HOUR + 5 * MINUTE), 1);
    assert_eq!(machine.passes(365 * DAY, 365 * DAY), 1);
    // The year was a mistake. The schedule is not silent until it is over, and does not make up for it.
    assert_eq!(machine.pass(2 * HOUR), 0);
    assert_eq!(machine.passes(2 * HOUR + MINUTE, 3 * HOUR), 12);
}

#[test]
fn another_expression_or_zone_begins_anew_and_a_job_without_schedule_is_forgotten() {
    let mut machine = Machine::nightly("timezone='UTC'\ncatch_up=true");
    machine.pass(0);
    let schedule = |machine: &Machine| machine.ledger.schedules().unwrap().first().map(|state| state.schedule.clone());
    assert_eq!(schedule(&machine).as_deref(), Some("0 3 * * * UTC"));
    machine.reconfigure(&nightly("timezone='Asia/Tokyo'\ncatch_up=true"));
    // 03:00 in Tokyo was at 18:00 UTC, before the configuration said so.
    assert_eq!(machine.pass(19 * HOUR), 0);
    assert_eq!(schedule(&machine).as_deref(), Some("0 3 * * * Asia/Tokyo"));
    assert_eq!(machine.pass(42 * HOUR), 1);
    machine.reconfigure("[[job]]\nname='nightly'\nbuild='true'\nwhen={event='push'}\n");
    assert_eq!((machine.pass(90 * HOUR), schedule(&machine)), (0, None));
    machine.reconfigure(&nightly("timezone='UTC'\ncatch_up=true"));
    assert_eq!(machine.pass(100 * HOUR), 0);
}

#[test]
fn a_night_in_which_the_clock_goes_forward_has_its_run_and_one_in_which_it_goes_back_has_one() {
    let half_past_two = nightly("timezone='Europe/Berlin'").replace("0 3", "30 2");
    let mut machine = Machine::with(&half_past_two);
    machine.pass(12 * HOUR);
    // 01:00 UTC is 03:00, right after 02:00.
    assert_eq!((machine.pass(25 * HOUR - 1), machine.pass(25 * HOUR)), (0, 1));
    assert_eq!(machine.passes(25 * HOUR + MINUTE, 36 * HOUR), 0);
    let mut machine = Machine::with(&half_past_two);
    // 211 days later, on 25 October, it goes back at 01:00 UTC.
    let midnight = 211 * DAY;
    machine.pass(midnight - HOUR);
    assert_eq!(machine.passes(midnight, midnight + 12 * HOUR), 1);
    assert_eq!(machine.runs()[0].queued_at, at(midnight + HOUR / 2));
}

#[test]
fn a_look_that_another_one_came_before_makes_nothing() {
    let mut machine = Machine::nightly("timezone='UTC'");
    machine.pass(0);
    let known = machine.ledger.schedules().unwrap();
    let (repository, job, scheduled) = scheduled_jobs(&machine.config).next().unwrap();
    let look = look(repository, job, scheduled, &Zone::utc(), known.first(), at(3 * HOUR)).unwrap();
    assert!(look.due.is_some());
    assert_eq!(machine.ledger.look_at_schedules(std::slice::from_ref(&look), &[], at(3 * HOUR)).unwrap().len(), 1);
    assert_eq!(machine.ledger.look_at_schedules(&[look], &[], at(3 * HOUR)).unwrap().len(), 0);
}

#[test]
fn a_scheduled_run_takes_the_place_of_one_that_still_waits_and_of_nothing_else() {
    let mut machine = Machine::nightly("timezone='UTC'");
    machine.reconfigure(&nightly("timezone='UTC'").replace("on_new='queue'", "group='all'"));
    machine.pass(0);
    assert_eq!((machine.pass(3 * HOUR), machine.pass(27 * HOUR)), (1, 1));
    let states: Vec<_> = machine.runs().iter().map(|run| (run.state, run.lane.clone())).collect();
    let lane = "github.com/octo/shop group all".to_owned();
    assert_eq!(states, [(RunState::Queued, lane.clone()), (RunState::Superseded, lane)]);
}
