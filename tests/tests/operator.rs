//! The operator's program, as a person or a script would use it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hookspool_tests::programs::{install, program, workspace};
use hookspool_tests::server::{Delivery, Server, Setup, is_root, text, wait_for};
use nix::unistd::User;
use rusqlite::Connection;
use serde_json::Value;

const JOBS: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", branch = [\"master\", \"release/*\"] }]\nbuild = \"echo built; exit 3\"\n\
    [[job]]\nname = \"image\"\nwhen = [{ event = \"tag\", tag = \"v*\" }]\nbuild = \"true\"\n";

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn hookspool(words: &[&str]) -> Output {
    Command::new(program("hookspool")).args(words).stdin(Stdio::null()).output().expect("hookspool can be started")
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[test]
fn check_finds_the_shipped_example_good() {
    let example = workspace().join("docs/examples/hookspool.toml");
    let checked = hookspool(&["check", "--config", &example.to_string_lossy()]);
    assert!(checked.status.success(), "{}", err(&checked));
    assert!(out(&checked).contains(": good ("), "{}", out(&checked));
}

#[test]
fn check_says_what_is_good_and_what_this_machine_lacks() {
    let server = Server::new(JOBS);
    let checked = server.hookspool(&["check"]);
    assert!(checked.status.success());
    assert!(out(&checked).ends_with("good (sources: 1, repositories: 1, jobs: 2)\n"), "{}", out(&checked));
    server.configure(Setup {
        jobs: &JOBS.replace("build = \"true\"", "build = \"true\"\nsecrets = [\"TOKEN\"]"),
        ..Setup::default()
    });
    let checked = server.hookspool(&["check"]);
    assert!(checked.status.success() && err(&checked).contains("warning: secret `TOKEN` is absent"), "{}", err(&checked));
    assert_eq!(server.hookspool(&["check", "--strict"]).status.code(), Some(4));
    let json = server.json(&["check", "--json"]);
    assert_eq!((json["errors"].as_array().map(Vec::len), keys(&json)), (Some(0), vec!["errors", "warnings"]));
}

#[test]
fn check_shows_every_error_at_once_with_its_place_and_starts_nothing() {
    let server = Server::new(JOBS);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let good = fs::read_to_string(server.config()).unwrap();
    fs::write(
        server.config(),
        good.replace("slots = 2", "slots = \"two\"").replace("provider = \"github\"", "provider = \"githib\""),
    )
    .unwrap();
    let file = server.path().join("repositories/shop.toml");
    let jobs = fs::read_to_string(&file).unwrap();
    fs::write(&file, jobs.replace("event = \"tag\"", "event = \"tags\"")).unwrap();
    let checked = server.hookspool(&["check"]);
    assert_eq!(checked.status.code(), Some(4));
    let said = err(&checked);
    // File, line and column, the line itself, and what to write instead.
    for (path, line, excerpt, help) in [
        (server.config(), "slots = \"two\"", "\"two\"", ""),
        (server.config(), "provider = \"githib\"", "githib", "github"),
        (file.clone(), "event = \"tags\"", "tags", "tag"),
    ] {
        let text = fs::read_to_string(&path).unwrap();
        let number = text.lines().position(|known| known.contains(line)).unwrap() + 1;
        assert!(said.contains(&format!("{}:{number}:", path.display())), "{line}: {said}");
        assert!(said.contains(line) && said.contains(excerpt) && said.contains(help), "{line}: {said}");
    }
    assert!(said.contains("3 errors in the configuration"), "{said}");
    let json: Value = serde_json::from_slice(&server.hookspool(&["check", "--json"]).stdout).unwrap();
    assert_eq!(json["errors"].as_array().unwrap().len(), 3);
    for error in json["errors"].as_array().unwrap() {
        assert_eq!(keys(error), ["column", "file", "help", "line", "message"]);
        assert!(error["line"].as_u64() > Some(0) && error["column"].as_u64() > Some(0), "{error}");
    }
    // Neither the worker nor the receiver goes on with half of a configuration, and nothing is lost meanwhile.
    assert_eq!(server.pass_command().status().unwrap().code(), Some(4));
    assert_eq!(server.hookspool(&["runs"]).status.code(), Some(4));
    fs::write(server.config(), good).unwrap();
    fs::write(&file, jobs).unwrap();
    server.settle();
    assert_eq!(server.states(), ["failed"]);
}

#[test]
fn send_reaches_the_receiver_with_a_ping_and_with_a_push_that_runs() {
    let server = Server::new(JOBS);
    let url = server.url();
    let ping = server.hookspool(&["send", "--source", "github", "--url", &url]);
    assert!(ping.status.success() && out(&ping).starts_with("200 "), "{}{}", out(&ping), err(&ping));
    let sha = server.laptop.push_commit("master", "To be told of");
    let words =
        ["send", "--repository", "github.com/octo/shop", "--ref", "master", "--url", &url, "--pusher", "mona@example.org"];
    let sent = server.hookspool(&words);
    assert!(sent.status.success() && out(&sent).starts_with("202 "), "{}{}", out(&sent), err(&sent));
    server.settle();
    let runs = server.runs();
    assert_eq!((runs.len(), text(&runs[0]["sha"]), text(&runs[0]["state"])), (1, sha, "failed".to_owned()));
    assert_eq!(server.mails()[0].header("To"), "mona@example.org");
    // A wrong secret is told as such, by status and by exit code.
    let webhook = server.path().join("secrets/receiver/webhook");
    let _ = fs::remove_file(&webhook);
    fs::write(&webhook, "another").unwrap();
    let refused = server.hookspool(&["send", "--source", "github", "--url", &url]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(out(&refused).starts_with("401 "), "{}", out(&refused));
}

#[test]
fn a_delivery_can_be_followed_from_its_arrival_to_its_mail() {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    let delivery = Delivery::push("master", &sha);
    let id = server.deliver_and_settle(&delivery);
    let runs = server.runs();
    let mut of_a_run = vec![
        "run",
        "state",
        "reason",
        "repository",
        "job",
        "ref",
        "sha",
        "event",
        "delivery",
        "cause",
        "asked_by",
        "origin",
        "attempt",
    ];
    of_a_run.extend(["lane", "priority", "not_before", "allow_older", "waiting"]);
    of_a_run.extend(["queued_at", "started_at", "ended_at", "duration_ms"]);
    of_a_run.sort_unstable();
    assert_eq!(keys(&runs[0]), of_a_run);
    let shown = server.show(1);
    for key in of_a_run.iter().filter(|key| **key != "event").chain(&["steps", "deliveries", "mails", "made_anew_as", "log"]) {
        assert!(shown.get(key).is_some(), "{key}: {shown}");
    }
    assert_eq!(keys(&shown["steps"][0]), ["duration_ms", "ended_at", "exit_status", "limit", "result", "started_at", "step"]);
    assert_eq!(shown["mails"][0]["state"], "sent");
    assert_eq!(shown["mails"][0]["message_id"], server.mails()[0].header("Message-ID"));
    // By the receiver's id and by GitHub's.
    let traced = server.json(&["trace", &id, "--json"]);
    assert_eq!(traced, server.json(&["trace", &delivery.id, "--json"]));
    assert_eq!((text(&traced[0]["provider_id"]), &traced[0]["runs"][0]), (delivery.id.clone(), &shown));
    let timeline = traced[0]["timeline"].as_array().unwrap();
    let said: Vec<String> = timeline.iter().map(|line| text(&line["what"])).collect();
    for (place, what) in [(0, "answered 202"), (1, "taken over"), (2, "queued"), (3, "claimed")] {
        assert!(said[place].contains(what), "{said:#?}");
    }
    assert!(said.iter().any(|what| what.contains("build exited with status 3")), "{said:#?}");
    assert!(said.last().unwrap().contains(server.mails()[0].header("Message-ID")), "{said:#?}");
    let times: Vec<String> = timeline.iter().map(|line| text(&line["at"])).collect();
    assert!(times.is_sorted() && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    // The same for people.
    for (words, expected) in [
        (vec!["runs"], vec!["RUN", "failed", "octo/shop", "master", &sha[..10]]),
        (vec!["runs", "--state", "failed"], vec!["octo/shop"]),
        (vec!["runs", "--state", "succeeded"], vec!["no runs"]),
        (vec!["show", "1"], vec!["exited with status 3", &sha, &delivery.id, "mona@example.org"]),
        (vec!["log", "1"], vec!["\nbuilt\n"]),
        (vec!["trace", &delivery.id], vec!["answered 202", "build exited with status 3"]),
    ] {
        let printed = out(&server.hookspool(&words));
        assert!(expected.iter().all(|text| printed.contains(text)), "{words:?}: {printed}");
    }
}

#[test]
fn a_log_is_followed_until_its_run_ends() {
    let server = Server::new(
        "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\n\
         build = \"echo first; while ! [ -e $OUT/go ]; do sleep 0.02; done; echo last; exit 1\"\n",
    );
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    let printed = server.path().join("followed");
    let mut command = Command::new(program("hookspool"));
    command.args(["log", "-f", "1", "--config"]).arg(server.config()).stdout(File::create(&printed).unwrap());
    let mut follower = command.spawn().unwrap();
    let read = || {
        let mut text = String::new();
        File::open(&printed).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    wait_for("the first line", || read().contains("\nfirst\n").then_some(()));
    assert!(follower.try_wait().unwrap().is_none() && !read().contains("\nlast\n"));
    server.release("go");
    assert!(follower.wait().unwrap().success());
    assert!(read().contains("\nfirst\nlast\n") && read().ends_with("run 1 failed: build exited with status 1\n"), "{}", read());
    server.settle();
    assert_eq!(read(), server.log(1));
}

#[test]
fn every_exit_code_is_the_documented_one() {
    let server = Server::new(JOBS);
    // Before any pass has run there is nothing to find, and that is no failure.
    assert_eq!((server.runs().len(), server.hookspool(&["show", "1"]).status.code()), (0, Some(3)));
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    for (words, code) in [
        (vec!["runs"], 0),
        (vec!["runs", "--state", "no-such-state"], 2),
        (vec!["runs", "--no-such-option"], 2),
        (vec!["no-such-command"], 2),
        (vec!["show"], 2),
        (vec!["show", "one"], 2),
        (vec!["show", "2"], 3),
        (vec!["log", "2"], 3),
        (vec!["trace", "no-such-delivery"], 3),
        (vec!["send", "--source", "no-such-source"], 1),
        (vec!["--help"], 0),
    ] {
        let output = server.hookspool(&words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", err(&output));
        // Whoever gets anything but 0 is told why.
        assert_eq!(err(&output).is_empty(), code == 0, "{words:?}: {}", err(&output));
    }
    assert!(out(&hookspool(&["--help"])).contains("3  there is no such run or delivery"));
    assert_eq!(hookspool(&["runs", "--config", "/no/such/hookspool.toml"]).status.code(), Some(4));
    // Whoever reads only the beginning has not failed.
    let script = format!("{} runs --config {} | head -n 0", program("hookspool").display(), server.config().display());
    let piped = Command::new("bash").args(["-c", &format!("set -o pipefail; {script}")]).output().unwrap();
    assert!(piped.status.success() && err(&piped).is_empty(), "{}", err(&piped));
}

#[test]
fn a_ledger_that_an_older_version_left_is_named_with_what_brings_it_up_to_date() {
    let server = Server::new(JOBS);
    server.run_pass();
    let ledger = server.state("ledger.db");
    Connection::open(&ledger).unwrap().pragma_update(None, "user_version", 1).unwrap();
    let refused = server.hookspool(&["runs"]);
    let remedy = format!("cannot read the ledger: {} is of an older Hookspool; run `hookspool-worker pass`", ledger.display());
    assert!(refused.status.code() == Some(1) && err(&refused).contains(&remedy), "{}", err(&refused));
}

/// Runs the demo, and looks at everything that it says it observed. `become_user` makes whoever runs it.
fn assert_demo(program: &Path, within: &Path, become_user: impl Fn(&mut Command)) {
    let mut command = Command::new(program);
    become_user(&mut command);
    let output = command.args(["demo", "--within"]).arg(within).stdin(Stdio::null()).output().expect("the demo can be started");
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    assert_eq!(err(&output), "");
    let said = out(&output);
    for text in [
        "the receiver answers 202 {\"status\":\"accepted\"",
        "the deploy changed site/index.html",
        "the deploy was not run",
        "the receiver answers 200 {\"status\":\"duplicate\"",
        "the receiver answers 401 ",
        "FAIL: the page sells nothing",
        "All of it was observed.",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    // The commands that it names at its end work on what it left there.
    let commands: Vec<&str> = said.lines().filter(|line| line.contains(" --config ") && line.starts_with("  /")).collect();
    assert_eq!(commands.len(), 4, "{said}");
    for line in commands {
        let mut shell = Command::new("sh");
        become_user(&mut shell);
        let shown = shell.args(["-c", line]).output().expect("a shell can be started");
        assert!(shown.status.success() && !shown.stdout.is_empty(), "{line}: {}", err(&shown));
    }
}

#[test]
fn the_demo_works_for_whoever_runs_this() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_demo(&program("hookspool"), folder.path(), |_| {});
}

#[test]
fn the_demo_works_for_nobody() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    // Somewhere that user can execute from, and write to.
    let folder = tempfile::tempdir().unwrap();
    let user = User::from_name("nobody").unwrap().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    install(folder.path());
    assert_demo(&folder.path().join("hookspool"), folder.path(), |command| {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/").env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TMPDIR", folder.path());
    });
}
