//! What becomes of runs that fail for reasons that pass, and of those whose runner dies: another attempt, or a lane that waits
//! for a person. Nobody is told of one story twice.

use std::fs;

use hookspool_tests::server::{Delivery, Server, Setup, kill_now, processes_with, wait_for};

fn states(server: &Server) -> String {
    server.states().join(" ")
}

fn push(server: &Server, message: &str) -> String {
    let sha = server.laptop.push_commit("master", message);
    server.deliver(&Delivery::push("master", &sha));
    sha
}

/// A job for pushes with these other lines.
fn job(lines: &str) -> String {
    format!("[[job]]\nname = \"tests\"\nwhen = [{{ event = \"push\" }}]\n{lines}\n")
}

/// Kills the one runner at work, once its step has written this many lines to `$OUT/began`; with it every pass.
fn kill_the_runner(server: &Server, lines: usize) {
    wait_for("the step", || server.written("began").filter(|began| began.lines().count() == lines));
    let config = server.config().to_string_lossy().into_owned();
    for word in [" runner ", " pass "] {
        processes_with(&[word, &config]).into_iter().for_each(kill_now);
    }
    wait_for("its end", || processes_with(&[" runner ", &config]).is_empty().then_some(()));
}

/// Writes its commit to `$OUT/began` and goes on when `$OUT/go` is there.
const WAITING: &str = "\"echo $HOOKSPOOL_SHA >>$OUT/began; while ! [ -e $OUT/go ]; do sleep 0.02; done\"";

#[test]
fn a_forge_that_cannot_be_reached_is_tried_again_and_told_of_once() {
    let server = Server::new(&job("build = \"true\"\nretry = { attempts = 3, on = [\"checkout\"], delay = \"1s\" }"));
    let away = server.path().join("away");
    push(&server, "1");
    fs::rename(server.laptop.forge(), &away).unwrap();
    server.run_pass();
    server.wait_for_state(1, "failed");
    let second = server.show(2);
    assert_eq!((&second["cause"], &second["origin"], &second["attempt"]), (&"retry".into(), &1.into(), &2.into()));
    assert!(second["waiting"].as_str().is_some_and(|waiting| waiting.starts_with("waits until ")), "{second}");
    assert_eq!(second["deliveries"], server.show(1)["deliveries"]);
    assert_eq!(server.show(1)["made_anew_as"][0], 2);
    fs::rename(&away, server.laptop.forge()).unwrap();
    server.settle();
    assert_eq!(states(&server), "failed succeeded");
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].subject().contains("tests succeeded on master"), "{}", mails[0].subject());
    assert!(mails[0].words().contains("Attempt 2, after run 1 "), "{}", mails[0].body);
}

#[test]
fn the_last_attempt_that_fails_is_told_of_and_no_other() {
    let server = Server::new(&job(
        "build = \"echo again >>$OUT/again; exit 3\"\nretry = { attempts = 3, on = [\"build\"], delay = \"1s\" }",
    ));
    push(&server, "1");
    server.settle();
    assert_eq!(states(&server), "failed failed failed");
    assert_eq!(server.written("again").unwrap().lines().count(), 3);
    let told: Vec<String> = server.mails().iter().map(|mail| mail.header("X-Hookspool-Run").to_owned()).collect();
    assert_eq!(told, ["3"]);
    // The story before was bad: what succeeds now is a mend, of which the attempts within are no part.
    fs::write(server.path().join("repositories/shop.toml"), {
        let text = fs::read_to_string(server.path().join("repositories/shop.toml")).unwrap();
        text.replace("exit 3", "exit 0")
    })
    .unwrap();
    push(&server, "2");
    server.settle();
    assert!(server.mails()[1].subject().contains("tests fixed on master"), "{}", server.mails()[1].subject());
}

#[test]
fn a_failed_test_is_not_tried_again_unless_its_job_says_so_and_what_takes_too_long_is() {
    let server = Server::new(&job("test = \"exit 1\"\nretry = { attempts = 3, delay = \"1s\" }"));
    push(&server, "1");
    server.settle();
    assert_eq!((states(&server).as_str(), server.mails().len()), ("failed", 1));
    let slow = "test = { run = \"if [ -e $OUT/once ]; then exit 0; fi; touch $OUT/once; exec sleep 1006\", timeout = \"1s\" }";
    let server = Server::new(&job(&format!("{slow}\nretry = {{ attempts = 3, delay = \"1s\" }}")));
    push(&server, "1");
    server.settle();
    assert_eq!((states(&server).as_str(), server.mails().len()), ("timed_out succeeded", 1));
}

