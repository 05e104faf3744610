//! Deliveries that run again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use hookspool_tests::programs::{install, program};
use hookspool_tests::server::{Delivery, Server, Setup, entries, text, wait_for};
use nix::unistd::User;
use serde_json::{Value, json};

use crate::{JOBS, err, out, server, skipped};

#[test]
fn a_replayed_delivery_is_a_new_run_that_names_it_and_whoever_asked() {
    let (server, [pushed, _]) = server();
    let replayed = server.hookspool(&["replay", &pushed.id]);
    assert!(replayed.status.success(), "{}", err(&replayed));
    assert!(
        out(&replayed).starts_with("run 2: job tests of github.com/octo/shop  (push refs/heads/master "),
        "{}",
        out(&replayed)
    );
    assert!(out(&replayed).ends_with(")\nstarted by hookspool-worker pass\n"), "{}", out(&replayed));
    // By our id as well. Its pass starts what it made.
    let delivery = text(&server.show(1)["delivery"]);
    assert_eq!(server.json(&["replay", &delivery, "--json"])[0]["runs"][0]["run"], 3);
    for run in [2, 3] {
        server.wait_for_state(run, "succeeded");
    }
    server.settle();
    assert_eq!(server.written("ran").as_deref(), Some("ran\nran\nran"));
    let who = User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let (first, second) = (server.show(1), server.show(2));
    assert_eq!((&first["asked_by"], &second["asked_by"]), (&Value::Null, &json!(who)));
    assert_eq!((&second["delivery"], &second["sha"]), (&first["delivery"], &first["sha"]));
    let shown = out(&server.hookspool(&["show", "2"]));
    assert!(shown.contains(&format!("replayed by {who}\n")) && shown.contains(&delivery), "{shown}");
    let traced = out(&server.hookspool(&["trace", &pushed.id]));
    assert!(
        traced.contains(&format!("run 2: job `tests` queued, replayed by {who}"))
            && traced.contains("run 1: job `tests` queued\n"),
        "{traced}"
    );
    assert_eq!(server.json(&["deliveries", &pushed.id, "--json"])["runs"], json!([1, 2, 3]));
    // The forge's own redelivery is still a duplicate.
    assert_eq!(server.post(&pushed).text("status"), "duplicate");
}

