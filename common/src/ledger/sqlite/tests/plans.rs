//! What a pass and a runner ask for is found by an index, however much is in the ledger: SQLite's own plans say so.

use std::sync::{Arc, Mutex};

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;
use crate::ledger::Sequel;

/// Everything that passes, runners and people ask of a ledger in their daily work.
fn daily_work(fixture: &mut Fixture) {
    let run = fixture.admit(request("a", created(push("master", SHA)), OnNew::ReplaceQueued)).run;
    let lane = fixture.ledger.run(run).unwrap().unwrap().lane;
    let ledger = &mut fixture.ledger;
    ledger.startable(NOW, 10).unwrap();
    ledger.claim(run, NOW).unwrap().unwrap();
    ledger.running().unwrap();
    ledger.queued_in(&lane).unwrap();
    let known = ledger.run(run).unwrap().unwrap();
    let (repository, job, reference) = (known.repository.clone(), known.job.clone(), known.reference.clone());
    ledger.newcomers(&known, &job).unwrap();
    ledger.queue_of(&lane).unwrap();
    ledger.previous(&repository, &job, reference.as_ref(), run).unwrap();
    ledger.last_told(&repository, &job, reference.as_ref()).unwrap();
    ledger.last_deployed(&repository, &job, reference.as_ref()).unwrap();
    let newest = ledger.newest_in(&lane).unwrap();
    let outcome = Outcome::Failed("x".to_owned());
    let succeeded = |name: &str| StepRecord {
        name: name.to_owned(),
        started_at: NOW,
        ended_at: Some(NOW),
        result: Some(ProcessResult::Exited(0)),
    };
    let sequel = Sequel::Retry { not_before: None, newest };
    let finish = Finish { steps: &[succeeded("checkout"), succeeded("deploy")], sequel, ..Finish::plain(&outcome) };
    let next = ledger.finish(run, &finish, NOW).unwrap().unwrap();
    ledger.waiting(&ledger.run(next).unwrap().unwrap(), NOW).unwrap();
    ledger.made_from(run).unwrap();
    ledger.claim(next, NOW).unwrap().unwrap();
    let finish = Finish { sequel: Sequel::Hold("x".to_owned()), ..Finish::plain(&outcome) };
    ledger.finish(next, &finish, NOW).unwrap();
    let again = ledger.rerun(next, &request("a", push("master", SHA), OnNew::Queue), "ada", false, NOW).unwrap().run;
    ledger.hold(&lane, None, "ada", "x", NOW).unwrap();
    ledger.release(&lane).unwrap();
    ledger.cancel(again, "x", NOW).unwrap();
    ledger.due_notices(NOW, 10).unwrap();
    ledger.deliveries_of(run).unwrap();
    ledger.steps(run).unwrap();
    for state in RunState::ALL.into_iter().filter(|state| *state != RunState::Succeeded) {
        ledger.runs(&RunQuery { state: Some(state), ..RunQuery::newest(10) }).unwrap();
    }
    ledger.runs(&RunQuery { repository: Some(repository), ..RunQuery::newest(10) }).unwrap();
    ledger.runs(&RunQuery { job: Some(job), ..RunQuery::newest(10) }).unwrap();
}

/// Walks over an index that holds only what is meant, from its end where an order was asked for.
const FINE: [&str; 6] = [
    "SCAN run USING INDEX run_running",
    "SCAN run USING COVERING INDEX run_turn",
    "SCAN run USING INDEX run_turn",
    "SCAN run USING INDEX run_queued",
    "SCAN notice USING INDEX notice_due",
    // The newest run's number, from the end of the table.
    "SEARCH run",
];

#[test]
fn no_daily_question_looks_at_every_run() {
    let mut fixture = fixture();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&seen);
    let record = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            into.lock().unwrap().push(statement.sql().to_string());
        }
    };
    fixture.ledger.connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(record)).unwrap();
    daily_work(&mut fixture);
    let statements: Vec<String> = seen.lock().unwrap().clone();
    let mut asked = 0;
    for sql in statements.iter().filter(|sql| ["SELECT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb))) {
        let mut explain = fixture.ledger.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = explain.parameter_count();
        let nothing = rusqlite::params_from_iter(std::iter::repeat_n(rusqlite::types::Null, count));
        let plan: Vec<String> = explain.query_map(nothing, |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        asked += 1;
        for line in &plan {
            let scans = line.starts_with("SCAN")
                && ["run", "again", "notice", "step", "delivery"].iter().any(|table| line.split(' ').nth(1) == Some(table));
            assert!(!scans || FINE.iter().any(|fine| line.starts_with(fine)), "{sql}\n{plan:#?}");
            // One lane's queue is kept in its order.
            assert!(!line.contains("TEMP B-TREE") || !sql.contains("lane = ?1"), "{sql}\n{plan:#?}");
        }
    }
    assert!(asked > 40, "{asked} statements were seen");
}
