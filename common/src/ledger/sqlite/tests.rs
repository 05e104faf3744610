//! The ledger's promises, each beside runs that must not move.

use std::sync::Arc;

use super::*;
use crate::config::OnNew;
use crate::event::{Event, Kind, PullRequest, Side};
use crate::ledger::{Cause, NewNotice, Outcome, ProcessResult, RunState};
use crate::record::{Answer, Record};

const SHA: &str = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";
const OTHER_SHA: &str = "2f780193b136b72bfea4eeb640786a8c4450c7a2";
const NOW: Instant = Instant::from_millis(1000);

struct Fixture {
    folder: tempfile::TempDir,
    ledger: SqliteLedger,
    inbox: InboxIdentity,
    seq: i64,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    Fixture { folder, ledger, inbox: InboxIdentity::generate(), seq: 0 }
}

fn event(kind: Kind, provider_event: &str, reference: &str, sha: Option<&str>) -> Event {
    let mut event = Event::of(kind, provider_event).with_ref(reference.parse().unwrap());
    event.repository = Some("github.com/octo/shop".parse().unwrap());
    event.sha = sha.map(|sha| sha.parse().unwrap());
    event
}

fn push(branch: &str, sha: &str) -> Event {
    event(Kind::Push, "push", &format!("refs/heads/{branch}"), Some(sha))
}

fn created(mut event: Event) -> Event {
    event.created = Some(true);
    event
}

fn request(job: &str, event: Event, on_new: OnNew) -> Request {
    let lane = format!("{job} {}", event.reference.as_ref().unwrap());
    let (repository, job) = (event.repository.clone().unwrap(), job.parse().unwrap());
    Request { repository, job, event: Arc::new(event), lane, on_new, priority: 50, refused: None }
}

impl Fixture {
    fn admission(&mut self, requests: Vec<Request>) -> Admission {
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            id: DeliveryId::generate(),
            source: "github".parse().unwrap(),
            provider_id: Some(format!("guid-{}", self.seq)),
            received_at: Instant::from_millis(1),
            answer: Answer::Accepted,
            reason: None,
            proposals: Vec::new(),
        };
        Admission { record, requests }
    }

    fn admit(&mut self, request: Request) -> Admitted {
        let admission = self.admission(vec![request]);
        self.ledger.admit(&self.inbox, &[admission], NOW).unwrap().remove(0)
    }

    fn state(&self, run: RunId) -> RunState {
        self.ledger.run(run).unwrap().unwrap().state
    }
}

#[test]
fn a_delivery_taken_over_twice_makes_one_run() {
    let mut fixture = fixture();
    let admission = fixture.admission(vec![request("a", push("master", SHA), OnNew::Queue)]);
    let inbox = fixture.inbox.clone();
    assert_eq!(fixture.ledger.admit(&inbox, std::slice::from_ref(&admission), NOW).unwrap().len(), 1);
    assert_eq!(fixture.ledger.watermark().unwrap(), Some((inbox, 1)));
    let replaced = InboxIdentity::generate();
    assert_eq!(fixture.ledger.admit(&replaced, &[admission], NOW).unwrap(), []);
    assert_eq!(fixture.ledger.runs(&RunQuery::newest(10)).unwrap().len(), 1);
    assert_eq!(fixture.ledger.watermark().unwrap(), Some((replaced, 1)));
}

#[test]
fn a_newcomer_supersedes_only_what_is_queued_in_its_lane() {
    let mut fixture = fixture();
    let running = fixture.admit(request("a", push("master", SHA), OnNew::ReplaceQueued)).run;
    fixture.ledger.claim(running, NOW).unwrap().unwrap();
    let bystander = fixture.admit(request("a", push("other", SHA), OnNew::ReplaceQueued)).run;
    let queued = fixture.admit(request("a", push("master", OTHER_SHA), OnNew::ReplaceQueued)).run;
    let newest = fixture.admit(request("a", push("master", SHA), OnNew::ReplaceQueued));
    let states = [running, bystander, queued, newest.run].map(|run| fixture.state(run));
    assert_eq!(states, [RunState::Running, RunState::Queued, RunState::Superseded, RunState::Queued]);
    assert_eq!(fixture.ledger.startable(NOW, 10).unwrap(), [bystander]);
    let cancelling = fixture.admit(request("a", push("master", OTHER_SHA), OnNew::CancelRunning));
    assert_eq!([running, newest.run].map(|run| fixture.state(run)), [RunState::Running, RunState::Superseded]);
    let waiting = fixture.ledger.queued_in(&fixture.ledger.run(running).unwrap().unwrap().lane).unwrap();
    assert_eq!(waiting.iter().map(|run| run.id).collect::<Vec<_>>(), [cancelling.run]);
}

