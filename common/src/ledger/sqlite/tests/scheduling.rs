//! What follows a run, who holds a lane, and what people ask for; each beside runs that must not move.

use super::*;
use crate::ledger::Sequel;

/// What must not change: state and turn of every run but these.
fn bystanders(fixture: &Fixture, but: &[RunId]) -> Vec<(RunId, RunState)> {
    let runs = fixture.ledger.runs(&RunQuery::newest(100)).unwrap();
    runs.into_iter().filter(|run| !but.contains(&run.id)).map(|run| (run.id, run.state)).collect()
}

fn failed() -> Outcome {
    Outcome::Failed("checkout exited with status 128".to_owned())
}

impl Fixture {
    fn queued(&mut self, job: &str, sha: &str) -> RunId {
        self.admit(request(job, push("master", sha), OnNew::Queue)).run
    }

    fn claimed(&mut self, job: &str) -> RunId {
        let run = self.queued(job, SHA);
        self.ledger.claim(run, NOW).unwrap().unwrap();
        run
    }

    fn finish_with(&mut self, run: RunId, sequel: Sequel) -> Result<Option<RunId>, LedgerError> {
        let outcome = failed();
        self.ledger.finish(run, &Finish { sequel, ..Finish::plain(&outcome) }, NOW)
    }

    fn lane_of(&self, run: RunId) -> String {
        self.ledger.run(run).unwrap().unwrap().lane
    }

    fn startable(&self, now: Instant) -> Vec<RunId> {
        self.ledger.startable(now, 10).unwrap()
    }
}

#[test]
fn another_attempt_has_the_place_of_the_first_and_its_lane_waits_for_it() {
    let mut fixture = fixture();
    let run = fixture.claimed("a");
    let after = fixture.queued("a", OTHER_SHA);
    let other_lane = fixture.queued("b", SHA);
    let before = bystanders(&fixture, &[run]);
    let later = NOW.plus_millis(60_000);
    let newest = fixture.ledger.newest_in(&fixture.lane_of(run)).unwrap();
    assert_eq!(newest, Some(after));
    let next = fixture.finish_with(run, Sequel::Retry { not_before: Some(later), newest }).unwrap().unwrap();
    let tried = fixture.ledger.run(next).unwrap().unwrap();
    assert_eq!((tried.attempt, tried.cause, tried.state), (2, Cause::Retry { of: run }, RunState::Queued));
    assert_eq!((tried.sha, tried.not_before), (Some(SHA.parse().unwrap()), Some(later)));
    assert_eq!(fixture.ledger.deliveries_of(next).unwrap().len(), 1);
    assert_eq!(bystanders(&fixture, &[run, next]), before);
    assert_eq!(fixture.startable(NOW), [other_lane], "what came after it waits for it");
    assert!(fixture.ledger.claim(next, NOW).unwrap().is_none(), "its time has not come");
    let waits = |fixture: &Fixture, run: RunId| {
        let run = fixture.ledger.run(run).unwrap().unwrap();
        fixture.ledger.waiting(&run, NOW).unwrap().unwrap()
    };
    assert_eq!(waits(&fixture, next), Waiting::Until(later));
    assert_eq!(waits(&fixture, after), Waiting::Behind(next));
    assert_eq!(waits(&fixture, other_lane), Waiting::Slot);
    assert_eq!(fixture.startable(later), [other_lane, next]);
    fixture.ledger.claim(next, later).unwrap().unwrap();
    assert_eq!(waits(&fixture, after), Waiting::Behind(next));
    // The third has the place of the first, too.
    let third = fixture.finish_with(next, Sequel::Retry { not_before: None, newest }).unwrap().unwrap();
    assert_eq!(fixture.startable(later), [other_lane, third]);
    let first_of = |run| fixture.ledger.made_from(run).unwrap().iter().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!((first_of(run), first_of(next), first_of(third)), (vec![next], vec![third], vec![]));
}

