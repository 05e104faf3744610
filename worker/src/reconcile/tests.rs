//! The gap closer beside deliveries that come before, after and never, on a real ledger and made-up refs.

use hookspool_common::event::{Event, Kind, Person};
use hookspool_common::git_name::Sha;
use hookspool_common::ledger::{Admission, Cause, Finish, Outcome, Run, RunQuery};
use hookspool_common::matching::matches;
use hookspool_common::names::{DeliveryId, RunId};
use hookspool_common::record::{Answer, InboxIdentity, Proposal, Record};

use super::forge::{Refs, Tip};
use super::*;
use crate::admission::admission;

const MINUTE: i64 = 60 * 1000;
const DAY: i64 = 24 * 60 * MINUTE;

const JOBS: &str = "[[job]]\nname='branch'\nbuild='true'\nwhen={event='push'}\nlane={on_new='queue'}\n\
    [[job]]\nname='site'\nbuild='true'\nwhen={event='branch_created'}\nlane={on_new='queue'}\n\
    [[job]]\nname='gone'\nbuild='true'\nwhen={event='branch_deleted'}\nlane={on_new='queue'}\n\
    [[job]]\nname='tag'\nbuild='true'\nwhen={event=['tag', 'tag_deleted']}\nlane={on_new='queue'}\n";

fn at(millis: i64) -> Instant {
    Instant::from_millis(1_774_656_000_000 + millis)
}

fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

/// `main=a v1=b/a`: a branch by its name, or a tag, which begins with `v`, by its object and commit.
fn refs(text: &str) -> Refs {
    let one = |word: &str| {
        let (name, tip) = word.split_once('=').unwrap();
        let (object, commit) = (tip.chars().next().unwrap(), tip.chars().next_back().unwrap());
        (full(name), Tip { object: sha(object), commit: sha(commit) })
    };
    text.split_whitespace().map(one).collect()
}

fn full(name: &str) -> hookspool_common::git_name::RefName {
    let folder = if name.starts_with('v') { "tags" } else { "heads" };
    format!("refs/{folder}/{name}").parse().unwrap()
}

/// What a delivery tells: `push main a>b`, where the first is the commit before, if there was one.
fn told(kind: Kind, name: &str, before: Option<char>, now: Option<char>) -> Event {
    Event {
        repository: Some("github.com/octo/shop".parse().unwrap()),
        before: before.map(sha),
        sha: now.map(sha),
        created: now.map(|_| before.is_none()),
        pusher: Person { login: Some("mona".to_owned()), ..Person::default() },
        ..Event::of(kind, "push").with_ref(full(name))
    }
}

fn push(name: &str, before: Option<char>, now: char) -> Event {
    told(Kind::Push, name, before, Some(now))
}

struct Machine {
    _folder: tempfile::TempDir,
    ledger: SqliteLedger,
    config: Config,
    seq: i64,
}

impl Machine {
    fn new() -> Self {
        Self::with(JOBS)
    }

    fn with(jobs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        let main = "[[source]]\nname='github'\nprovider='github'\npath='/g'\nsecret='s'\n";
        std::fs::write(folder.path().join("hookspool.toml"), main).unwrap();
        std::fs::create_dir(folder.path().join("repositories")).unwrap();
        let repository = format!("repository='github.com/octo/shop'\nsource='github'\nreconcile='10m'\n{jobs}");
        std::fs::write(folder.path().join("repositories/shop.toml"), repository).unwrap();
        let config = Config::load(&folder.path().join("hookspool.toml")).unwrap();
        Self { _folder: folder, ledger, config, seq: 0 }
    }

    /// A machine whose forge was asked once.
    fn knowing(text: &str) -> Self {
        let mut machine = Self::new();
        assert_eq!(machine.answer(0, text), [""; 0]);
        machine
    }

    /// The forge answers this; the runs that come of it, as `job ref sha`.
    fn answer(&mut self, millis: i64, text: &str) -> Vec<String> {
        let newest = self.ledger.newest_run().unwrap();
        self.answer_after(newest, millis, text)
    }

    /// The same, where runs were made while the forge was asked.
    fn answer_after(&mut self, newest_run: RunId, millis: i64, text: &str) -> Vec<String> {
        let name: RepositoryName = "github.com/octo/shop".parse().unwrap();
        let is_first = self.ledger.reconciled().unwrap().iter().all(|state| state.answered_at.is_none());
        let files: Vec<&Repository> = if is_first { Vec::new() } else { self.config.repositories.iter().collect() };
        let changes = changes(&name, &self.ledger.known_refs(&name).unwrap(), &refs(text), &files);
        let answer = RefAnswer { repository: name, asked_at: at(millis), newest_run, changes };
        let runs = self.ledger.reconcile(&answer, at(millis)).unwrap();
        runs.into_iter().map(|run| self.described(run)).collect()
    }