#[test]
fn what_is_displaced_by_news_is_not_tried_again_and_in_a_queue_it_goes_first() {
    for (on_new, expected) in [("replace-queued", "failed failed"), ("queue", "failed failed failed failed")] {
        let build = WAITING.replace("done\"", "done; exit 1\"");
        let lane = format!("lane = {{ on_new = \"{on_new}\" }}");
        let retry = "retry = { attempts = 2, on = [\"build\"], delay = \"1s\" }";
        let server = Server::new(&job(&format!("build = {build}\n{retry}\n{lane}")));
        let first = push(&server, "1");
        server.run_pass();
        server.wait_until_written("began");
        let second = push(&server, "2");
        server.run_pass();
        assert_eq!(states(&server), "running queued");
        if on_new == "replace-queued" {
            // Only the newcomer is tried again, and it is displaced by nobody.
            fs::write(server.path().join("repositories/shop.toml"), {
                let text = fs::read_to_string(server.path().join("repositories/shop.toml")).unwrap();
                text.replace("exit 1", "[ -e $OUT/never ]")
            })
            .unwrap();
        }
        server.release("go");
        server.settle();
        let began = server.written("began").unwrap();
        let began: Vec<&str> = began.lines().collect();
        let told = server.mails().len();
        if on_new == "queue" {
            assert_eq!((states(&server).as_str(), told), (expected, 2));
            assert_eq!(began, [&first, &first, &second, &second]);
        } else {
            assert_eq!(began, [&first, &second, &second], "{}", states(&server));
            assert_eq!((states(&server).as_str(), told), ("failed failed failed", 2));
            assert_eq!(server.show(3)["origin"], 2);
        }
    }
}

#[test]
fn a_job_that_deploys_nothing_runs_anew_when_its_runner_died_and_after_three_it_waits_for_a_person() {
    let server = Server::new(&job(&format!("build = {WAITING}")));
    let sha = push(&server, "1");
    server.run_pass();
    kill_the_runner(&server, 1);
    server.run_pass();
    assert_eq!(server.outcome(1), ("interrupted".to_owned(), "the runner died while `build` ran".to_owned()));
    kill_the_runner(&server, 2);
    server.run_pass();
    assert_eq!((states(&server).as_str(), server.mails().len()), ("interrupted interrupted running", 0));
    kill_the_runner(&server, 3);
    server.run_pass();
    assert_eq!(states(&server), "interrupted interrupted interrupted");
    let holds = server.json(&["holds", "--json"]);
    let why = "run 3: the runner died while `build` ran, as did the 2 before it";
    assert_eq!((holds[0]["reason"].as_str(), &holds[0]["run"], &holds[0]["by"]), (Some(why), &3.into(), &().into()));
    let mails = server.mails();
    assert_eq!((mails.len(), mails[0].header("X-Hookspool-Run")), (1, "3"));
    for words in ["nothing more starts in its lane until you say so", "hookspool rerun 3", "hookspool release 3"] {
        assert!(mails[0].words().contains(words), "{}", mails[0].body);
    }
    // What comes now waits, and says why; a word of a person lets it go.
    server.release("go");
    let newer = push(&server, "2");
    server.run_pass();
    assert_eq!(states(&server), "interrupted interrupted interrupted queued");
    let waiting = server.show(4)["waiting"].as_str().unwrap().to_owned();
    assert!(waiting.starts_with("waits, because its lane is held since 20") && waiting.ends_with(why), "{waiting}");
    assert!(server.hookspool(&["release", "3"]).status.success());
    server.settle();
    assert_eq!(states(&server), "interrupted interrupted interrupted succeeded");
    assert_eq!(server.written("began").unwrap().lines().collect::<Vec<_>>(), [&sha, &sha, &sha, &newer]);
}