#[test]
fn queued_runs_of_a_lane_start_one_after_the_other_in_order() {
    let mut fixture = fixture();
    let first = fixture.admit(request("a", push("master", SHA), OnNew::Queue)).run;
    let second = fixture.admit(request("a", push("master", OTHER_SHA), OnNew::Queue)).run;
    assert_eq!(fixture.ledger.startable(NOW, 10).unwrap(), [first]);
    fixture.ledger.claim(first, NOW).unwrap().unwrap();
    assert_eq!(fixture.ledger.startable(NOW, 10).unwrap(), []);
    assert!(fixture.ledger.claim(second, NOW).unwrap().is_none(), "it is not its turn");
    let sql = "UPDATE run SET state = 'running', started_at = 1 WHERE id = ?1";
    let forced = fixture.ledger.connection.execute(sql, [second.number()]);
    assert!(forced.is_err(), "the schema itself keeps two runs of a lane apart");
    fixture.ledger.finish(first, &Finish::plain(&Outcome::Succeeded), NOW).unwrap();
    assert_eq!(fixture.ledger.startable(NOW, 10).unwrap(), [second]);
}

#[test]
fn a_run_is_claimed_once_and_finished_once() {
    let mut fixture = fixture();
    let bystander = fixture.admit(request("b", push("master", SHA), OnNew::Queue)).run;
    let run = fixture.admit(request("a", push("master", SHA), OnNew::Queue)).run;
    let not_running = fixture.ledger.finish(run, &Finish::plain(&Outcome::Succeeded), NOW);
    assert!(matches!(not_running, Err(LedgerError::Unexpected { .. })));
    assert!(fixture.ledger.claim(run, NOW).unwrap().is_some());
    assert!(fixture.ledger.claim(run, NOW).unwrap().is_none());
    fixture.ledger.finish(run, &Finish::plain(&Outcome::Failed("test exited with status 1".into())), NOW).unwrap();
    assert!(fixture.ledger.finish(run, &Finish::plain(&Outcome::Succeeded), NOW).is_err());
    let failed = fixture.ledger.run(run).unwrap().unwrap();
    assert_eq!((failed.state, failed.reason.as_deref()), (RunState::Failed, Some("test exited with status 1")));
    assert_eq!(fixture.state(bystander), RunState::Queued);
}

#[test]
fn a_ledger_that_a_newer_program_took_over_meanwhile_is_not_written_to() {
    let mut fixture = fixture();
    let run = fixture.admit(request("tests", push("main", SHA), OnNew::Queue)).run;
    fixture.ledger.claim(run, NOW).unwrap();
    let repository = "github.com/octo/shop".parse().unwrap();
    fixture.ledger.not_reconciled(&repository, NOW).unwrap();
    let newer = Connection::open(fixture.folder.path().join("ledger.db")).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    let finished = fixture.ledger.finish(run, &Finish::plain(&Outcome::Succeeded), NOW);
    assert!(matches!(finished, Err(LedgerError::Newer)), "{finished:?}");
    let resolved = fixture.ledger.resolve(run, &SHA.parse().unwrap());
    assert!(matches!(resolved, Err(LedgerError::Newer)), "{resolved:?}");
    let attempted = fixture.ledger.attempted(NoticeId(1), &NoticeState::Sent(NOW), NOW);
    assert!(matches!(attempted, Err(LedgerError::Newer)), "{attempted:?}");
    let forgotten = fixture.ledger.forget_refs(&repository);
    assert!(matches!(forgotten, Err(LedgerError::Newer)), "{forgotten:?}");
    assert_eq!(fixture.ledger.reconciled().unwrap().len(), 1);
    assert_eq!(fixture.ledger.run(run).unwrap().unwrap().state, RunState::Running);
}