#[test]
fn a_clock_that_was_ahead_puts_off_neither_another_attempt_nor_a_mail() {
    let mut fixture = fixture();
    let (run, in_time) = (fixture.claimed("a"), fixture.claimed("b"));
    let (ahead, minute) = (NOW.plus_millis(365 * 24 * 3_600_000), 60_000);
    let mail = NewNotice {
        recipient: "mona@example.org".to_owned(),
        sender: "ci@example.org".to_owned(),
        message_id: "<1@example.org>".to_owned(),
        message: b"words".to_vec(),
    };
    let outcome = failed();
    let [next, put_off] = [(run, ahead), (in_time, NOW)].map(|(run, now)| {
        let sequel = Sequel::Retry { not_before: Some(now.plus_millis(minute)), newest: None };
        let finish = Finish { sequel, notices: std::slice::from_ref(&mail), ..Finish::plain(&outcome) };
        fixture.ledger.finish(run, &finish, now).unwrap().unwrap()
    });
    assert_eq!(fixture.startable(NOW), [next]);
    let waits = |run| fixture.ledger.waiting(&fixture.ledger.run(run).unwrap().unwrap(), NOW).unwrap();
    assert_eq!(waits(next), Some(Waiting::Slot));
    assert_eq!(waits(put_off), Some(Waiting::Until(NOW.plus_millis(minute))));
    assert!(fixture.ledger.claim(put_off, NOW).unwrap().is_none(), "its time has not come");
    assert!(fixture.ledger.claim(next, NOW).unwrap().is_some());

    let due = |fixture: &Fixture, now| fixture.ledger.due_notices(now, 9).unwrap().iter().map(|one| one.run).collect::<Vec<_>>();
    assert_eq!(due(&fixture, NOW), [in_time, run]);
    // Put off by a clock that is right, it waits.
    for notice in fixture.ledger.due_notices(NOW, 9).unwrap() {
        let later = NoticeState::Due { at: NOW.plus_millis(minute), attempts: 1, error: Some("x".to_owned()) };
        fixture.ledger.attempted(notice.id, &later, NOW).unwrap();
    }
    assert_eq!(due(&fixture, NOW), []);
    assert_eq!(due(&fixture, NOW.plus_millis(minute)).len(), 2);
}

#[test]
fn who_came_meanwhile_is_looked_at_before_another_attempt_is_made() {
    let mut fixture = fixture();
    let run = fixture.claimed("a");
    let newest = fixture.ledger.newest_in(&fixture.lane_of(run)).unwrap();
    assert_eq!(newest, None);
    let came = fixture.queued("a", OTHER_SHA);
    let refused = fixture.finish_with(run, Sequel::Retry { not_before: None, newest });
    assert!(matches!(refused, Err(LedgerError::Unexpected { .. })), "{refused:?}");
    assert_eq!([run, came].map(|run| fixture.state(run)), [RunState::Running, RunState::Queued], "nothing was written");
    assert_eq!(fixture.finish_with(run, Sequel::None).unwrap(), None);
    assert_eq!(fixture.startable(NOW), [came]);
}

#[test]
fn a_failure_that_is_tried_again_is_not_what_was_before() {
    let mut fixture = fixture();
    let good = fixture.claimed("a");
    fixture.ledger.finish(good, &Finish::plain(&Outcome::Succeeded), NOW).unwrap();
    let first = fixture.claimed("a");
    let second = fixture.finish_with(first, Sequel::Retry { not_before: None, newest: None }).unwrap().unwrap();
    let previous = |fixture: &Fixture, of: RunId| {
        let run = fixture.ledger.run(of).unwrap().unwrap();
        fixture.ledger.previous(&run.repository, &run.job, run.reference.as_ref(), of).unwrap().unwrap().id
    };
    assert_eq!(previous(&fixture, second), good);
    fixture.ledger.claim(second, NOW).unwrap().unwrap();
    fixture.finish_with(second, Sequel::None).unwrap();
    let next = fixture.queued("a", SHA);
    assert_eq!(previous(&fixture, next), second);
}

