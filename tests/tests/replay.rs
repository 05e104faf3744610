//! What came in, seen again and run again, as the operator would: `hookspool deliveries` and `hookspool replay`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hookspool_tests::programs::{install, program};
use hookspool_tests::server::{Delivery, RECEIVER_USER, Server, Setup, entries, is_root, text};
use nix::unistd::User;
use serde_json::{Value, json};

const JOBS: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", branch = \"master\" }]\nbuild = \"echo ran >>$OUT/ran\"\n\
    [[job]]\nname = \"image\"\nwhen = [{ event = \"tag\", tag = \"v*\" }]\nbuild = \"true\"\n";

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server that has run a push to `master`, was told of one that nothing is to run for, and of a ping.
fn server() -> (Server, [Delivery; 2]) {
    let server = Server::new(JOBS);
    let sha = server.laptop.head();
    let pushed = Delivery::push("master", &sha);
    server.deliver_and_settle(&pushed);
    let ignored = Delivery::push("develop", &sha);
    assert_eq!(server.post(&ignored).status, 200);
    server.settle();
    (server, [pushed, ignored])
}

/// The server's configuration, changed, in a folder that the receiver's user cannot enter.
fn changed(server: &Server, name: &str, change: impl Fn(String) -> String) -> PathBuf {
    let folder = server.path().join(name);
    fs::create_dir_all(folder.join("repositories")).expect("a folder can be made");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    for file in ["hookspool.toml", "repositories/shop.toml"] {
        let text = fs::read_to_string(server.path().join(file)).expect("the configuration can be read");
        fs::write(folder.join(file), change(text)).expect("a configuration can be written");
    }
    folder.join("hookspool.toml")
}

/// The operator's program with another configuration than the server's.
fn hookspool(config: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program("hookspool"));
    command.args(words).arg("--config").arg(config).stdin(Stdio::null()).output().expect("hookspool can be started")
}

