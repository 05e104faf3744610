//! What a person does to runs: ends them, runs them again or by hand, holds lanes and lets them go on. And what only a person
//! may do.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use hookspool_tests::programs::program;
use hookspool_tests::server::{Delivery, Push, RECEIVER_USER, Server, Setup, is_root, kill_now, processes_with, text, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, getuid};

fn states(server: &Server) -> String {
    server.states().join(" ")
}

fn push(server: &Server, message: &str) -> String {
    let sha = server.laptop.push_commit("master", message);
    server.deliver(&Delivery::push("master", &sha));
    sha
}

/// Who these tests are, as `hookspool` names them.
fn me() -> String {
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| is_root() && !name.is_empty());
    by_sudo.unwrap_or_else(|| User::from_uid(getuid()).ok().flatten().expect("whoever runs this has a name").name)
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes its commit to `$OUT/began`, waits for `$OUT/go`, and always writes what it came to to `$OUT/ended`.
const WAITING: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nlane = { on_new = \"queue\" }\n\
    build = \"echo $HOOKSPOOL_SHA >>$OUT/began; while ! [ -e $OUT/go ]; do sleep 0.02; done\"\n\
    always = \"echo $HOOKSPOOL_OUTCOME >>$OUT/ended\"\n";

#[test]
fn what_runs_is_ended_and_what_waits_never_starts_and_both_say_who_wanted_it() {
    let server = Server::new(WAITING);
    for message in ["1", "2", "3"] {
        push(&server, message);
    }
    server.run_pass();
    server.wait_until_written("began");
    assert_eq!(states(&server), "running queued queued");
    let cancelled = server.json(&["cancel", "2", "1", "--json"]);
    let by = format!("cancelled by {}", me());
    let said: Vec<(String, String)> =
        cancelled.as_array().unwrap().iter().map(|run| (text(&run["state"]), text(&run["reason"]))).collect();
    assert_eq!(said, [("cancelled".to_owned(), by.clone()), ("cancelled".to_owned(), format!("build was ended: {by}"))]);
    assert_eq!(server.written("ended").as_deref(), Some("cancelled"));
    // The bystander has its turn, and nobody is told of what was not wanted.
    server.wait_for_state(3, "running");
    server.release("go");
    server.settle();
    assert_eq!(states(&server), "cancelled cancelled succeeded");
    assert_eq!(server.mails().len(), 1);
    let over = server.hookspool(&["cancel", "3"]);
    assert_eq!(over.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&over.stdout), "run 3 is over: it is succeeded\n");
    let unknown = server.hookspool(&["cancel", "99"]);
    assert_eq!((unknown.status.code(), err(&unknown).contains("there is no run 99")), (Some(3), true));
}

#[test]
fn a_runner_that_dies_after_it_was_asked_to_end_leaves_a_cancelled_run() {
    let server = Server::new(WAITING);
    push(&server, "1");
    server.run_pass();
    server.wait_until_written("began");
    let config = server.config().to_string_lossy().into_owned();
    let runner = processes_with(&[" runner ", &config])[0];
    // What is stopped cannot do what it is asked to.
    kill(Pid::from_raw(runner), Signal::SIGSTOP).unwrap();
    assert!(server.hookspool(&["cancel", "1", "--no-wait"]).status.success());
    kill_now(runner);
    server.settle();
    let reason = format!("cancelled by {}; the runner died while `build` ran", me());
    assert_eq!(server.outcome(1), ("cancelled".to_owned(), reason));
    assert_eq!((server.runs().len(), server.mails().len()), (1, 0));
}

#[test]
fn a_run_is_made_anew_at_its_own_commit_and_says_who_wanted_it() {
    let server = Server::new(
        "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"echo $HOOKSPOOL_SHA >>$OUT/ran; exit $(cat $OUT/exit)\"\n",
    );
    fs::write(server.out("exit"), "1").unwrap();
    let first = push(&server, "1");
    server.settle();
    let second = push(&server, "2");
    server.settle();
    fs::write(server.out("exit"), "0").unwrap();
    let rerun = server.json(&["rerun", "1", "--json"]);
    assert_eq!((&rerun["run"], &rerun["cause"], &rerun["asked_by"]), (&3.into(), &"rerun".into(), &me().into()));
    server.settle();
    assert_eq!(states(&server), "failed failed succeeded");
    assert_eq!(server.written("ran").unwrap().lines().collect::<Vec<_>>(), [&first, &second, &first]);
    let shown = server.show(1);
    assert_eq!((&shown["made_anew_as"][0], &server.show(3)["deliveries"]), (&3.into(), &shown["deliveries"]));
    let unknown = server.hookspool(&["rerun", "99"]);
    assert_eq!(unknown.status.code(), Some(3));
    // What the job does not run for any more does not run again.
    let shop = server.path().join("repositories/shop.toml");
    let changed = fs::read_to_string(&shop).unwrap().replace("event = \"push\"", "event = \"tag\"");
    fs::write(&shop, changed).unwrap();
    let refused = server.hookspool(&["rerun", "1"]);
    assert_eq!((refused.status.code(), server.runs().len()), (Some(1), 3));
    assert!(err(&refused).contains("the event is `push`, not `tag`"), "{}", err(&refused));
}