#[test]
fn a_held_lane_starts_nothing_until_it_is_released() {
    let mut fixture = fixture();
    let run = fixture.claimed("a");
    let after = fixture.queued("a", OTHER_SHA);
    let bystander = fixture.queued("b", SHA);
    let lane = fixture.lane_of(run);
    fixture.finish_with(run, Sequel::Hold("the runner died".to_owned())).unwrap();
    assert_eq!(fixture.startable(NOW), [bystander]);
    assert!(fixture.ledger.claim(after, NOW).unwrap().is_none());
    let held = Hold { lane: lane.clone(), run: Some(run), by: None, reason: "the runner died".to_owned(), held_at: NOW };
    assert_eq!(fixture.ledger.holds().unwrap(), std::slice::from_ref(&held));
    let waiting = fixture.ledger.run(after).unwrap().unwrap();
    assert_eq!(fixture.ledger.waiting(&waiting, NOW).unwrap(), Some(Waiting::Held(held.clone())));
    // A second hold changes nothing of the first; one release ends it.
    assert!(!fixture.ledger.hold(&lane, None, "ada", "to look", NOW).unwrap());
    assert_eq!(fixture.ledger.holds().unwrap(), [held]);
    assert!(fixture.ledger.release(&lane).unwrap() && !fixture.ledger.release(&lane).unwrap());
    assert_eq!(fixture.startable(NOW), [after, bystander]);
    // A hold takes a turn away, and gives it to nobody else.
    assert!(fixture.ledger.hold(&lane, Some(after), "ada", "to look", NOW).unwrap());
    assert_eq!(fixture.startable(NOW), [bystander]);
    let newcomer = fixture.queued("a", SHA);
    assert_eq!(fixture.startable(NOW), [bystander]);
    assert!(fixture.ledger.release(&lane).unwrap());
    assert_eq!(fixture.startable(NOW), [after, bystander]);
    assert_eq!([after, newcomer, bystander].map(|run| fixture.state(run)), [RunState::Queued; 3]);
}

#[test]
fn what_waits_is_cancelled_once_and_gives_its_turn_away() {
    let mut fixture = fixture();
    let (first, second, bystander) = (fixture.queued("a", SHA), fixture.queued("a", OTHER_SHA), fixture.queued("b", SHA));
    let running = fixture.claimed("c");
    assert!(fixture.ledger.cancel(first, "cancelled by ada", NOW).unwrap());
    assert!(!fixture.ledger.cancel(first, "cancelled by ben", NOW).unwrap());
    assert!(!fixture.ledger.cancel(running, "cancelled by ada", NOW).unwrap(), "its runner is asked instead");
    let cancelled = fixture.ledger.run(first).unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.reason.as_deref()), (RunState::Cancelled, Some("cancelled by ada")));
    let states = [second, bystander, running].map(|run| fixture.state(run));
    assert_eq!(states, [RunState::Queued, RunState::Queued, RunState::Running]);
    assert_eq!(fixture.startable(NOW), [second, bystander]);
}

#[test]
fn what_runs_again_displaces_nobody_has_its_old_place_and_lets_its_lane_go_on() {
    let mut fixture = fixture();
    let run = fixture.claimed("a");
    let newer = fixture.admit(request("a", push("master", OTHER_SHA), OnNew::ReplaceQueued)).run;
    let bystander = fixture.queued("b", SHA);
    let again = request("a", push("master", SHA), OnNew::ReplaceQueued);
    let not_over = fixture.ledger.rerun(run, &again, "ada", false, NOW);
    assert!(matches!(not_over, Err(LedgerError::Unexpected { .. })), "{not_over:?}");
    fixture.finish_with(run, Sequel::Hold("the runner died".to_owned())).unwrap();
    let made = fixture.ledger.rerun(run, &again, "ada", true, NOW).unwrap();
    let rerun = fixture.ledger.run(made.run).unwrap().unwrap();
    assert_eq!((rerun.cause, rerun.allow_older, made.joined), (Cause::Rerun { of: run, by: "ada".to_owned() }, true, false));
    assert_eq!((rerun.sha, rerun.attempt), (Some(SHA.parse().unwrap()), 1));
    assert_eq!([newer, bystander].map(|run| fixture.state(run)), [RunState::Queued; 2]);
    assert_eq!(fixture.ledger.holds().unwrap(), []);
    assert_eq!(fixture.startable(NOW), [bystander, made.run], "it goes before what came after the first");
    assert_eq!(fixture.ledger.deliveries_of(made.run).unwrap().len(), 1);
    // Another time it is another run, whatever waits.
    assert!(!fixture.ledger.rerun(run, &again, "ada", false, NOW).unwrap().joined);
}

