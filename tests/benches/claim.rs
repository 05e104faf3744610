//! What it costs to claim a run and to end it, beside the same in a ledger that holds a million runs which are over and a
//! hundred thousand which wait; and what passes and people ask of such a ledger.
//!
//! `cargo bench -p hookspool-tests --bench claim`. Each claim and each end waits for the disk, as in service. Absolute
//! figures drift with the machine; the ratios of one run hold.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant as Timer};

use hookspool_common::clock::Instant;
use hookspool_common::config::OnNew;
use hookspool_common::event::{Event, Kind};
use hookspool_common::ledger::{
    Admission, Finish, LEDGER_FILE, Ledger, Outcome, Request, RunQuery, RunState, SqliteLedger, StepRecord,
};
use hookspool_common::names::{DeliveryId, RunId};
use hookspool_common::record::{Answer, InboxIdentity, Record};
use rusqlite::Connection;

const FINISHED: usize = 1_000_000;
const QUEUED: usize = 100_000;
/// Runs that are claimed and ended in each measurement; of each ledger in turn, so that both see the same machine.
const RUNS: usize = 300;
const ROUNDS: usize = 5;
const NOW: Instant = Instant::from_millis(1_700_000_000_000);

/// A ledger, and what is still to be claimed of it.
struct Subject {
    name: &'static str,
    ledger: SqliteLedger,
    inbox: InboxIdentity,
    seq: i64,
    fastest: Duration,
}

fn event(number: usize) -> Event {
    let mut event = Event::of(Kind::Push, "push").with_ref("refs/heads/master".parse().expect("a ref"));
    event.repository = Some("github.com/octo/shop".parse().expect("a repository"));
    event.sha = Some(format!("{:040x}", number + 1).parse().expect("a commit"));
    event
}

fn request(number: usize, lane: &str) -> Request {
    Request {
        repository: "github.com/octo/shop".parse().expect("a repository"),
        job: "tests".parse().expect("a job"),
        event: Arc::new(event(number)),
        lane: lane.to_owned(),
        on_new: OnNew::Queue,
        priority: 50,
        refused: None,
    }
}

impl Subject {
    /// An empty ledger, or one of that size whose waiting runs are in one lane or in a thousand.
    fn make(folder: &Path, name: &'static str, lanes: Option<usize>) -> Self {
        let path = folder.join(name).join(LEDGER_FILE);
        std::fs::create_dir_all(folder.join(name)).expect("a folder can be made");
        let ledger = SqliteLedger::open(&path).expect("a ledger can be made");
        if let Some(lanes) = lanes {
            fill(&path, lanes);
        }
        Self { name, ledger, inbox: InboxIdentity::generate(), seq: 0, fastest: Duration::MAX }
    }

    /// Lets runs come, claims each as a pass and its runner do, and ends it.
    fn measure(&mut self) {
        let mut batch = Vec::new();
        for number in 0..RUNS {
            self.seq += 1;
            let record = Record {
                seq: self.seq,
                id: DeliveryId::generate(),
                source: "github".parse().expect("a source"),
                provider_id: None,
                received_at: NOW,
                answer: Answer::Accepted,
                reason: None,
                proposals: Vec::new(),
            };
            let request = Request { priority: 100, ..request(FINISHED + QUEUED + number, &format!("new {number}")) };
            batch.push(Admission { record, requests: vec![request] });
        }
        self.ledger.admit(&self.inbox, &batch, NOW).expect("runs can be admitted");
        let step = StepRecord { name: "build".to_owned(), started_at: NOW, ended_at: None, result: None };
        let started = Timer::now();
        for _ in 0..RUNS {
            let run = self.ledger.startable(NOW, 1).expect("the ledger can be asked")[0];
            let claimed = self.ledger.claim(run, NOW).expect("the ledger can be written").expect("it waits");
            let (repository, job, reference) = (&claimed.repository, &claimed.job, claimed.reference.as_ref());
            self.ledger.previous(repository, job, reference, run).expect("the ledger can be asked");
            let finish = Finish { steps: std::slice::from_ref(&step), ..Finish::plain(&Outcome::Succeeded) };
            self.ledger.finish(run, &finish, NOW).expect("the run can be ended");
        }
        self.fastest = self.fastest.min(started.elapsed());
    }

    fn each_second(&self) -> f64 {
        RUNS as f64 / self.fastest.as_secs_f64()
    }
}

