//! What goes and what stays, beside bystanders that must not move.

use std::sync::Arc;

use super::*;
use crate::config::OnNew;
use crate::event::{Event, Kind};
use crate::git_name::RefName;
use crate::ledger::{
    Admission, Finish, Ledger, NewNotice, Outcome, ProcessResult, RefAnswer, RefChange, Request, RunQuery, StepRecord,
};
use crate::names::DeliveryId;
use crate::record::{Answer, InboxIdentity, Record};
use crate::repository_name::RepositoryName;

const SHA: &str = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";

struct Fixture {
    folder: tempfile::TempDir,
    ledger: SqliteLedger,
    inbox: InboxIdentity,
    seq: i64,
    /// When runs are pruned.
    now: Instant,
}

fn at(millis: i64) -> Instant {
    Instant::from_millis(millis)
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    Fixture { folder, ledger, inbox: InboxIdentity::generate(), seq: 0, now: at(1000) }
}

impl Fixture {
    /// A run that a delivery at `now` asked for.
    fn queued(&mut self, job: &str, reference: &str, now: i64) -> RunId {
        self.seq += 1;
        let mut event = Event::of(Kind::Push, "push").with_ref(reference.parse().unwrap());
        event.repository = Some("github.com/octo/shop".parse().unwrap());
        event.sha = Some(SHA.parse().unwrap());
        let record = Record {
            seq: self.seq,
            id: DeliveryId::generate(),
            source: "github".parse().unwrap(),
            provider_id: None,
            received_at: at(now),
            answer: Answer::Accepted,
            reason: None,
            proposals: Vec::new(),
        };
        let (repository, job) = (event.repository.clone().unwrap(), job.parse().unwrap());
        let (event, lane) = (Arc::new(event), format!("{reference} {}", self.seq));
        let request = Request { repository, job, event, lane, on_new: OnNew::Queue, priority: 50, refused: None };
        let requests = if job_is_wanted(&request) { vec![request] } else { Vec::new() };
        let admitted = self.ledger.admit(&self.inbox, &[Admission { record, requests }], at(now)).unwrap();
        admitted.first().map_or(RunId::new(0), |admitted| admitted.run)
    }

    /// A run that ended at `now`, with these steps and mails.
    fn ended(&mut self, job: &str, reference: &str, now: i64, outcome: &Outcome, steps: &[&str], mails: &[&str]) -> RunId {
        let run = self.queued(job, reference, now);
        self.ledger.claim(run, at(now)).unwrap().unwrap();
        let result = Some(ProcessResult::Exited(0));
        let step = |name: &&str| StepRecord {
            name: (*name).to_owned(),
            started_at: at(now),
            ended_at: Some(at(now)),
            result: result.clone(),
        };
        let mail = |to: &&str| NewNotice {
            recipient: (*to).to_owned(),
            sender: "ci@example.org".to_owned(),
            message_id: format!("<{to}-{now}@example.org>"),
            message: b"words".to_vec(),
        };
        let (steps, mails) = (steps.iter().map(step).collect::<Vec<_>>(), mails.iter().map(mail).collect::<Vec<_>>());
        let finish = Finish { steps: &steps, notices: &mails, ..Finish::plain(outcome) };
        self.ledger.finish(run, &finish, at(now)).unwrap();
        run
    }

    fn succeeded(&mut self, job: &str, reference: &str, now: i64) -> RunId {
        self.ended(job, reference, now, &Outcome::Succeeded, &["build"], &[])
    }

    /// Prunes everything whose time is over; which runs are left.
    fn prune(&mut self, keeping: &Keeping) -> Vec<i64> {
        if let Some(until) = self.ledger.overdue_until(keeping).unwrap() {
            let mut after = None;
            loop {
                let overdue = self.ledger.overdue(after, until, 2).unwrap();
                let Some(last) = overdue.last() else { break };
                after = Some(last.place);
                self.ledger.prune(&overdue.iter().map(|one| one.run).collect::<Vec<_>>(), self.now).unwrap();
            }
        }
        self.left()
    }

    fn left(&self) -> Vec<i64> {
        let mut left: Vec<i64> = self.ledger.runs(&RunQuery::newest(1000)).unwrap().iter().map(|run| run.id.number()).collect();
        left.sort_unstable();
        left
    }