#[test]
fn of_a_lanes_queue_only_what_came_after_a_run_is_news_to_it() {
    let mut fixture = fixture();
    let before = fixture.claimed("a");
    fixture.finish_with(before, Sequel::None).unwrap();
    let run = fixture.claimed("a");
    let lane = fixture.lane_of(run);
    assert_eq!(fixture.ledger.queue_of(&lane).unwrap(), None);
    let of_the_job = fixture.queued("a", OTHER_SHA);
    fixture.queued("b", SHA);
    let again = fixture.ledger.rerun(before, &request("a", push("master", SHA), OnNew::Queue), "ada", false, NOW).unwrap().run;
    let of_the_lane = Request { lane: lane.clone(), ..request("b", push("master", OTHER_SHA), OnNew::Queue) };
    let of_the_lane = fixture.admit(of_the_lane).run;
    let of_another_ref = fixture.admit(request("a", push("develop", SHA), OnNew::Queue)).run;
    let run = fixture.ledger.run(run).unwrap().unwrap();
    let news = |run: &Run, job: &str| {
        let newcomers = fixture.ledger.newcomers(run, &job.parse().unwrap()).unwrap();
        newcomers.iter().map(|newcomer| newcomer.id).collect::<Vec<_>>()
    };
    assert_eq!((news(&run, "a"), news(&run, "b"), news(&run, "c")), (vec![of_the_job], vec![of_the_lane], vec![]));
    assert_eq!(news(&Run { id: of_the_job, ..run }, "a"), []);
    assert_eq!(fixture.ledger.queue_of(&lane).unwrap(), Some((again, 3)), "it has the place of the first");
    let other_lane = fixture.lane_of(of_another_ref);
    assert_eq!(fixture.ledger.queue_of(&other_lane).unwrap(), Some((of_another_ref, 1)));
}

#[test]
fn a_hold_of_a_person_outlives_a_run_made_anew() {
    let mut fixture = fixture();
    let run = fixture.claimed("a");
    let lane = fixture.lane_of(run);
    fixture.finish_with(run, Sequel::None).unwrap();
    fixture.ledger.hold(&lane, Some(run), "ada", "to look", NOW).unwrap();
    fixture.ledger.rerun(run, &request("a", push("master", SHA), OnNew::Queue), "ben", false, NOW).unwrap();
    assert_eq!(fixture.ledger.holds().unwrap().len(), 1);
    assert_eq!(fixture.startable(NOW), []);
}

#[test]
fn a_run_by_hand_joins_none_and_needs_no_delivery() {
    let mut fixture = fixture();
    let by_hand = || request("a", event(Kind::Manual, "manual", "refs/heads/master", None), OnNew::Queue);
    let source = "github".parse().unwrap();
    let first = fixture.ledger.start(&source, &by_hand(), "ada", false, NOW).unwrap();
    let second = fixture.ledger.start(&source, &by_hand(), "ben", true, NOW).unwrap();
    assert!(!first.joined && !second.joined);
    let run = fixture.ledger.run(second.run).unwrap().unwrap();
    assert_eq!((run.cause, run.delivery, run.allow_older), (Cause::Manual { by: "ben".to_owned() }, None, true));
}

#[test]
fn larger_priority_goes_first_and_then_whoever_came_first() {
    let mut fixture = fixture();
    let runs = [("a", 50), ("b", 90), ("c", 10), ("d", 90)].map(|(job, priority)| {
        let request = Request { priority, ..request(job, push("master", SHA), OnNew::Queue) };
        fixture.admit(request).run
    });
    assert_eq!(fixture.startable(NOW), [runs[1], runs[3], runs[0], runs[2]]);
}