#[test]
fn push_and_create_of_one_tag_are_one_run_in_either_order() {
    let tag = |sha| created(event(Kind::Tag, if sha { "push" } else { "create" }, "refs/tags/v1", sha.then_some(SHA)));
    for push_first in [true, false] {
        let mut fixture = fixture();
        let first = fixture.admit(request("a", tag(push_first), OnNew::ReplaceQueued));
        let second = fixture.admit(request("a", tag(!push_first), OnNew::ReplaceQueued));
        assert_eq!((second.run, second.joined), (first.run, true));
        let run = fixture.ledger.run(first.run).unwrap().unwrap();
        assert_eq!((run.sha.unwrap().as_str(), run.event.provider_event.as_str()), (SHA, "push"));
        assert_eq!(fixture.ledger.deliveries_of(first.run).unwrap().len(), 2);
        // The tag is made anew: a second action, told of twice again.
        fixture.ledger.claim(first.run, NOW).unwrap().unwrap();
        fixture.ledger.finish(first.run, &Finish::plain(&Outcome::Succeeded), NOW).unwrap();
        let again = fixture.admit(request("a", tag(push_first), OnNew::ReplaceQueued));
        assert!(!again.joined);
        assert_eq!(fixture.admit(request("a", tag(!push_first), OnNew::ReplaceQueued)).run, again.run);
    }
}

#[test]
fn the_same_commit_of_a_ref_joins_only_while_it_is_queued() {
    let mut fixture = fixture();
    let first = fixture.admit(request("a", push("master", SHA), OnNew::ReplaceQueued));
    assert!(fixture.admit(request("a", push("master", SHA), OnNew::ReplaceQueued)).joined);
    assert!(!fixture.admit(request("b", push("master", SHA), OnNew::ReplaceQueued)).joined);
    fixture.ledger.claim(first.run, NOW).unwrap().unwrap();
    assert!(!fixture.admit(request("a", push("master", SHA), OnNew::ReplaceQueued)).joined);
}

