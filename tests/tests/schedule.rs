//! Jobs that run by the clock: the real worker, on an installation that was off, or whose last pass was some minutes ago.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookspool_tests::server::{Delivery, Server, Setup, kill_now, processes_with, text};
use rusqlite::Connection;
use serde_json::Value;

const MINUTE: i64 = 60 * 1000;
const DAY: i64 = 24 * 60 * MINUTE;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Five fields for the minute of this instant, each day.
fn daily_at(instant: i64) -> String {
    let minute = instant.rem_euclid(DAY) / MINUTE;
    format!("{} {} * * *", minute % 60, minute / 60)
}

/// A job that runs by the clock alone.
fn job(schedule: &str, more: &str) -> String {
    format!(
        "[[job]]\nname = \"nightly\"\nschedule = \"{schedule}\"\ntimezone = \"UTC\"\nlane = {{ on_new = \"queue\" }}\n{more}\n\
         build = \"git rev-parse HEAD >$OUT/sha; env >$OUT/env; echo once >>$OUT/count\"\n"
    )
}

/// As if no pass had found anything due for this long.
fn set_back(server: &Server, millis: i64) {
    let ledger = Connection::open(server.state("ledger.db")).unwrap();
    ledger.busy_timeout(Duration::from_secs(30)).unwrap();
    let changed = ledger.execute("UPDATE schedule_state SET looked_until = ?1", [now() - millis]).unwrap();
    assert_eq!(changed, 1);
}

fn count(server: &Server) -> usize {
    server.written("count").unwrap_or_default().lines().count()
}

#[test]
fn a_job_runs_at_its_time_on_the_default_branch_and_everywhere_it_says_why() {
    let server = Server::new(&job("0 0 1 1 *", ""));
    server.laptop.push_commit("dev", "Not on the default branch");
    server.settle();
    server.configure(Setup { jobs: &job(&daily_at(now() - 2 * MINUTE), ""), ..Setup::default() });
    server.settle();
    assert!(server.runs().is_empty(), "a schedule begins with the pass that sees it first");
    set_back(&server, 5 * MINUTE);
    server.settle();
    server.settle();
    assert_eq!((server.states(), count(&server)), (vec!["succeeded".to_owned()], 1));
    let head = server.laptop.git_on_the_forge(&["rev-parse", "master"]);
    assert_eq!(server.written("sha"), Some(head));
    assert!(server.written("env").unwrap().lines().any(|line| line == "HOOKSPOOL_EVENT_KIND=schedule"));
    let run = server.show(1);
    assert_eq!(
        (text(&run["cause"]), text(&run["event"]["kind"]), &run["delivery"]),
        ("schedule".into(), "schedule".into(), &Value::Null)
    );
    // Nobody pushed, so whoever answers for the machine is told.
    assert_eq!(server.mails().len(), 1);
    let mail = server.mails().remove(0);
    assert!(mail.words().contains("Cause scheduled") && mail.header("To").contains("ops@example.org"), "{}", mail.words());
    let listed = server.json(&["schedule", "--json"]);
    assert_eq!((&listed[0]["last_run"]["run"], text(&listed[0]["last_run"]["state"])), (&Value::from(1), "succeeded".into()));
}

#[test]
fn a_time_at_which_the_machine_was_off_is_made_up_for_once_if_the_job_says_so() {
    for (more, runs) in [("", 0), ("catch_up = true", 1)] {
        let server = Server::new(&job(&daily_at(now() - 60 * MINUTE), more));
        server.settle();
        set_back(&server, 5 * DAY);
        server.settle();
        server.settle();
        assert_eq!((server.runs().len(), count(&server)), (runs, runs), "{more}");
        assert!(server.worker_log().contains("a scheduled time was missed"));
    }
}

#[test]
fn a_job_by_the_clock_runs_for_events_only_if_it_says_so() {
    let events = "when = [{ event = \"push\" }]";
    let server = Server::new(&job("0 0 1 1 *", ""));
    let ignored = server.post(&Delivery::push("master", &server.laptop.head()));
    assert!(ignored.body.contains("the job runs by its `schedule` alone"), "{}", ignored.body);
    let server = Server::new(&job("0 0 1 1 *", events));
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.states(), ["succeeded"]);
}

#[test]
fn passes_killed_at_any_instant_make_one_run_for_each_time() {
    let server = Server::new(&job(&daily_at(now() - 60 * MINUTE), "catch_up = true"));
    server.settle();
    for round in 1..=30 {
        set_back(&server, DAY);
        for delay in [round, 2 * round] {
            let mut pass = server.start_pass();
            std::thread::sleep(Duration::from_millis(delay));
            pass.kill().unwrap();
            pass.wait().unwrap();
        }
        // Runners are left alone: what they began, they end.
        server.settle();
        assert_eq!(server.runs().len() as u64, round, "{}", server.worker_log());
    }
    assert_eq!(count(&server), 30);
}

#[test]
fn the_next_times_are_listed_in_the_jobs_zone_and_in_utc_without_any_pass() {
    let berlin = "[[job]]\nname = \"report\"\nschedule = \"0 12 1 1 *\"\ntimezone = \"Europe/Berlin\"\nbuild = \"true\"\n";
    let server = Server::new(&(job("30 2 * 7 *", "catch_up = true") + berlin));
    let Value::Array(jobs) = server.json(&["schedule", "--count", "2", "--json"]) else { panic!("no list") };
    let names: Vec<_> = jobs.iter().map(|job| (text(&job["job"]), text(&job["timezone"]), job["catch_up"].clone())).collect();
    let wanted = [("nightly", "UTC", true), ("report", "Europe/Berlin", false)];
    assert_eq!(names, wanted.map(|(job, zone, catch_up)| (job.to_owned(), zone.to_owned(), Value::Bool(catch_up))));
    let year = |time: &Value| text(time)[..4].parse::<u16>().unwrap();
    let next = jobs[1]["next"].as_array().unwrap();
    assert_eq!(next.len(), 2);
    assert_eq!(year(&next[0]["local"]) + 1, year(&next[1]["local"]));
    for time in next {
        assert_eq!(text(&time["local"])[4..], *"-01-01T12:00:00+01:00");
        assert_eq!(text(&time["utc"])[4..], *"-01-01T11:00:00Z");
    }
    assert_eq!((text(&jobs[0]["schedule"]), &jobs[0]["last_run"]), ("30 2 * 7 *".to_owned(), &Value::Null));
    let shown = String::from_utf8(server.hookspool(&["schedule"]).stdout).unwrap();
    assert!(shown.starts_with("REPOSITORY ") && shown.contains("0 12 1 1 *") && shown.lines().count() == 7, "{shown}");
    let none = Server::new("[[job]]\nname = \"a\"\nwhen = [{ event = \"push\" }]\nbuild = \"true\"\n");
    assert_eq!(String::from_utf8(none.hookspool(&["schedule"]).stdout).unwrap(), "no job has a `schedule`\n");
    none.configure(Setup { jobs: &job("0 0 31 4 *", ""), ..Setup::default() });
    let refused = none.hookspool(&["schedule"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("shop.toml:6:12: the schedule \"0 0 31 4 *\" never comes true"));
    processes_with(&[&none.config().to_string_lossy()]).into_iter().for_each(kill_now);
}