#[test]
fn two_people_who_replay_at_once_get_a_run_each() {
    let (server, [pushed, _]) = server();
    let replay = || {
        let mut command = Command::new(program("hookspool"));
        command.args(["replay", &pushed.id, "--json", "--config"]).arg(server.config());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [replay(), replay()].map(|child| child.wait_with_output().unwrap());
    let mut runs = both.map(|output| {
        assert!(output.status.success(), "{}", err(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()[0]["runs"][0]["run"].as_i64().unwrap()
    });
    runs.sort_unstable();
    assert_eq!(runs, [2, 3]);
    server.settle();
    // They share a lane, so that the later one may have taken the place of the earlier.
    assert!(["succeeded", "superseded"].contains(&server.states()[1].as_str()), "{:?}", server.states());
    assert_eq!(server.states()[2], "succeeded");
}

#[test]
fn what_was_ignored_runs_once_the_configuration_wants_it() {
    let (server, [_, ignored]) = server();
    let replayed = server.hookspool(&["replay", &ignored.id]);
    assert_eq!(replayed.status.code(), Some(1));
    assert!(out(&replayed).contains("nothing to run for ") && out(&replayed).contains("does not fit"), "{}", out(&replayed));
    assert_eq!(server.runs().len(), 1);
    server.laptop.push("HEAD:refs/heads/develop");
    server.configure(Setup { jobs: &JOBS.replace("branch = \"master\"", "branch = \"*\""), ..Setup::default() });
    assert!(server.hookspool(&["replay", &ignored.id]).status.success());
    server.settle();
    assert_eq!(server.states(), ["succeeded", "succeeded"]);
    assert_eq!(server.show(2)["ref"], "refs/heads/develop");
}

#[test]
fn what_has_only_just_come_is_taken_over_before_it_is_replayed() {
    let server = Server::new(JOBS);
    let delivery = Delivery::push("master", &server.laptop.head());
    server.deliver(&delivery);
    let replayed = server.hookspool(&["replay", &delivery.id]);
    assert!(replayed.status.success(), "{}", err(&replayed));
    server.settle();
    let by: Vec<bool> = server.runs().iter().map(|run| run["asked_by"].is_string()).collect();
    assert_eq!(by, [false, true]);
}

#[test]
fn a_delivery_that_is_unknown_or_gone_is_refused_and_nothing_runs() {
    let (mut server, [pushed, ignored]) = server();
    // All or none.
    let refused = server.hookspool(&["replay", &pushed.id, "no-such-delivery"]);
    assert_eq!(
        (refused.status.code(), err(&refused).contains("there is no delivery no-such-delivery")),
        (Some(3), true),
        "{}",
        err(&refused)
    );
    server.tamper("DELETE FROM body WHERE seq = 2");
    let refused = server.hookspool(&["replay", &pushed.id, &ignored.id]);
    assert_eq!(
        (refused.status.code(), err(&refused).contains("were removed when their time was over")),
        (Some(1), true),
        "{}",
        err(&refused)
    );
    assert_eq!(server.hookspool(&["deliveries", &ignored.id, "--body"]).status.code(), Some(1));
    assert!(out(&server.hookspool(&["deliveries", &ignored.id])).contains("were removed when their time was over"));
    server.tamper("DELETE FROM delivery WHERE seq = 1");
    let refused = server.hookspool(&["replay", &pushed.id]);
    assert_eq!(
        (refused.status.code(), err(&refused).contains("was removed from the inbox")),
        (Some(1), true),
        "{}",
        err(&refused)
    );
    let both = "INSERT INTO delivery (id, source, provider_id, received_at, answer, reason, proposals)
        SELECT zeroblob(16), source, provider_id, received_at, answer, reason, proposals FROM delivery";
    server.tamper(both);
    let refused = server.hookspool(&["replay", &ignored.id]);
    assert_eq!(
        (refused.status.code(), err(&refused).contains("is the id of several deliveries")),
        (Some(1), true),
        "{}",
        err(&refused)
    );
    assert_eq!(server.runs().len(), 1);
}

#[test]
fn a_time_is_replayed_only_after_a_yes() {
    let (mut server, _) = server();
    let tag = Delivery::tag("v1", &server.laptop.head());
    server.laptop.push("HEAD:refs/tags/v1");
    server.deliver_and_settle(&tag);
    assert_eq!(server.hookspool(&["replay", "--since", "1h"]).status.code(), Some(2));
    assert_eq!(server.hookspool(&["replay"]).status.code(), Some(2));
    assert_eq!(server.runs().len(), 2);
    let replayed = server.hookspool(&["replay", "--since", "1h", "--yes"]);
    assert!(replayed.status.success(), "{}", err(&replayed));
    server.settle();
    let jobs: Vec<String> = server.runs().iter().map(|run| text(&run["job"])).collect();
    assert_eq!(jobs, ["tests", "image", "tests", "image"]);
    // What is gone is said, and the rest runs.
    server.tamper("DELETE FROM body WHERE seq = 1");
    let replayed = server.hookspool(&["replay", "--since", "1h", "--yes"]);
    assert_eq!((replayed.status.code(), err(&replayed).contains("cannot be replayed")), (Some(1), true), "{}", err(&replayed));
    server.settle();
    assert_eq!(server.runs().len(), 5);
}

#[test]
fn more_than_a_thousand_runs_are_not_made_at_once() {
    let (mut server, _) = server();
    // The first is there a thousand times more.
    server.tamper(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1000)
         INSERT INTO delivery (id, source, received_at, answer, proposals)
             SELECT randomblob(16), source, received_at, answer, proposals FROM number, delivery WHERE seq = 1;
         INSERT INTO body SELECT delivery.seq, headers, zstd FROM delivery, body WHERE delivery.seq > 2 AND body.seq = 1",
    );
    let refused = server.hookspool(&["replay", "--since", "1h", "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("more than 1000 runs at once; name a shorter time, or a --source"), "{}", err(&refused));
    assert_eq!(server.runs().len(), 1);
    // What runs nothing has no bound, and the help tells of it.
    let rehearsed = server.hookspool(&["replay", "--since", "1h", "--dry-run"]);
    assert!(out(&rehearsed).ends_with("1002 deliveries: 0 more to run, 0 not any more, 1001 unchanged\n"), "{}", out(&rehearsed));
    assert!(out(&server.hookspool(&["replay", "--help"])).contains("At most 1000 runs at once."));
}

#[test]
fn an_ordinary_user_replays_on_an_installation_of_their_own() {
    if skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let user = User::from_name("nobody").unwrap().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    install(folder.path());
    let hookspool = |words: &[&str]| {
        let mut command = Command::new(folder.path().join("hookspool"));
        command.args(words).uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/").env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TMPDIR", folder.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}{}", out(&output), err(&output));
        out(&output)
    };
    hookspool(&["demo", "--within", &folder.path().to_string_lossy()]);
    let demo = entries(folder.path()).into_iter().find(|path| path.to_string_lossy().contains("hookspool-demo-")).unwrap();
    let config = demo.join("etc/hookspool.toml").to_string_lossy().into_owned();
    let json =
        |words: &[&str]| serde_json::from_str::<Value>(&hookspool(&[words, &["--json", "--config", &config]].concat())).unwrap();
    let first = text(&json(&["deliveries"])[1]["delivery"]);
    let run = json(&["replay", &first])[0]["runs"][0]["run"].as_i64().unwrap();
    let over = || text(&json(&["show", &run.to_string()])["state"]);
    let state = wait_for("the run's end", || Some(over()).filter(|state| !["queued", "running"].contains(&state.as_str())));
    assert_eq!((run, state.as_str()), (3, "succeeded"));
    assert_eq!(json(&["show", "3"])["asked_by"], "nobody");
}