    fn count(&self, table: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.folder.path().join("ledger.db")).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

fn job_is_wanted(request: &Request) -> bool {
    request.job.as_str() != "nobody"
}

const EVERYTHING: Keeping = Keeping { since: Instant::from_millis(0), count: u64::MAX, log_bytes: u64::MAX };

fn since(millis: i64) -> Keeping {
    Keeping { since: at(millis), ..EVERYTHING }
}

#[test]
fn what_is_too_old_goes_with_all_that_belongs_to_it_and_nothing_else_does() {
    let mut fixture = fixture();
    let old =
        fixture.ended("a", "refs/heads/x", 10, &Outcome::Failed("why".to_owned()), &["build", "test"], &["mona@example.org"]);
    let notice = fixture.ledger.due_notices(at(10), 10).unwrap().remove(0).id;
    fixture.ledger.attempted(notice, &crate::ledger::NoticeState::Sent(at(11)), at(11)).unwrap();
    let next = fixture.succeeded("a", "refs/heads/x", 20);
    let queued = fixture.queued("a", "refs/heads/y", 5);
    let running = fixture.queued("a", "refs/heads/z", 5);
    fixture.ledger.claim(running, at(5)).unwrap().unwrap();
    assert_eq!(fixture.prune(&since(15)), [next, queued, running].map(RunId::number));
    assert!(fixture.ledger.was_pruned(old).unwrap());
    assert_eq!([next, RunId::new(0), RunId::new(99)].map(|run| fixture.ledger.was_pruned(run).unwrap()), [false; 3]);
    assert_eq!([fixture.count("notice"), fixture.count("step"), fixture.count("run_delivery")], [0, 1, 3]);
}

#[test]
fn of_too_many_and_of_too_many_bytes_the_oldest_go() {
    let mut fixture = fixture();
    let runs: Vec<RunId> = (1..=6).map(|now| fixture.succeeded("a", "refs/tags/v1", now)).collect();
    assert_eq!(fixture.prune(&Keeping { count: 5, ..EVERYTHING }), [2, 3, 4, 5, 6]);
    assert_eq!(fixture.ledger.unpacked(None, 10).unwrap(), runs[1..]);
    assert_eq!(fixture.ledger.unpacked(Some(runs[2]), 2).unwrap(), runs[3..5]);
    fixture.ledger.packed(&runs[1..].iter().map(|run| (*run, 10)).collect::<Vec<_>>()).unwrap();
    assert_eq!(fixture.ledger.unpacked(None, 10).unwrap(), []);
    assert_eq!(fixture.prune(&Keeping { log_bytes: 50, ..EVERYTHING }), [2, 3, 4, 5, 6]);
    assert_eq!(fixture.prune(&Keeping { log_bytes: 49, ..EVERYTHING }), [3, 4, 5, 6]);
    assert_eq!(fixture.prune(&Keeping { log_bytes: 20, count: 3, ..EVERYTHING }), [5, 6]);
}

#[test]
fn the_last_word_on_a_branch_stays_without_its_log() {
    let mut fixture = fixture();
    let broken = Outcome::Failed("why".to_owned());
    let older = fixture.ended("a", "refs/heads/x", 2, &broken, &["build"], &[]);
    let last = fixture.ended("a", "refs/heads/x", 3, &broken, &["build"], &[]);
    let of_a_tag = fixture.succeeded("a", "refs/tags/v1", 4);
    let other_job = fixture.succeeded("b", "refs/heads/x", 6);
    let all: Vec<(RunId, u64)> = [older, last, of_a_tag, other_job].iter().map(|run| (*run, 7)).collect();
    fixture.ledger.packed(&all).unwrap();
    assert_eq!(fixture.prune(&since(100)), [last, other_job].map(RunId::number));
    let until = fixture.ledger.overdue_until(&since(100)).unwrap().unwrap();
    let left = fixture.ledger.overdue(None, until, 10).unwrap();
    assert!(left.len() == 2 && left.iter().all(|one| !one.has_log), "{left:?}");
}

#[test]
fn what_others_refer_to_stays() {
    let mut fixture = fixture();
    let due = fixture.ended("a", "refs/tags/v1", 1, &Outcome::Succeeded, &["build"], &["mona@example.org"]);
    let origin = fixture.succeeded("a", "refs/tags/v2", 2);
    let child = fixture.succeeded("a", "refs/tags/v3", 200);
    let holding = fixture.succeeded("a", "refs/tags/v4", 4);
    fixture.succeeded("a", "refs/tags/v5", 5);
    let connection = rusqlite::Connection::open(fixture.folder.path().join("ledger.db")).unwrap();
    let sql = format!(
        "UPDATE run SET cause = 'retry', origin = {} WHERE id = {}; INSERT INTO hold (lane, run, reason, held_at) VALUES ('x', {}, 'y', 1)",
        origin.number(),
        child.number(),
        holding.number()
    );
    connection.execute_batch(&sql).unwrap();
    assert_eq!(fixture.prune(&since(100)), [due, origin, child, holding].map(RunId::number));
}

#[test]
fn what_the_forges_next_answer_or_a_late_delivery_asks_for_again_stays() {
    let mut fixture = fixture();
    let repository: RepositoryName = "github.com/octo/shop".parse().unwrap();
    let reference = |tag: &str| format!("refs/tags/{tag}").parse::<RefName>().unwrap();
    let answer = |fixture: &mut Fixture, asked_at: i64, tag: &str| {
        let mut event = Event::of(Kind::Tag, "reconcile").with_ref(reference(tag));
        event.repository = Some(repository.clone());
        event.sha = Some(SHA.parse().unwrap());
        let (event, job, lane) = (Arc::new(event), "a".parse().unwrap(), format!("a {tag}"));
        let request =
            Request { repository: repository.clone(), job, event, lane, on_new: OnNew::Queue, priority: 50, refused: None };
        let requests = vec![("github".parse().unwrap(), request)];
        let change = RefChange { reference: reference(tag), now: Some(SHA.parse().unwrap()), requests };
        let newest_run = fixture.ledger.newest_run().unwrap();
        let answer = RefAnswer { repository: repository.clone(), asked_at: at(asked_at), newest_run, changes: vec![change] };
        fixture.ledger.reconcile(&answer, at(asked_at)).unwrap()
    };
    let none = Keeping { count: 0, ..EVERYTHING };
    let asked_first = 10 * LAG_MILLIS;
    assert_eq!(answer(&mut fixture, asked_first, "v0"), [], "the first answer asks for nothing");
    let before = fixture.succeeded("a", "refs/tags/v1", asked_first - LAG_MILLIS - 1);
    let within_lag = fixture.succeeded("a", "refs/tags/v2", asked_first - LAG_MILLIS);
    // As if the forge had been asked when both were there.
    let sql = format!("UPDATE reconciled SET newest_run = {}", within_lag.number());
    rusqlite::Connection::open(fixture.folder.path().join("ledger.db")).unwrap().execute(&sql, []).unwrap();
    let by_wrong_clock = fixture.succeeded("a", "refs/tags/v3", 1);
    let of_the_tag = fixture.succeeded("a", "refs/tags/v4", asked_first + 1);
    assert_eq!(fixture.prune(&none), [within_lag, by_wrong_clock, of_the_tag].map(RunId::number));
    assert!(fixture.ledger.was_pruned(before).unwrap());
    let asked_again = asked_first + 2 * LAG_MILLIS;
    assert_eq!(answer(&mut fixture, asked_again, "v4"), [], "its deploy does not run again");
    assert_eq!(fixture.prune(&none), [0_i64; 0], "what is older than the last answer is not looked for any more");

    let found = answer(&mut fixture, asked_again + 1, "v5").remove(0);
    fixture.ledger.claim(found, at(asked_again + 1)).unwrap().unwrap();
    fixture.ledger.finish(found, &Finish::plain(&Outcome::Succeeded), at(asked_again + 1)).unwrap();
    fixture.ledger.forget_refs(&repository).unwrap();
    fixture.now = at(asked_again + 1 + LATE_MILLIS);
    assert_eq!(fixture.prune(&none), [found.number()], "its delivery may come late");
    fixture.now = at(asked_again + 2 + LATE_MILLIS);
    assert_eq!(fixture.prune(&none), [0_i64; 0]);
}

#[test]
fn deliveries_go_when_they_are_old_and_have_no_run() {
    let mut fixture = fixture();
    for now in [1, 2, 3, 50] {
        fixture.queued("nobody", "refs/heads/x", now);
    }
    fixture.succeeded("a", "refs/heads/x", 2);
    assert_eq!(fixture.count("delivery"), 5);
    let mut after = None;
    loop {
        after = fixture.ledger.prune_deliveries(after, at(10), 2).unwrap();
        if after.is_none() {
            break;
        }
    }
    assert_eq!((fixture.count("delivery"), fixture.left().len()), (2, 1));
}

#[test]
fn what_is_removed_is_found_through_indices_alone() {
    let fixture = fixture();
    let connection = rusqlite::Connection::open(fixture.folder.path().join("ledger.db")).unwrap();
    let plan = |sql: &str| {
        let mut select = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = select.query_map([], |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    for sql in [
        ["?1", "?2", "?3"].iter().fold(IS_NEEDED.to_owned(), |sql, number| sql.replace(number, "1")),
        "SELECT id FROM run WHERE ended_at IS NOT NULL AND log_bytes IS NULL AND id > 1 ORDER BY id LIMIT 1".to_owned(),
        "SELECT id FROM run WHERE origin = 1".to_owned(),
        "SELECT id FROM run WHERE delivery = x'00'".to_owned(),
    ] {
        let scans: Vec<String> =
            plan(&sql).into_iter().filter(|line| line.starts_with("SCAN") && !line.contains("INDEX")).collect();
        // Holds are few.
        assert!(scans.iter().all(|line| line == "SCAN hold"), "{sql}: {scans:?}");
    }
}