#[test]
fn a_deploy_whose_runner_died_holds_its_lane_until_a_person_runs_it_again_or_lets_go() {
    let bystander = "[[job]]\nname = \"other\"\nwhen = [{ event = \"push\" }]\nbuild = \"true\"\n";
    let server = Server::with(Setup {
        jobs: &format!("{}{bystander}", job(&format!("deploy = {WAITING}"))),
        slots: 4,
        ..Setup::default()
    });
    let first = push(&server, "1");
    server.run_pass();
    kill_the_runner(&server, 1);
    let second = push(&server, "2");
    server.release("go");
    server.run_pass();
    server.wait_for_state(4, "succeeded");
    let state_of = |run| server.outcome(run).0;
    assert_eq!([1, 3].map(state_of), ["interrupted", "queued"]);
    wait_for("the mail", || server.mails().iter().any(|mail| mail.header("X-Hookspool-Run") == "1").then_some(()));
    let rerun = server.json(&["rerun", "1", "--json"]);
    assert_eq!((&rerun["run"], &rerun["origin"], &rerun["sha"]), (&5.into(), &1.into(), &first.as_str().into()));
    server.settle();
    assert_eq!(server.json(&["holds", "--json"]), serde_json::json!([]));
    assert_eq!([1, 3, 5].map(state_of), ["interrupted", "succeeded", "succeeded"]);
    // It goes before what came after it, so that nothing old comes after something new.
    assert_eq!(server.written("began").unwrap().lines().collect::<Vec<_>>(), [&first, &first, &second]);
}

#[test]
fn a_crash_is_the_end_where_the_job_says_so_and_holds_the_lane_where_the_job_is_gone() {
    let server = Server::new(&job(&format!("build = {WAITING}\non_crash = \"fail\"")));
    push(&server, "1");
    server.run_pass();
    kill_the_runner(&server, 1);
    server.settle();
    assert_eq!((states(&server).as_str(), server.mails().len()), ("interrupted", 1));
    assert_eq!(server.json(&["holds", "--json"]), serde_json::json!([]));
    push(&server, "2");
    server.run_pass();
    kill_the_runner(&server, 2);
    server.configure(Setup {
        jobs: "[[job]]\nname = \"new\"\nwhen = [{ event = \"tag\" }]\nbuild = \"true\"\n",
        ..Setup::default()
    });
    server.settle();
    assert_eq!((states(&server).as_str(), server.mails().len()), ("interrupted interrupted", 2));
    let reason = server.json(&["holds", "--json"])[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("and its job is not in the configuration any more"), "{reason}");
    let again = server.hookspool(&["rerun", "2"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("job `tests` is not in"), "{again:?}");
}

#[test]
fn a_hold_by_hand_outlives_a_crash_in_its_lane_and_both_reasons_are_said() {
    let server = Server::with(Setup { jobs: &job(&format!("deploy = {WAITING}")), slots: 4, ..Setup::default() });
    push(&server, "1");
    server.run_pass();
    server.wait_until_written("began");
    assert!(server.hookspool(&["hold", "1", "--reason", "the database is being moved"]).status.success());
    kill_the_runner(&server, 1);
    server.settle();
    let holds = server.json(&["holds", "--json"]);
    let why = "the database is being moved; run 1: the runner died while `deploy` ran";
    assert_eq!((holds[0]["reason"].as_str(), &holds[0]["run"]), (Some(why), &1.into()), "{holds}");
    assert!(holds[0]["by"].is_string() && holds.as_array().unwrap().len() == 1, "{holds}");
    let shown = server.show(1);
    assert!(shown["held"].as_str().unwrap().ends_with(why), "{shown}");
    let mail = &server.mails()[0];
    assert!(mail.words().contains("had held it before: the database is being moved."), "{}", mail.body);
    assert!(mail.body.contains("  hookspool release 1 ") && !mail.body.contains("rerun"), "{}", mail.body);
    // The log does not just stop.
    let log = server.log(1);
    assert!(log.ends_with("\n[hookspool] run 1 interrupted: the runner died while `deploy` ran\n"), "{log}");
    // What is made anew waits as well, and whoever wants it is told so.
    let rerun = server.hookspool(&["rerun", "1"]);
    let said = String::from_utf8_lossy(&rerun.stdout).into_owned();
    assert!(rerun.status.success() && said.contains("\nit waits, because its lane is held by "), "{said}");
    assert!(!said.contains("started"), "{said}");
    assert_eq!(states(&server), "interrupted queued");
    server.release("go");
    assert!(server.hookspool(&["release", "1"]).status.success());
    server.settle();
    assert_eq!(states(&server), "interrupted succeeded");
}