#[test]
fn any_job_runs_by_hand_in_the_lane_of_its_ref_whatever_it_runs_for() {
    let server = Server::new(&format!(
        "{}[[job]]\nname = \"release\"\nwhen = [{{ event = \"tag\" }}]\n\
         build = \"echo $HOOKSPOOL_EVENT_KIND $HOOKSPOOL_REF $HOOKSPOOL_SHA >$OUT/release\"\n",
        WAITING
    ));
    push(&server, "1");
    server.run_pass();
    server.wait_until_written("began");
    let head = server.laptop.push_commit("master", "2");
    let run = server.json(&["run", "tests", "--repository", "github.com/octo/shop", "--json"]);
    assert_eq!((&run["state"], &run["waiting"]), (&"queued".into(), &"waits for run 1 of its lane".into()));
    assert_eq!((&run["cause"], &run["asked_by"], &run["event"]), (&"manual".into(), &me().into(), &"manual".into()));
    // Nothing overlaps with the push's run of the same branch.
    assert_eq!(server.show(2)["waiting"], "waits for run 1 of its lane");
    server.release("go");
    server.settle();
    assert_eq!(server.written("began").unwrap().lines().last(), Some(&*head));
    let on_develop = server.laptop.push_commit("develop", "3");
    assert!(server.hookspool(&["run", "release", "--repository", "github.com/octo/shop", "--ref", "develop"]).status.success());
    server.settle();
    assert_eq!(server.written("release"), Some(format!("manual refs/heads/develop {on_develop}")));
    assert_eq!(states(&server), "succeeded succeeded succeeded");
    // By hand once, and once more.
    assert!(server.hookspool(&["rerun", "3"]).status.success());
    server.settle();
    assert_eq!((server.outcome(4).0, server.show(4)["sha"].clone()), ("succeeded".to_owned(), on_develop.into()));
    for (words, wanted) in [
        (["run", "relase", "--repository", "github.com/octo/shop", "--ref", "develop"], "there is no job `relase`"),
        (["run", "release", "--repository", "github.com/octo/shop", "--ref", "devlop"], "has no refs/heads/devlop"),
        (
            ["run", "release", "--repository", "github.com/octo/shp", "--ref", "develop"],
            "github.com/octo/shp is not in the configuration; its repositories are: github.com/octo/shop",
        ),
    ] {
        let refused = server.hookspool(&words);
        assert_eq!((refused.status.code(), server.runs().len()), (Some(1), 4));
        assert!(err(&refused).contains(wanted), "{}", err(&refused));
    }
}

#[test]
fn nobody_who_forges_a_run_by_hand_gets_one_nor_does_who_runs_it_again() {
    let mut server = Server::new("[[job]]\nname = \"release\"\nwhen = [{ event = \"push\" }]\nbuild = \"echo >>$OUT/ran\"\n");
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let forged = serde_json::json!([{
        "event": {
            "kind": "manual", "provider_event": "manual", "repository": "github.com/octo/shop",
            "ref": "refs/heads/master", "branch": "master",
        },
        "jobs": [{ "repository": "github.com/octo/shop", "job": "release" }],
    }]);
    server.tamper(&format!("UPDATE delivery SET proposals = '{forged}'"));
    server.settle();
    assert_eq!(server.outcome(1), ("refused".to_owned(), "no sender tells of a `manual`".to_owned()));
    let again = server.hookspool(&["rerun", "1"]);
    assert_eq!((again.status.code(), server.runs().len()), (Some(1), 1));
    assert!(err(&again).contains("run 1 cannot run again: no sender tells of a `manual`"), "{}", err(&again));
    server.settle();
    assert_eq!(server.written("ran"), None);
}