    fn described(&self, run: RunId) -> String {
        let run = self.run(run);
        let sha = run.sha.as_ref().map(|sha| sha.as_str()[..1].to_owned()).unwrap_or_default();
        format!("{} {} {sha}", run.job, run.reference.unwrap().short()).trim_end().to_owned()
    }

    fn run(&self, run: RunId) -> Run {
        self.ledger.run(run).unwrap().unwrap()
    }

    /// A delivery arrives; each run that it asks for, with whether it was there before.
    fn deliver(&mut self, millis: i64, event: &Event) -> Vec<(String, bool)> {
        let source = "github".parse().unwrap();
        let jobs = matches(&self.config, &source, event).matches;
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            id: DeliveryId::generate(),
            source,
            provider_id: None,
            received_at: at(millis),
            answer: Answer::Accepted,
            reason: None,
            proposals: vec![Proposal { event: event.clone(), jobs }],
        };
        let admission: Admission = admission(&self.config, record);
        let inbox: InboxIdentity = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let admitted = self.ledger.admit(&inbox, &[admission], at(millis)).unwrap();
        admitted.into_iter().map(|one| (self.described(one.run), one.joined)).collect()
    }

    /// Every queued run starts, and succeeds.
    fn run_everything(&mut self) {
        while let Some(run) = self.ledger.startable(at(0), 1).unwrap().first().copied() {
            self.ledger.claim(run, at(0)).unwrap();
            self.ledger.finish(run, &Finish::plain(&Outcome::Succeeded), at(0)).unwrap();
        }
    }
}

fn new(described: &str) -> (String, bool) {
    (described.to_owned(), false)
}

fn joined(described: &str) -> (String, bool) {
    (described.to_owned(), true)
}

#[test]
fn the_first_answer_is_only_remembered() {
    let mut machine = Machine::new();
    assert_eq!(machine.answer(0, "main=a dev=b v1=c/a"), [""; 0]);
    assert_eq!(machine.answer(10 * MINUTE, "main=a dev=b v1=c/a"), [""; 0]);
    assert_eq!(machine.answer(20 * MINUTE, "main=b dev=b v1=c/a"), ["branch main b"]);
}

#[test]
fn what_changed_is_what_deliveries_would_have_told() {
    let mut machine = Machine::knowing("main=a old=a v1=a v2=a");
    let runs = machine.answer(10 * MINUTE, "main=b new=c v1=b v3=d/c");
    let mut wanted = vec!["gone old", "tag v2", "branch main b", "branch new c", "site new c", "tag v1 b", "tag v3 c"];
    wanted.sort_unstable();
    let mut found: Vec<&str> = runs.iter().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, wanted);
    let run =
        machine.ledger.runs(&RunQuery::newest(100)).unwrap().into_iter().find(|run| run.reference == Some(full("main"))).unwrap();
    assert_eq!((run.cause.clone(), run.delivery, run.event.before.clone()), (Cause::Reconcile, None, Some(sha('a'))));
    assert_eq!((run.event.created, run.event.provider_event.as_str()), (Some(false), "reconcile"));
    assert_eq!(machine.answer(20 * MINUTE, "main=b new=c v1=b v3=d/c"), [""; 0]);
}

#[test]
fn what_a_delivery_told_of_is_not_run_again_whatever_became_of_it() {
    let mut machine = Machine::knowing("main=a");
    assert_eq!(machine.deliver(MINUTE, &push("main", Some('a'), 'b')), [new("branch main b")]);
    machine.run_everything();
    assert_eq!(machine.deliver(MINUTE, &push("dev", None, 'b')), [new("branch dev b"), new("site dev b")]);
    machine.deliver(MINUTE, &told(Kind::Tag, "v1", None, Some('b')));
    assert_eq!(machine.answer(10 * MINUTE, "main=b dev=b v1=c/b"), [""; 0]);
    assert_eq!(machine.deliver(11 * MINUTE, &told(Kind::BranchDeleted, "dev", Some('b'), None)), [new("gone dev")]);
    assert_eq!(machine.answer(20 * MINUTE, "main=b v1=c/b"), [""; 0]);
}

