//! A run and its story, for the tests of this module: plain ones, to be changed where a test needs something else.

use std::path::{Path, PathBuf};

use hookspool_common::clock::Instant;
use hookspool_common::config::{self, Transport};
use hookspool_common::event::{Commit, Event, Kind, Person};
use hookspool_common::ledger::{Cause, Outcome, ProcessResult, Run, RunState, StepRecord};
use hookspool_common::names::{DeliveryId, RunId};

use super::story::{Before, Held, Story};

const SHA: &str = "366701fde727cb7a9e7f21eb88264f59f6f9b89c";
/// 2026-03-01T12:00:00Z.
const NOON: Instant = Instant::from_millis(1_772_366_400_000);

pub(super) struct Sample {
    pub(super) run: Run,
    pub(super) outcome: Outcome,
    pub(super) steps: Vec<StepRecord>,
    pub(super) output_end: String,
    pub(super) before: Before,
    pub(super) kept: Option<PathBuf>,
    pub(super) held: Option<Held<'static>>,
    pub(super) is_older: bool,
    pub(super) config_path: Option<PathBuf>,
}

impl Sample {
    /// A push of two commits that was built, tested and deployed.
    pub(super) fn succeeded() -> Self {
        let mut event = Event::of(Kind::Push, "push").with_ref("refs/heads/master".parse().unwrap());
        event.sha = Some(SHA.parse().unwrap());
        event.pusher = person("Mona Lisa", "mona", "mona@example.org");
        event.commits =
            Some(vec![commit(1, "Round prices to the cent\n\nThe till did not."), commit(2, "Say which price it is")]);
        let mut run = run(event);
        run.sha = Some(SHA.parse().unwrap());
        Self {
            run,
            outcome: Outcome::Succeeded,
            steps: steps(&[
                ("checkout", 412, ProcessResult::Exited(0)),
                ("build", 12_345, ProcessResult::Exited(0)),
                ("test", 65_000, ProcessResult::Exited(0)),
                ("deploy", 2_100, ProcessResult::Exited(0)),
            ]),
            output_end: "deployed\n".to_owned(),
            before: Before::Succeeded,
            kept: None,
            held: None,
            is_older: false,
            config_path: None,
        }
    }

    /// The same push, of which the test fails.
    pub(super) fn failed() -> Self {
        Self {
            outcome: Outcome::Failed("test exited with status 1".to_owned()),
            steps: steps(&[
                ("checkout", 412, ProcessResult::Exited(0)),
                ("build", 12_345, ProcessResult::Exited(0)),
                ("test", 65_000, ProcessResult::Exited(1)),
                ("always", 80, ProcessResult::Exited(0)),
            ]),
            output_end: "running 2 tests\n\u{1b}[32mok\u{1b}[0m   the till opens\n\u{1b}[31mFAIL\u{1b}[0m prices are rounded\n\n\
                         expected 1.10\ngot      1.1\n"
                .to_owned(),
            kept: Some("/var/lib/hookspool/kept/17".into()),
            ..Self::succeeded()
        }
    }

    pub(super) fn story(&self) -> Story<'_> {
        Story {
            run: &self.run,
            outcome: &self.outcome,
            steps: &self.steps,
            not_run: if matches!(self.outcome, Outcome::Failed(_)) { &["deploy"] } else { &[] },
            ended_at: NOON.plus_millis(80_000),
            output_end: &self.output_end,
            before: self.before,
            kept: self.kept.as_deref(),
            held: self.held,
            is_older: self.is_older,
            config_path: self.config_path.as_deref(),
        }
    }
}

pub(super) fn mail() -> config::Mail {
    config::Mail {
        from: "CI <ci@example.org>".parse().unwrap(),
        transport: Transport::Maildir("/nowhere".into()),
        password: None,
        ca_file: None,
        allow: vec!["@example.org".to_owned()],
        fallback: Some("Ops <ops@example.org>".parse().unwrap()),
    }
}

pub(super) fn person(name: &str, login: &str, email: &str) -> Person {
    Person { name: Some(name.to_owned()), login: Some(login.to_owned()), email: Some(email.to_owned()) }
}

pub(super) fn commit(number: u64, message: &str) -> Commit {
    Commit {
        sha: format!("{number:010x}{}", "0".repeat(30)).parse().unwrap(),
        message: message.to_owned(),
        author: person("Au Thor", "author", "author@example.org"),
        paths: None,
    }
}

pub(super) fn steps(records: &[(&str, i64, ProcessResult)]) -> Vec<StepRecord> {
    let mut at = NOON;
    let mut record = |(name, milliseconds, result): &(&str, i64, ProcessResult)| {
        let started_at = at;
        at = at.plus_millis(*milliseconds);
        StepRecord { name: (*name).to_owned(), started_at, ended_at: Some(at), result: Some(result.clone()) }
    };
    records.iter().map(&mut record).collect()
}

fn run(event: Event) -> Run {
    Run {
        id: RunId::new(17),
        delivery: Some(DeliveryId::from_bytes([0x01, 0x95, 0x51, 0xb0, 0x6c, 0, 0x70, 1, 0x80, 2, 3, 4, 5, 6, 7, 8])),
        source: "github".parse().unwrap(),
        repository: "github.com/octo/shop".parse().unwrap(),
        job: "tests".parse().unwrap(),
        reference: event.reference.clone(),
        sha: None,
        event,
        lane: "lane".to_owned(),
        cause: Cause::Delivery,
        priority: 50,
        attempt: 1,
        not_before: None,
        allow_older: false,
        state: RunState::Running,
        reason: None,
        queued_at: NOON,
        started_at: Some(NOON),
        ended_at: None,
    }
}

/// The path of a configuration that is not the default one.
pub(super) fn other_config() -> PathBuf {
    Path::new("/srv/ci here/hookspool.toml").to_owned()
}