#[test]
fn a_lane_that_is_held_starts_nothing_and_says_who_holds_it_until_it_is_released() {
    let server = Server::with(Setup { jobs: WAITING, slots: 4, ..Setup::default() });
    server.release("go");
    push(&server, "1");
    server.settle();
    let held = server.hookspool(&["hold", "1", "--reason", "the database is being moved"]);
    assert!(held.status.success(), "{}", err(&held));
    let twice = server.hookspool(&["hold", "1"]);
    assert_eq!(twice.status.code(), Some(1));
    assert!(err(&twice).contains(&format!("it was held already, by {}", me())), "{}", err(&twice));
    push(&server, "2");
    server.deliver(&Delivery::push("develop", &server.laptop.push_commit("develop", "3")));
    server.run_pass();
    server.wait_for_state(3, "succeeded");
    assert_eq!(states(&server), "succeeded queued succeeded");
    let waiting = text(&server.show(2)["waiting"]);
    let wanted = format!("waits, because its lane is held by {} since ", me());
    assert!(waiting.starts_with(&wanted) && waiting.ends_with(": the database is being moved"), "{waiting}");
    let listed = String::from_utf8_lossy(&server.hookspool(&["runs"]).stdout).into_owned();
    assert!(listed.contains(&wanted), "{listed}");
    let holds = server.json(&["holds", "--json"]);
    let lane = text(&holds[0]["lane"]);
    assert_eq!((lane.as_str(), &holds[0]["waiting"][0]), ("github.com/octo/shop job tests refs/heads/master", &2.into()));
    let released = server.hookspool(&["release", "--lane", &lane]);
    assert!(released.status.success(), "{}", err(&released));
    // Its own pass starts what waited.
    server.wait_for_state(2, "succeeded");
    server.settle();
    assert_eq!(server.hookspool(&["release", "1"]).status.code(), Some(1));
    assert_eq!(server.hookspool(&["hold", "99"]).status.code(), Some(3));
    let mistyped = server.hookspool(&["hold", "--lane", "github.com/octo/shop job test refs/heads/master"]);
    let said = String::from_utf8_lossy(&mistyped.stdout).into_owned();
    assert!(said.ends_with("; no run was ever in it, as far as the ledger goes back\n"), "{said}");
    assert_eq!(server.hookspool(&["hold"]).status.code(), Some(2));
}