#[test]
fn the_last_deployed_commit_is_of_the_job_and_of_the_ref_or_of_all_tags() {
    let mut fixture = fixture();
    let step = |name: &str, status: i32| StepRecord {
        name: name.to_owned(),
        started_at: NOW,
        ended_at: Some(NOW),
        result: Some(ProcessResult::Exited(status)),
    };
    let mut ended = |event: Event, job: &str, outcome: Outcome, steps: &[StepRecord]| {
        let run = fixture.admit(request(job, event, OnNew::Queue)).run;
        fixture.ledger.claim(run, NOW).unwrap().unwrap();
        let steps = [&[step("checkout", 0)], steps].concat();
        fixture.ledger.finish(run, &Finish { steps: &steps, ..Finish::plain(&outcome) }, NOW).unwrap();
        run
    };
    let tag = |tag: &str, sha| event(Kind::Tag, "push", &format!("refs/tags/{tag}"), Some(sha));
    // What fails after `deploy` has deployed all the same.
    let on_master = ended(push("master", SHA), "a", failed(), &[step("deploy", 0), step("always", 1)]);
    ended(push("master", OTHER_SHA), "a", failed(), &[step("deploy", 1)]);
    ended(push("master", OTHER_SHA), "a", Outcome::Succeeded, &[step("build", 0)]);
    ended(push("master", OTHER_SHA), "b", Outcome::Succeeded, &[step("deploy", 0)]);
    ended(tag("v1", SHA), "a", Outcome::Succeeded, &[step("deploy", 0)]);
    let of_tags = ended(tag("v2", OTHER_SHA), "a", Outcome::Succeeded, &[step("deploy", 0)]);
    let on_develop = ended(push("develop", SHA), "a", Outcome::Succeeded, &[step("deploy", 0)]);
    let last = |fixture: &Fixture, reference: &str| {
        let (repository, job) = ("github.com/octo/shop".parse().unwrap(), "a".parse().unwrap());
        let last = fixture.ledger.last_deployed(&repository, &job, Some(&reference.parse().unwrap())).unwrap();
        last.map(|last| (last.run, last.sha.to_string()))
    };
    let gone = event(Kind::BranchDeleted, "delete", "refs/heads/develop", None);
    assert_eq!(last(&fixture, "refs/heads/develop"), Some((on_develop, SHA.to_owned())));
    // Another job, which cleans up; the first time the branch was on the forge again.
    for (status, left) in [(1, Some((on_develop, SHA.to_owned()))), (0, None)] {
        let run = fixture.admit(request("clean", gone.clone(), OnNew::Queue)).run;
        fixture.ledger.claim(run, NOW).unwrap().unwrap();
        let finish = Finish { steps: &[step("checkout", status)], ..Finish::plain(&Outcome::Succeeded) };
        fixture.ledger.finish(run, &finish, NOW).unwrap();
        assert_eq!(last(&fixture, "refs/heads/develop"), left);
    }
    assert_eq!(last(&fixture, "refs/heads/master"), Some((on_master, SHA.to_owned())));
    for any_tag in ["refs/tags/v1", "refs/tags/v3"] {
        assert_eq!(last(&fixture, any_tag), Some((of_tags, OTHER_SHA.to_owned())));
    }
}

#[test]
fn runs_are_found_by_state_repository_and_job_together() {
    let mut fixture = fixture();
    let queued = fixture.queued("a", SHA);
    let running = fixture.claimed("b");
    let failed = fixture.claimed("c");
    fixture.finish_with(failed, Sequel::None).unwrap();
    let also_a = fixture.admit(request("a", push("develop", SHA), OnNew::Queue)).run;
    let found = |query: RunQuery| {
        fixture.ledger.runs(&RunQuery { limit: 9, ..query }).unwrap().iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let state = |state| RunQuery { state: Some(state), ..RunQuery::default() };
    let job = |name: &str| Some(name.parse().unwrap());
    let repository = |name: &str| Some(name.parse().unwrap());
    assert_eq!(found(state(RunState::Queued)), [also_a, queued]);
    assert_eq!(found(state(RunState::Running)), [running]);
    assert_eq!(found(state(RunState::Failed)), [failed]);
    assert_eq!(found(state(RunState::Succeeded)), []);
    assert_eq!(found(RunQuery { job: job("a"), ..RunQuery::default() }), [also_a, queued]);
    assert_eq!(found(RunQuery { job: job("a"), ..state(RunState::Running) }), []);
    let ours = RunQuery { repository: repository("github.com/octo/shop"), ..RunQuery::default() };
    assert_eq!(found(ours.clone()), [also_a, failed, running, queued]);
    assert_eq!(found(RunQuery { state: Some(RunState::Failed), ..ours.clone() }), [failed]);
    assert_eq!(found(RunQuery { state: Some(RunState::Queued), job: job("a"), ..ours.clone() }), [also_a, queued]);
    assert_eq!(found(RunQuery { job: job("b"), ..ours }), [running]);
    assert_eq!(found(RunQuery { repository: repository("github.com/octo/other"), ..RunQuery::default() }), []);
}