#[test]
fn a_delivery_that_comes_after_all_runs_nothing_twice() {
    for ran_before in [false, true] {
        let mut machine = Machine::knowing("main=a old=a");
        let found = machine.answer(10 * MINUTE, "main=b new=c v3=d/c");
        assert_eq!(found, ["gone old", "branch main b", "branch new c", "site new c", "tag v3 c"]);
        if ran_before {
            machine.run_everything();
        }
        assert_eq!(machine.deliver(11 * MINUTE, &push("main", Some('a'), 'b')), [joined("branch main b")]);
        assert_eq!(machine.deliver(12 * MINUTE, &push("new", None, 'c')), [joined("branch new c"), joined("site new c")]);
        let create = Event { sha: None, ..told(Kind::BranchCreated, "new", None, None) };
        let create = Event { created: Some(true), provider_event: "create".to_owned(), ..create };
        assert_eq!(machine.deliver(12 * MINUTE, &create), [joined("site new c")]);
        assert_eq!(machine.deliver(13 * MINUTE, &told(Kind::BranchDeleted, "old", Some('a'), None)), [joined("gone old")]);
        // Some forges name the tag's own object, which is no commit.
        assert_eq!(machine.deliver(14 * MINUTE, &told(Kind::Tag, "v3", None, Some('d'))), [joined("tag v3 c")]);
        let newest = machine.ledger.newest_run().unwrap();
        assert_eq!(newest.number(), 5);
        let main = machine
            .ledger
            .runs(&RunQuery::newest(100))
            .unwrap()
            .into_iter()
            .find(|run| run.reference == Some(full("main")))
            .unwrap();
        assert_eq!(machine.ledger.deliveries_of(main.id).unwrap().len(), 1);
        // Who did it is known while that can still be told.
        assert_eq!(main.event.pusher.login.is_some(), !ran_before);
        assert_eq!(main.cause, Cause::Reconcile);
        assert_eq!(machine.answer(20 * MINUTE, "main=b new=c v3=d/c"), [""; 0]);
    }
}

#[test]
fn a_delivery_of_something_else_runs_as_ever() {
    let mut machine = Machine::knowing("main=a");
    assert_eq!(machine.answer(10 * MINUTE, "main=b"), ["branch main b"]);
    machine.run_everything();
    assert_eq!(machine.deliver(11 * MINUTE, &push("dev", None, 'b')), [new("branch dev b"), new("site dev b")]);
    assert_eq!(machine.deliver(11 * MINUTE, &push("main", Some('b'), 'c')), [new("branch main c")]);
    // Back to where it was: that is another push than the one that was lost, which may come as well.
    assert_eq!(machine.deliver(12 * MINUTE, &push("main", Some('c'), 'b')), [new("branch main b")]);
    assert_eq!(machine.deliver(13 * MINUTE, &push("main", Some('a'), 'b')), [joined("branch main b")]);
    let mut machine = Machine::knowing("main=a");
    machine.answer(10 * MINUTE, "main=b");
    machine.run_everything();
    // So much later it is none that was lost.
    assert_eq!(machine.deliver(4 * DAY, &push("main", Some('a'), 'b')), [new("branch main b")]);
}

#[test]
fn a_push_that_was_told_of_already_is_not_told_of_by_the_next() {
    let mut machine = Machine::knowing("main=a");
    machine.answer(10 * MINUTE, "main=b");
    machine.run_everything();
    assert_eq!(machine.deliver(11 * MINUTE, &push("main", Some('a'), 'b')), [joined("branch main b")]);
    assert_eq!(machine.deliver(12 * MINUTE, &push("main", Some('a'), 'b')), [new("branch main b")]);
}

#[test]
fn a_branch_that_was_forced_back_runs_again_as_its_delivery_would_have() {
    let mut machine = Machine::knowing("main=a");
    assert_eq!(machine.deliver(MINUTE, &push("main", Some('a'), 'b')), [new("branch main b")]);
    assert_eq!(machine.answer(10 * MINUTE, "main=b"), [""; 0]);
    assert_eq!(machine.deliver(11 * MINUTE, &push("main", Some('b'), 'c')), [new("branch main c")]);
    assert_eq!(machine.answer(30 * MINUTE, "main=c"), [""; 0]);
    assert_eq!(machine.answer(60 * MINUTE, "main=b"), ["branch main b"]);
}

#[test]
fn a_branch_that_was_deleted_and_made_again_at_the_same_commit_has_both_its_runs() {
    let mut machine = Machine::knowing("main=a");
    assert_eq!(machine.deliver(MINUTE, &push("dev", None, 'b')), [new("branch dev b"), new("site dev b")]);
    assert_eq!(machine.answer(2 * MINUTE, "main=a dev=b"), [""; 0]);
    assert_eq!(machine.answer(3 * MINUTE, "main=a"), ["gone dev"]);
    assert_eq!(machine.answer(4 * MINUTE, "main=a dev=b"), ["branch dev b", "site dev b"]);
    machine.run_everything();
    // Its lost delivery comes late.
    assert_eq!(machine.deliver(5 * MINUTE, &push("dev", None, 'b')), [joined("branch dev b"), joined("site dev b")]);
    // But what comes after is new: it is gone once more.
    assert_eq!(machine.deliver(6 * MINUTE, &told(Kind::BranchDeleted, "dev", Some('b'), None)), [new("gone dev")]);
    assert_eq!(machine.answer(7 * MINUTE, "main=a"), [""; 0]);
    machine.run_everything();
    assert_eq!(machine.deliver(8 * MINUTE, &push("dev", None, 'b')), [new("branch dev b"), new("site dev b")]);
}