#[test]
fn runs_are_listed_by_state_repository_and_job() {
    let server = Server::new(
        "[[job]]\nname = \"good\"\nwhen = [{ event = \"push\" }]\nbuild = \"true\"\n\
         [[job]]\nname = \"bad\"\nwhen = [{ event = \"push\" }]\nbuild = \"exit 1\"\n",
    );
    push(&server, "1");
    server.settle();
    push(&server, "2");
    server.settle();
    let listed = |words: &[&str]| {
        let runs = server.json(&[&["runs", "--json"], words].concat());
        runs.as_array().unwrap().iter().map(|run| run["run"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--state", "failed"]), [4, 2]);
    assert_eq!(listed(&["--job", "good"]), [3, 1]);
    assert_eq!(listed(&["--job", "good", "--repository", "github.com/octo/shop", "--limit", "1"]), [3]);
    assert_eq!(listed(&["--repository", "github.com/octo/other"]), [0; 0]);
    for words in [
        &["runs", "--state", "faild"][..],
        &["runs", "--job", "no job"],
        &["runs", "--repository", "shop"],
        &["run", "no job", "--repository", "github.com/octo/shop"],
        &["schedule", "-n", "0"],
        &["show", "abc"],
    ] {
        let refused = server.hookspool(words);
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {}", err(&refused));
    }
}

#[test]
fn whoever_may_not_write_the_ledger_is_told_who_may() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let server = Server::new(WAITING);
    server.release("go");
    push(&server, "1");
    server.settle();
    let user = User::from_name(RECEIVER_USER).unwrap().unwrap();
    for words in [vec!["cancel", "1"], vec!["rerun", "1"], vec!["hold", "1"], vec!["release", "1"]] {
        let mut command = Command::new(program("hookspool"));
        command.args(&words).arg("--config").arg(server.config()).stdin(Stdio::null());
        let output = command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(err(&output).contains("only whoever runs the worker, mostly root, may change its runs"), "{}", err(&output));
    }
    assert_eq!(states(&server), "succeeded");
}

/// Deploys by writing its commit down.
fn deploying(lines: &str) -> String {
    format!(
        "[[job]]\nname = \"site\"\nwhen = [{{ event = \"push\" }}, {{ event = \"tag\" }}]\nlane = {{ on_new = \"queue\" }}\n\
         deploy = \"echo $HOOKSPOOL_SHA >>$OUT/deployed\"\n{lines}\n"
    )
}

#[test]
fn what_is_older_than_what_is_deployed_is_refused_until_a_person_wants_it() {
    let server = Server::new(&deploying(""));
    let old = server.laptop.push_commit("master", "1");
    let new = push(&server, "2");
    server.settle();
    // A delivery that was late.
    server.deliver_and_settle(&Delivery::push("master", &old));
    let (state, reason) = server.outcome(2);
    assert_eq!(state, "refused");
    let wanted = format!("commit {} is older than {}, which run 1 deployed", &old[..10], &new[..10]);
    assert_eq!(reason, wanted);
    assert_eq!(server.steps(2), [("checkout".to_owned(), "succeeded".to_owned())]);
    let shown = String::from_utf8_lossy(&server.hookspool(&["show", "2"]).stdout).into_owned();
    let command = format!("hookspool rerun 2 --allow-older --config {}", server.config().display());
    assert!(shown.contains(&format!("\nto deploy it all the same: {command}\n")), "{shown}");
    // The same commit again is no step back, nor is the same job elsewhere.
    server.deliver_and_settle(&Delivery::push("master", &new));
    server.laptop.git(&["push", "--quiet", "origin", &format!("{old}:refs/heads/develop")]);
    server.deliver_and_settle(&Delivery::push("develop", &old));
    assert_eq!(states(&server), "succeeded refused succeeded succeeded");
    assert!(server.hookspool(&["rerun", "2"]).status.success());
    server.settle();
    assert_eq!(server.outcome(5).0, "refused");
    assert!(server.hookspool(&["rerun", "2", "--allow-older"]).status.success());
    server.settle();
    assert_eq!(server.outcome(6).0, "succeeded");
    assert_eq!(server.written("deployed").unwrap().lines().collect::<Vec<_>>(), [&new, &new, &old, &old]);
    // What is deployed now is old, so that the newer is news.
    server.deliver_and_settle(&Delivery::push("master", &new));
    assert_eq!(server.outcome(7).0, "succeeded");
}

#[test]
fn all_tags_are_one_line_and_whoever_allows_it_goes_back() {
    let server = Server::new(&deploying(""));
    let tagged = |server: &Server, tag: &str, sha: &str| {
        server.laptop.git(&["push", "--quiet", "origin", &format!("{sha}:refs/tags/{tag}")]);
        server.deliver_and_settle(&Delivery::tag(tag, sha));
    };
    let old = server.laptop.head();
    let new = server.laptop.push_commit("master", "2");
    tagged(&server, "v2", &new);
    tagged(&server, "v1", &old);
    assert_eq!(states(&server), "succeeded refused");
    let by_hand = ["run", "site", "--repository", "github.com/octo/shop", "--ref", "refs/tags/v1"];
    assert!(server.hookspool(&by_hand).status.success());
    server.settle();
    assert!(server.hookspool(&[&by_hand[..], &["--allow-older"]].concat()).status.success());
    server.settle();
    assert_eq!(states(&server), "succeeded refused refused succeeded");
    let server = Server::new(&deploying("forward_only = false"));
    let old = server.laptop.head();
    let new = server.laptop.push_commit("master", "2");
    tagged(&server, "v2", &new);
    tagged(&server, "v1", &old);
    assert_eq!(states(&server), "succeeded succeeded");
}

#[test]
fn a_commit_that_is_gone_from_the_forge_keeps_nothing_from_being_deployed() {
    let server = Server::new(&deploying(""));
    let first = server.laptop.head();
    push(&server, "2");
    server.settle();
    // Somebody takes it back for good: no ref has it, and git forgets it.
    server.laptop.git(&["reset", "--quiet", "--hard", &first]);
    server.laptop.push("HEAD:refs/heads/master");
    let mirror = server.state("repos/github.com/octo/shop.git");
    let mirror = mirror.to_string_lossy();
    server.laptop.git(&["--git-dir", &mirror, "update-ref", "refs/heads/master", &first]);
    server.laptop.git(&["--git-dir", &mirror, "reflog", "expire", "--expire=now", "--all"]);
    server.laptop.git(&["--git-dir", &mirror, "gc", "--quiet", "--prune=now"]);
    server.deliver_and_settle(&Push { forced: true, ..Push::of("refs/heads/master", &first) }.into());
    assert_eq!(states(&server), "succeeded succeeded");
    let log = server.log(2);
    assert!(log.contains("whether this commit is older than the last that was deployed cannot be told"), "{log}");
    wait_for("its mail", || (server.mails().len() == 2).then_some(()));
}