fn requested(action: &str, labels: &[&str]) -> Event {
    let side = || Side { reference: "refs/heads/topic".parse().unwrap(), sha: None };
    let request = PullRequest {
        number: 7,
        action: action.to_owned(),
        head: side(),
        base: side(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        from_fork: None,
    };
    Event { pull_request: Some(request), ..event(Kind::PullRequest, "pull_request", "refs/pull/7/head", Some(SHA)) }
}

#[test]
fn what_else_is_done_to_a_request_at_its_commit_is_another_run() {
    let mut fixture = fixture();
    let mut admit = |action: &str, labels: &[&str]| fixture.admit(request("a", requested(action, labels), OnNew::Queue));
    assert!(!admit("opened", &[]).joined);
    assert!(admit("opened", &[]).joined, "the same telling once more");
    assert!(!admit("labeled", &["deploy"]).joined);
    assert!(!admit("labeled", &["deploy", "urgent"]).joined);
    assert!(!admit("closed", &[]).joined);
    assert!(!admit("opened", &[]).joined, "it was closed meanwhile");
}

#[test]
fn a_request_takes_the_place_of_nothing_but_its_own_and_a_comment_of_nothing() {
    let mut fixture = fixture();
    let mut admit = |event: Event| {
        let shared = Request { lane: "shared".to_owned(), ..request("a", event, OnNew::CancelRunning) };
        fixture.admit(shared).run
    };
    let of_develop = admit(push("develop", SHA));
    let opened = admit(requested("opened", &[]));
    let closed = admit(requested("closed", &[]));
    let comment = || Event { kind: Kind::Comment, ..requested("created", &[]) };
    let comments = [admit(comment()), admit(comment())];
    let queued: Vec<RunId> = fixture.ledger.queued_in("shared").unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(queued, [of_develop, closed, comments[0], comments[1]]);
    assert_eq!(fixture.state(opened), RunState::Superseded);
}

#[test]
fn two_contracts_for_one_commit_are_two_runs() {
    let mut fixture = fixture();
    let contract = || request("verify", event(Kind::Pact, "contract_published", "refs/heads/master", Some(SHA)), OnNew::Queue);
    assert!(!fixture.admit(contract()).joined && !fixture.admit(contract()).joined);
}

#[test]
fn a_refused_request_is_a_run_that_says_why() {
    let mut fixture = fixture();
    let mut refused = request("a", push("master", SHA), OnNew::ReplaceQueued);
    refused.refused = Some("job `a` is not in the configuration".into());
    let run = fixture.admit(refused).run;
    let run = fixture.ledger.run(run).unwrap().unwrap();
    assert_eq!((run.state, run.reason.as_deref()), (RunState::Refused, Some("job `a` is not in the configuration")));
    assert_eq!(fixture.ledger.startable(NOW, 10).unwrap(), []);
}

#[test]
fn outcome_steps_and_notices_are_written_together_and_read_back() {
    let mut fixture = fixture();
    let run = fixture.admit(request("a", push("master", SHA), OnNew::Queue)).run;
    fixture.ledger.claim(run, NOW).unwrap().unwrap();
    let steps = [StepRecord {
        name: "build".into(),
        started_at: NOW,
        ended_at: Some(NOW.plus_millis(5)),
        result: Some(ProcessResult::Signaled(9)),
    }];
    let mail = |recipient: &str| NewNotice {
        recipient: recipient.into(),
        sender: "ci@example.org".into(),
        message_id: format!("<{recipient}>"),
        message: b"Subject: x\r\n\r\nbody".to_vec(),
    };
    let notices = [mail("a@example.org"), mail("b@example.org")];
    let outcome = Outcome::Failed("build was killed by SIGKILL".into());
    let finish = Finish { steps: &steps, notices: &notices, ..Finish::plain(&outcome) };
    fixture.ledger.finish(run, &finish, NOW).unwrap();
    assert_eq!(fixture.ledger.steps(run).unwrap(), steps);
    let due = fixture.ledger.due_notices(NOW, 10).unwrap();
    assert_eq!(due.iter().map(|notice| notice.mail.clone()).collect::<Vec<_>>(), notices);

    let later = NoticeState::Due { at: NOW.plus_millis(10_000), attempts: 1, error: Some("connection refused".into()) };
    fixture.ledger.attempted(due[0].id, &later, NOW).unwrap();
    fixture.ledger.attempted(due[1].id, &NoticeState::Sent(NOW), NOW).unwrap();
    let again = fixture.ledger.attempted(due[1].id, &NoticeState::Sent(NOW), NOW);
    assert!(matches!(again, Err(LedgerError::NotDue(_))), "{again:?}");
    assert_eq!(fixture.ledger.due_notices(NOW, 10).unwrap().len(), 0);
    let states: Vec<_> = fixture.ledger.notices_of(run).unwrap().into_iter().map(|notice| notice.state).collect();
    assert_eq!(states, [later, NoticeState::Sent(NOW)]);
}

#[test]
fn previous_is_of_the_same_job_and_ref_and_knows_its_end() {
    let mut fixture = fixture();
    let mut ended = |job: &str, branch: &str, outcome: Outcome| {
        let run = fixture.admit(request(job, push(branch, SHA), OnNew::Queue)).run;
        fixture.ledger.claim(run, NOW).unwrap().unwrap();
        fixture.ledger.finish(run, &Finish::plain(&outcome), NOW).unwrap();
        run
    };
    let failed = ended("a", "master", Outcome::Failed("x".into()));
    ended("a", "other", Outcome::Succeeded);
    ended("b", "master", Outcome::Succeeded);
    ended("a", "master", Outcome::Cancelled("x".into()));
    let last = ended("a", "master", Outcome::Succeeded);
    let run = fixture.ledger.run(last).unwrap().unwrap();
    let previous = fixture.ledger.previous(&run.repository, &run.job, run.reference.as_ref(), last).unwrap();
    assert_eq!(previous.map(|run| run.id), Some(failed));
}

#[test]
fn a_delivery_is_found_by_either_id() {
    let mut fixture = fixture();
    let admission = fixture.admission(vec![request("a", push("master", SHA), OnNew::Queue)]);
    let id = admission.record.id;
    let inbox = fixture.inbox.clone();
    fixture.ledger.admit(&inbox, &[admission], NOW).unwrap();
    for name in [id.to_string(), "guid-1".to_owned()] {
        assert_eq!(fixture.ledger.deliveries(&name).unwrap()[0].id, id);
    }
    assert_eq!(fixture.ledger.runs_of(id).unwrap().len(), 1);
    assert!(fixture.ledger.deliveries("guid-2").unwrap().is_empty());
}

#[test]
fn a_replay_makes_runs_of_its_own_whatever_became_of_the_first() {
    let mut fixture = fixture();
    let of_a_tag = || created(event(Kind::Tag, "push", "refs/tags/v1", Some(SHA)));
    let batch = vec![
        fixture.admission(vec![request("a", push("master", SHA), OnNew::Queue)]),
        fixture.admission(vec![request("a", of_a_tag(), OnNew::Queue)]),
        fixture.admission(vec![request("a", created(event(Kind::Tag, "create", "refs/tags/v1", None)), OnNew::Queue)]),
    ];
    let inbox = fixture.inbox.clone();
    let first = fixture.ledger.admit(&inbox, &batch, NOW).unwrap();
    assert_eq!(first.iter().map(|one| one.joined).collect::<Vec<_>>(), [false, false, true]);
    // Its first run still waits, or is over: the second is another. Two tellings of one action are one run again.
    let before: Vec<RunState> = fixture.ledger.runs(&RunQuery::newest(9)).unwrap().iter().map(|run| run.state).collect();
    for by in ["ada", "ben"] {
        let replayed = fixture.ledger.replay(&inbox, &batch, by, NOW).unwrap().concat();
        assert_eq!(replayed.iter().map(|one| one.joined).collect::<Vec<_>>(), [false, false, true]);
        let run = fixture.ledger.run(replayed[0].run).unwrap().unwrap();
        assert_eq!((run.cause.by(), run.delivery, run.state), (Some(by), Some(batch[0].record.id), RunState::Queued));
    }
    assert_eq!(fixture.ledger.runs_of(batch[0].record.id).unwrap().len(), 3);
    let runs = fixture.ledger.runs(&RunQuery::newest(9)).unwrap();
    assert_eq!(runs.len(), 6);
    assert_eq!(runs[4..].iter().map(|run| run.state).collect::<Vec<_>>(), before);
    assert!(runs[4..].iter().all(|run| run.cause == Cause::Delivery));
}

#[test]
fn a_replay_in_a_lane_takes_the_place_of_what_waits_there() {
    let mut fixture = fixture();
    let admission = fixture.admission(vec![request("a", push("master", SHA), OnNew::ReplaceQueued)]);
    let inbox = fixture.inbox.clone();
    let first = fixture.ledger.admit(&inbox, std::slice::from_ref(&admission), NOW).unwrap()[0].run;
    let bystander = fixture.admit(request("b", push("master", SHA), OnNew::ReplaceQueued)).run;
    let second = fixture.ledger.replay(&inbox, &[admission], "ada", NOW).unwrap().concat()[0].run;
    let states = [first, bystander, second].map(|run| fixture.state(run));
    assert_eq!(states, [RunState::Superseded, RunState::Queued, RunState::Queued]);
}

#[test]
fn what_was_not_taken_over_is_not_replayed_unless_a_lost_ledger_had() {
    let mut fixture = fixture();
    fixture.admit(request("a", push("master", SHA), OnNew::Queue));
    let known = fixture.admission(vec![request("a", push("master", OTHER_SHA), OnNew::Queue)]);
    let mut early = fixture.admission(vec![request("b", push("master", SHA), OnNew::Queue)]);
    let inbox = fixture.inbox.clone();
    fixture.ledger.admit(&inbox, std::slice::from_ref(&known), NOW).unwrap();
    // After the watermark, or of another inbox: nothing of the whole batch.
    let batch = [known.clone(), early.clone()];
    let refused = fixture.ledger.replay(&inbox, &batch, "ada", NOW);
    assert!(matches!(refused, Err(LedgerError::NotTakenOver(id)) if id == early.record.id), "{refused:?}");
    early.record.seq = 1;
    assert!(fixture.ledger.replay(&InboxIdentity::generate(), &[early.clone()], "ada", NOW).is_err());
    assert_eq!(fixture.ledger.runs(&RunQuery::newest(9)).unwrap().len(), 2);
    // Before it: no import comes to it any more.
    let id = early.record.id;
    assert_eq!(fixture.ledger.replay(&inbox, &[early], "ada", NOW).unwrap().concat().len(), 1);
    assert_eq!(fixture.ledger.deliveries(&id.to_string()).unwrap()[0].imported_at, NOW);
}

#[test]
fn a_ledger_of_the_first_version_is_brought_up_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let old = sqlite::open(&path, PAGE_BYTES, sqlite::BUSY_TIMEOUT, &MIGRATIONS[..1]).unwrap();
    let event = serde_json::to_string(&push("master", SHA)).unwrap();
    old.execute_batch(&format!(
        "INSERT INTO delivery VALUES (zeroblob(16), 'github', 'guid', 1, 2, 'accepted', NULL);
         INSERT INTO run (delivery, source, repository, job, event, kind, action, lane, state, queued_at)
         VALUES (zeroblob(16), 'github', 'github.com/octo/shop', 'a', '{event}', 'push', 'changed', 'lane', 'queued', 2);"
    ))
    .unwrap();
    drop(old);
    let refused = SqliteLedger::open_to_read(&path).map(drop);
    assert!(matches!(&refused, Err(LedgerError::Older(file)) if *file == path), "{refused:?}");
    let run = SqliteLedger::open(&path).unwrap().run(RunId::new(1)).unwrap().unwrap();
    assert_eq!((run.state, run.cause), (RunState::Queued, Cause::Delivery));
}

mod plans;
mod property;
mod scheduling;