#[test]
fn an_answer_that_a_delivery_overtook_counts_for_the_next_time() {
    let mut machine = Machine::knowing("main=a");
    let newest = machine.ledger.newest_run().unwrap();
    // Asked while it was at b, of which no delivery came; told of c before the answer is taken over.
    machine.deliver(MINUTE, &push("main", Some('b'), 'c'));
    assert_eq!(machine.answer_after(newest, 2 * MINUTE, "main=b"), [""; 0]);
    assert_eq!(machine.answer(10 * MINUTE, "main=c"), [""; 0]);
    assert_eq!(machine.answer(20 * MINUTE, "main=d"), ["branch main d"]);
}

#[test]
fn an_answer_that_lags_behind_a_delivery_runs_nothing_twice() {
    let mut machine = Machine::knowing("main=a dev=a");
    machine.deliver(9 * MINUTE, &push("main", Some('a'), 'b'));
    machine.deliver(9 * MINUTE, &told(Kind::BranchDeleted, "dev", Some('a'), None));
    assert_eq!(machine.answer(10 * MINUTE, "main=a dev=a"), [""; 0]);
    assert_eq!(machine.answer(20 * MINUTE, "main=b"), [""; 0]);
}

#[test]
fn a_forge_that_did_not_answer_is_asked_again_and_nothing_is_forgotten() {
    let mut machine = Machine::knowing("main=a");
    let name: RepositoryName = "github.com/octo/shop".parse().unwrap();
    machine.ledger.not_reconciled(&name, at(10 * MINUTE)).unwrap();
    let known = machine.ledger.reconciled().unwrap();
    assert_eq!((known[0].asked_at, known[0].answered_at), (at(10 * MINUTE), Some(at(0))));
    assert_eq!(machine.answer(20 * MINUTE, "main=b"), ["branch main b"]);
    // One that has never answered has told nothing that could be different.
    let mut machine = Machine::new();
    machine.ledger.not_reconciled(&name, at(0)).unwrap();
    assert_eq!(machine.answer(10 * MINUTE, "main=b"), [""; 0]);
}

#[test]
fn a_repository_is_due_when_its_time_has_come_or_the_clock_was_set_back() {
    let machine = Machine::new();
    let name: RepositoryName = "github.com/octo/shop".parse().unwrap();
    let is_due = |known: &[Reconciled], now: i64| !due(&machine.config, known, at(now)).is_empty();
    assert!(is_due(&[], 0));
    let known = [Reconciled { repository: name, asked_at: at(0), answered_at: None }];
    assert!(!is_due(&known, 9 * MINUTE) && is_due(&known, 10 * MINUTE - EARLY_MILLIS) && is_due(&known, -DAY));
}

#[test]
fn more_than_a_delivery_may_ask_for_is_for_the_next_time() {
    let mut machine = Machine::knowing("main=a");
    let many: Vec<String> = (0..700).map(|number| format!("b{number}=b")).collect();
    let text = format!("main=a {}", many.join(" "));
    assert_eq!(machine.answer(10 * MINUTE, &text).len(), 1000);
    assert_eq!(machine.answer(20 * MINUTE, &text).len(), 400);
    assert_eq!(machine.answer(30 * MINUTE, &text), [""; 0]);
}

#[test]
fn a_delivery_is_not_taken_for_one_that_was_lost_before_the_forge_was_seen_otherwise() {
    // No job leaves a trace of what lies between, but what the forge had on the ref does.
    let gone = "[[job]]\nname='gone'\nbuild='true'\nwhen={event='branch_deleted'}\nlane={on_new='queue'}\n";
    let mut machine = Machine::with(gone);
    machine.answer(0, "dev=b");
    assert_eq!(machine.answer(10 * MINUTE, ""), ["gone dev"]);
    machine.run_everything();
    assert_eq!(machine.answer(20 * MINUTE, "dev=b"), [""; 0]);
    assert_eq!(machine.deliver(25 * MINUTE, &told(Kind::BranchDeleted, "dev", Some('b'), None)), [new("gone dev")]);
    let site = "[[job]]\nname='site'\nbuild='true'\nwhen={event='branch_created'}\nlane={on_new='queue'}\n";
    let mut machine = Machine::with(site);
    machine.answer(0, "");
    assert_eq!(machine.answer(10 * MINUTE, "dev=b"), ["site dev b"]);
    machine.run_everything();
    assert_eq!(machine.answer(20 * MINUTE, ""), [""; 0]);
    assert_eq!(machine.deliver(25 * MINUTE, &push("dev", None, 'b')), [new("site dev b")]);
}