#[test]
fn what_came_in_is_listed_with_what_became_of_it() {
    let (server, [pushed, ignored]) = server();
    let listed = server.json(&["deliveries", "--json"]);
    let ids = |listed: &Value| listed.as_array().unwrap().iter().map(|one| text(&one["provider_id"])).collect::<Vec<_>>();
    assert_eq!(ids(&listed), [ignored.id.clone(), pushed.id.clone()]);
    let sha = &server.laptop.head()[..10];
    assert_eq!((&listed[0]["answer"], &listed[0]["runs"]), (&json!("ignored"), &json!([])));
    assert!(text(&listed[0]["reason"]).contains("branch \"develop\" does not fit"), "{listed}");
    assert_eq!(listed[0]["events"], json!([format!("push refs/heads/develop {sha}")]));
    assert_eq!((&listed[1]["answer"], &listed[1]["runs"], &listed[1]["reason"]), (&json!("accepted"), &json!([1]), &Value::Null));
    assert_eq!(listed[1]["jobs"], json!([{ "repository": "github.com/octo/shop", "job": "tests" }]));
    assert!(listed[1]["imported_at"].is_string(), "{listed}");
    for (words, expected) in [
        (vec!["-n", "1"], vec![&ignored.id]),
        (vec!["--answer", "accepted"], vec![&pushed.id]),
        (vec!["--answer", "ping"], vec![]),
        (vec!["--source", "github", "--since", "1h"], vec![&ignored.id, &pushed.id]),
        (vec!["--source", "another"], vec![]),
    ] {
        assert_eq!(
            ids(&server.json(&[&["deliveries", "--json"], words.as_slice()].concat())).iter().collect::<Vec<_>>(),
            expected
        );
    }
    let printed = out(&server.hookspool(&["deliveries"]));
    let line = printed.lines().find(|line| line.contains(&pushed.id)).unwrap();
    assert!(["accepted", "github", "push refs/heads/master", "  1  "].iter().all(|text| line.contains(text)), "{printed}");
    assert!(printed.lines().next().unwrap().starts_with("RECEIVED"), "{printed}");
    // What nobody has taken over yet is there, too.
    let late = server.deliver(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.json(&["deliveries", &late, "--json"])["imported_at"], Value::Null);
    assert!(out(&server.hookspool(&["deliveries"])).contains("not yet"));
    for wrong in [vec!["--answer", "maybe"], vec!["--since", "yesterday"], vec!["--body"], vec![&late, "-n", "3"]] {
        assert_eq!(server.hookspool(&[&["deliveries"], wrong.as_slice()].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn one_delivery_is_shown_with_its_headers_and_its_body_byte_for_byte() {
    let (server, [_, ignored]) = server();
    let shown = server.json(&["deliveries", &ignored.id, "--json"]);
    assert_eq!(shown["headers"]["x-github-event"], "push");
    assert!(shown["headers"].as_object().unwrap().keys().all(|name| !name.contains("signature")), "{shown}");
    assert_eq!(shown["events"][0]["branch"], "develop");
    assert_eq!(shown, server.json(&["deliveries", &text(&shown["delivery"]), "--json"]));
    let body = server.hookspool(&["deliveries", &ignored.id, "--body"]).stdout;
    assert_eq!(String::from_utf8(body).unwrap(), ignored.body.to_string());
    let printed = out(&server.hookspool(&["deliveries", &ignored.id]));
    for expected in ["answer ", "ignored", "  x-github-event: push", "\"full_name\": \"octo/shop\"", "push refs/heads/develop"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    // Into `explain`, under a configuration that wants it.
    let new = changed(&server, "new", |text| text.replace("branch = \"master\"", "branch = \"*\""));
    let script = format!(
        "{hookspool} deliveries {} --body --config {} | {hookspool} explain --source github --header 'X-GitHub-Event: push' --body - --config {}",
        ignored.id,
        server.config().display(),
        new.display(),
        hookspool = program("hookspool").display(),
    );
    let explained = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(out(&explained).contains("would run: job `tests`"), "{}{}", out(&explained), err(&explained));
    let unknown = server.hookspool(&["deliveries", "no-such-delivery"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", err(&unknown));
}

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
    assert_eq!((&first["replayed_by"], &second["replayed_by"]), (&Value::Null, &json!(who)));
    assert_eq!((&second["delivery"], &second["sha"]), (&first["delivery"], &first["sha"]));
    assert!(out(&server.hookspool(&["show", "2"])).contains(&format!("{who}, of delivery {delivery}")));
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
    let by: Vec<bool> = server.runs().iter().map(|run| run["replayed_by"].is_string()).collect();
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

/// What a dry run prints, and its status.
fn dry_run(config: &Path, words: &[&str]) -> (String, Option<i32>) {
    let output = hookspool(config, &[&["replay", "--dry-run"], words].concat());
    assert_eq!(err(&output), "");
    (out(&output), output.status.code())
}

#[test]
fn a_dry_run_says_what_a_new_configuration_would_run_and_what_it_would_not() {
    let (mut server, [pushed, ignored]) = server();
    let week = ["--since", "7d"];
    let (said, status) = dry_run(&server.config(), &week);
    assert_eq!((said.as_str(), status), ("2 deliveries: 0 more to run, 0 not any more, 1 unchanged\n", Some(0)));
    // Literally `replay --since 7d --config NEW --dry-run`.
    let new = changed(&server, "new", |text| {
        text.replace("name = \"tests\"", "name = \"check\"").replace("branch = \"master\"", "branch = \"*\"")
    });
    let words = ["replay", "--since", "7d", "--config", &new.to_string_lossy(), "--dry-run"];
    let output = Command::new(program("hookspool")).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let said = out(&output);
    let lines: Vec<&str> = said.lines().collect();
    let sha = &server.laptop.head()[..10];
    let is = |line: &str, mark: &str, job: &str, branch: &str, id: &str| {
        let delivery = text(&server.json(&["deliveries", id, "--json"])["delivery"]);
        line.starts_with(&format!("{mark} job {job} of github.com/octo/shop  (push refs/heads/{branch} {sha}, {delivery}, 20"))
    };
    assert!(is(lines[0], "-", "tests", "master", &pushed.id) && lines[0].contains("): job `tests` is not in "), "{said}");
    assert!(is(lines[1], "+", "check", "master", &pushed.id) && is(lines[2], "+", "check", "develop", &ignored.id), "{said}");
    assert_eq!(lines[3], "2 deliveries: 2 more to run, 1 not any more, 0 unchanged");
    let json: Value =
        serde_json::from_slice(&hookspool(&new, &["replay", "--since", "7d", "--dry-run", "--json"]).stdout).unwrap();
    assert_eq!((&json["added"], &json["removed"], &json["changes"][0]["change"]), (&json!(2), &json!(1), &json!("removed")));
    // Against another configuration, instead of what was asked for at the time.
    let against = new.to_string_lossy();
    assert_eq!(dry_run(&new, &["--since", "7d", "--against", &against]).1, Some(0));
    let (said, status) = dry_run(&server.config(), &["--since", "7d", "--against", &against]);
    assert!(said.contains("+ job tests") && said.contains("- job check") && status == Some(1), "{said}");
    // Named ones are shown also when nothing changes.
    let (said, status) = dry_run(&server.config(), &[&pushed.id]);
    assert!(said.starts_with("  job tests of github.com/octo/shop") && status == Some(0), "{said}");
    assert_eq!(dry_run(&new, &[&ignored.id]).1, Some(1));
    // Repositories and sources that are gone are named.
    let new = changed(&server, "moved", |text| text.replace("github.com/octo/shop", "github.com/octo/store"));
    assert!(dry_run(&new, &week).0.contains("): github.com/octo/shop is not in the configuration"), "{}", dry_run(&new, &week).0);
    let new = changed(&server, "renamed", |text| {
        text.replace("\"github\"\nprovider", "\"forge\"\nprovider").replace("source = \"github\"", "source = \"forge\"")
    });
    let (said, status) = dry_run(&new, &week);
    assert!(
        said.contains("): source `github` is gone\n")
            && said.contains("2 deliveries: to source `github`, which ")
            && status == Some(1),
        "{said}"
    );
    // What is gone with the time is said, and is no promise that nothing would change.
    server.tamper("DELETE FROM body WHERE seq = 1");
    let (said, status) = dry_run(&server.config(), &week);
    assert!(said.starts_with("? delivery ") && said.contains("it asked for tests when it came\n") && status == Some(1), "{said}");
    server.tamper("DELETE FROM delivery WHERE seq = 1");
    let (said, status) = dry_run(&server.config(), &week);
    assert!(said.starts_with("? what came before 20") && status == Some(1), "{said}");
    // Nothing of all that ran or was written.
    assert_eq!((server.runs().len(), server.written("ran").as_deref()), (1, Some("ran")));
}

/// Whether users cannot be kept apart here; says so.
fn skipped() -> bool {
    if !is_root() {
        println!("SKIPPED: needs root");
    }
    !is_root()
}

fn uid_of(user: &str) -> u32 {
    User::from_name(user).ok().flatten().expect("every Debian has this user").uid.as_raw()
}

#[test]
fn root_sees_and_replays_what_came_in_without_opening_the_inbox() {
    if skipped() {
        return;
    }
    let (server, [pushed, _]) = server();
    for (name, words) in [("listed", vec!["deliveries"]), ("replayed", vec!["replay", &pushed.id])] {
        let trace = server.path().join(name);
        let mut command = Command::new("strace");
        // One file a process, so that what comes after a change of user is what follows it there.
        command.args(["-ff", "-qq", "-y", "-e", "trace=%file,setuid,setgroups,setgid,setsid,execve", "-o"]).arg(&trace);
        command.arg(program("hookspool")).args(&words).arg("--config").arg(server.config()).stdin(Stdio::null());
        let output = match command.output() {
            Ok(output) if output.status.success() => output,
            other => return println!("SKIPPED: strace cannot be run here: {other:?}"),
        };
        assert!(out(&output).contains("push refs/heads/master"), "{}", out(&output));
        let spool = server.spool().join("inbox.db").to_string_lossy().into_owned();
        let mut readers = 0;
        for process in entries(server.path()).iter().filter(|path| path.to_string_lossy().contains(&format!("/{name}."))) {
            let calls = fs::read_to_string(process).unwrap();
            let place = |is: &dyn Fn(&str) -> bool| calls.lines().position(is);
            // The reader is told the spool's name; only opening what lies in it counts.
            let Some(touched) = place(&|call| call.contains(&spool) && !call.starts_with("execve")) else { continue };
            readers += 1;
            let dropped =
                place(&|call| call.starts_with(&format!("setuid({})", uid_of(RECEIVER_USER))) && call.ends_with(" = 0"));
            assert!(dropped.is_some_and(|dropped| dropped < touched), "{}", calls.lines().nth(touched).unwrap());
            let groups = place(&|call| call.starts_with("setgroups(0, ") && call.ends_with(" = 0"));
            assert!(groups.is_some() && groups < dropped, "{calls}");
            let session = place(&|call| call.starts_with("setsid()"));
            let executed = place(&|call| call.starts_with("execve"));
            assert!(session.is_some() && session < executed, "{calls}");
        }
        assert!(readers > 0, "no process looked into the inbox at all");
    }
    server.settle();
    assert_eq!(server.states(), ["succeeded", "succeeded"]);
}

#[test]
fn what_was_planted_in_the_inbox_does_nothing_as_root_and_says_nothing_to_the_terminal() {
    if skipped() {
        return;
    }
    let (mut server, [pushed, _]) = server();
    let mut sql = "CREATE TABLE trap (uid TEXT);".to_owned();
    for table in ["inbox", "delivery", "body"] {
        for event in ["INSERT", "UPDATE", "DELETE"] {
            sql.push_str(&format!(
                "CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN INSERT INTO trap VALUES ('{table}'); \
                 SELECT load_extension('/tmp/evil.so'); END;"
            ));
        }
    }
    server.tamper(&sql);
    let inbox = server.spool().join("inbox.db");
    let before = fs::read(&inbox).unwrap();
    assert!(out(&server.hookspool(&["deliveries"])).contains(&pushed.id));
    assert!(server.hookspool(&["replay", &pushed.id]).status.success());
    server.settle();
    assert_eq!(fs::read(&inbox).unwrap(), before);
    for file in entries(&server.spool()) {
        assert_eq!(fs::metadata(&file).unwrap().uid(), uid_of(RECEIVER_USER), "root made {}", file.display());
    }
    // Text that a terminal would obey, in a column, in a header, in a body, and in SQLite's own complaint.
    server.tamper("DROP TRIGGER delivery_UPDATE; UPDATE delivery SET reason = 'x' || char(27) || '[2J', provider_id = 'p' || char(27) WHERE seq = 2");
    for words in [vec!["deliveries"], vec!["deliveries", "p\u{1b}"], vec!["replay", "--since", "1h", "--dry-run"]] {
        let printed = server.hookspool(&words);
        assert!(
            !printed.stdout.contains(&27) && !printed.stderr.contains(&27) && printed.status.success(),
            "{words:?}: {printed:?}"
        );
    }
    let evil = server.out("evil");
    fs::write(&evil, "not a library").unwrap();
    server.tamper(&format!(
        "DROP TRIGGER delivery_INSERT; DROP TRIGGER delivery_DELETE; ALTER TABLE delivery RENAME TO kept;\n\
         CREATE VIEW delivery AS SELECT seq, id, source, load_extension('{}') AS provider_id, received_at, answer, reason, proposals FROM kept;",
        evil.display()
    ));
    let refused = server.hookspool(&["deliveries"]);
    assert_eq!((refused.status.code(), err(&refused).contains("cannot read the inbox")), (Some(1), true), "{}", err(&refused));
}

#[test]
fn whoever_may_not_read_the_inbox_is_told_so() {
    if skipped() {
        return;
    }
    let (server, [pushed, _]) = server();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    install(folder.path());
    for words in [vec!["deliveries"], vec!["replay", &pushed.id]] {
        let mut command = Command::new(folder.path().join("hookspool"));
        command.args(&words).arg("--config").arg(server.config()).uid(uid_of("bin")).gid(uid_of("bin"));
        let refused = command.output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains("it is the receiver's and root's"), "{}", err(&refused));
    }
    // The receiver's user may see what came, and not what became of it; and makes no runs.
    let mut command = Command::new(folder.path().join("hookspool"));
    let as_receiver = command.uid(uid_of(RECEIVER_USER)).gid(User::from_name(RECEIVER_USER).unwrap().unwrap().gid.as_raw());
    let listed = as_receiver.args(["deliveries", "--config"]).arg(server.config()).output().unwrap();
    assert!(out(&listed).contains(&pushed.id) && err(&listed).contains("what became of them is not shown"), "{listed:?}");
    let mut command = Command::new(folder.path().join("hookspool"));
    let as_receiver = command.uid(uid_of(RECEIVER_USER)).gid(User::from_name(RECEIVER_USER).unwrap().unwrap().gid.as_raw());
    let refused = as_receiver.args(["replay", &pushed.id, "--config"]).arg(server.config()).output().unwrap();
    assert_eq!(
        (refused.status.code(), err(&refused).contains("belongs to whoever runs the worker")),
        (Some(1), true),
        "{refused:?}"
    );
    assert_eq!(server.runs().len(), 1);
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
    let state = hookspool_tests::server::wait_for("the run's end", || {
        Some(over()).filter(|state| !["queued", "running"].contains(&state.as_str()))
    });
    assert_eq!((run, state.as_str()), (3, "succeeded"));
    assert_eq!(json(&["show", "3"])["replayed_by"], "nobody");
}