/// A million runs that are over and those that wait, as the ledger itself would have written them.
fn fill(path: &Path, lanes: usize) {
    let ledger = Connection::open(path).expect("the ledger can be opened");
    ledger.pragma_update(None, "synchronous", "off").expect("a setting can be made");
    let event = serde_json::to_string(&event(0)).expect("an event is JSON");
    let number = |count: usize| i64::try_from(count).expect("a small number");
    ledger
        .execute(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
             INSERT INTO run (source, repository, job, event, kind, action, ref, sha, lane, state, reason, queued_at, started_at,
                              ended_at, cause, priority, attempt, allow_older)
             SELECT 'github', 'github.com/octo/shop', iif(n % 10, 'tests', 'deploy'), ?3, 'push', 'changed', 'refs/heads/master',
                    printf('%040x', n), iif(n > ?2, 'waiting ' || (n % ?4), 'over ' || (n % 100)),
                    iif(n > ?2, 'queued', iif(n % 20, 'succeeded', 'failed')), iif(n > ?2 OR n % 20, NULL, 'build failed'), n,
                    iif(n > ?2, NULL, n), iif(n > ?2, NULL, n), 'schedule', 50, 1, 0
             FROM number",
            rusqlite::params![number(FINISHED + QUEUED), number(FINISHED), event, number(lanes)],
        )
        .expect("the ledger can be filled");
    ledger
        .execute_batch(
            "UPDATE run SET turn = 1 WHERE id IN (SELECT min(id) FROM run WHERE state = 'queued' GROUP BY lane);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .expect("turns can be given");
}

/// How long it takes at most, of three times.
fn slowest(mut question: impl FnMut()) -> f64 {
    let time = |question: &mut dyn FnMut()| {
        let started = Timer::now();
        question();
        started.elapsed()
    };
    (0..3).map(|_| time(&mut question)).max().unwrap_or_default().as_secs_f64() * 1000.0
}

fn questions(ledger: &SqliteLedger) {
    let query = |state: Option<RunState>, repository: Option<&str>, job: Option<&str>| RunQuery {
        state,
        repository: repository.map(|name| name.parse().expect("a repository")),
        job: job.map(|name| name.parse().expect("a job")),
        limit: 20,
    };
    for (what, query) in [
        ("runs", query(None, None, None)),
        ("runs --state running", query(Some(RunState::Running), None, None)),
        ("runs --state queued", query(Some(RunState::Queued), None, None)),
        ("runs --state failed", query(Some(RunState::Failed), None, None)),
        ("runs --state refused", query(Some(RunState::Refused), None, None)),
        ("runs --repository R", query(None, Some("github.com/octo/shop"), None)),
        ("runs --repository NONE", query(None, Some("github.com/octo/none"), None)),
        ("runs --job deploy", query(None, None, Some("deploy"))),
        ("runs --job none", query(None, None, Some("none"))),
        ("runs --job deploy --state failed", query(Some(RunState::Failed), None, Some("deploy"))),
    ] {
        println!("  {what:34} {:8.2} ms", slowest(|| drop(ledger.runs(&query).expect("the ledger can be asked"))));
    }
    let one = ledger.run(RunId::new(1)).expect("the ledger can be asked").expect("it is there");
    let (repository, job, reference) = (&one.repository, &one.job, one.reference.as_ref());
    let newest = RunId::new(i64::MAX);
    for (what, time) in [
        ("running", slowest(|| drop(ledger.running()))),
        ("startable", slowest(|| drop(ledger.startable(NOW, 4)))),
        ("previous", slowest(|| drop(ledger.previous(repository, job, reference, newest)))),
        ("last deployed", slowest(|| drop(ledger.last_deployed(repository, job, reference)))),
    ] {
        println!("  {what:34} {time:8.2} ms");
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut subjects = [
        Subject::make(folder.path(), "empty", None),
        Subject::make(folder.path(), "full, waiting in 1000 lanes", Some(1000)),
        Subject::make(folder.path(), "full, waiting in one lane", Some(1)),
    ];
    for _ in 0..ROUNDS {
        subjects.iter_mut().for_each(Subject::measure);
    }
    let of_the_empty = subjects[0].each_second();
    println!("claimed and ended, a second; full is {FINISHED} runs that are over and {QUEUED} that wait");
    for subject in &subjects {
        let each_second = subject.each_second();
        println!("  {:30} {each_second:8.0}   {:5.2} of the empty one (aim: 0.9)", subject.name, each_second / of_the_empty);
    }
    println!("asked of the full one, at most");
    questions(&subjects[1].ledger);
}
