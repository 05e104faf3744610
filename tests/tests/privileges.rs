//! What the receiver's user and a job's user cannot do, although root takes their work over: planted and forged
//! inboxes, the importer's and the steps' rights.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use hookspool_tests::server::{
    BUILD_USER, Delivery, RECEIVER_USER, Server, Setup, entries, is_root, processes_with, text, wait_for,
};
use nix::unistd::{User, getgrouplist};
use rusqlite::Connection;
use serde_json::{Value, json};

const JOB: &str =
    "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", branch = \"master\" }]\nbuild = \"echo ran >>$OUT/ran\"\n";

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
fn a_planted_trigger_does_nothing_as_root() {
    if skipped() {
        return;
    }
    let mut server = Server::new(JOB);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    // Whoever writes to any of the tables, or reads `watched`, does more than they know.
    let mut sql = "CREATE TABLE trap (uid TEXT);".to_owned();
    for table in ["inbox", "delivery", "body", "seen_lately", "seen_run", "seen_earlier"] {
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
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
    assert_eq!(fs::read(&inbox).unwrap(), before);
    for file in entries(&server.spool()) {
        assert_eq!(fs::metadata(&file).unwrap().uid(), uid_of(RECEIVER_USER), "root made {}", file.display());
    }
}

#[test]
fn a_planted_view_in_place_of_the_deliveries_does_nothing_as_root() {
    if skipped() {
        return;
    }
    let mut server = Server::new(JOB);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let evil = server.out("evil");
    fs::write(&evil, "not a library").unwrap();
    server.tamper(&format!(
        "ALTER TABLE delivery RENAME TO kept;\n\
             CREATE VIEW delivery AS SELECT seq, id, source, load_extension('{}') AS provider_id, received_at, answer, reason, \
             proposals FROM kept;",
        evil.display()
    ));
    // The importer fails, unprivileged, and says why; nothing is lost, and the rest of the pass goes on.
    let status = server.pass_command().status().unwrap();
    assert!(!status.success());
    assert!(server.worker_log().contains("the importer failed"), "{}", server.worker_log());
    assert!(server.runs().is_empty());
    server.tamper("DROP VIEW delivery; ALTER TABLE kept RENAME TO delivery;");
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
}

/// Writes a delivery with these proposals straight into the inbox, as the receiver's user could.
fn forge(server: &mut Server, source: &str, proposals: &Value) {
    let id: String = (0..16).map(|_| "ab").collect();
    let proposals = proposals.to_string().replace('\'', "''");
    let sql = format!(
        "INSERT INTO delivery (id, source, provider_id, received_at, answer, reason, proposals) \
         VALUES (x'{id}', '{source}', 'forged', 1, 'accepted', NULL, '{proposals}');"
    );
    server.tamper(&sql);
}

fn event(sha: &str) -> Value {
    json!({
        "kind": "push", "provider_event": "push", "repository": "github.com/octo/shop", "ref": "refs/heads/master",
        "branch": "master", "sha": sha,
    })
}

fn asked(repository: &str, job: &str) -> Value {
    json!([{ "repository": repository, "job": job }])
}

#[test]
fn a_forged_record_runs_only_what_root_configured() {
    if skipped() {
        return;
    }
    let forged = |source: &str, proposals: &dyn Fn(&str) -> Value| {
        let mut server = Server::new(JOB);
        let sha = server.laptop.head();
        forge(&mut server, source, &proposals(&sha));
        server.settle();
        server
    };
    // The worst that it can do: a configured job on a commit that the forge has.
    let server = forged("github", &|sha| json!([{ "event": event(sha), "jobs": asked("github.com/octo/shop", "tests") }]));
    assert_eq!(server.states(), ["succeeded"]);
    // A job, a repository or a source that root did not configure.
    for (source, repository, job, why) in [
        ("github", "github.com/octo/shop", "deploy", "job `deploy` is not in "),
        ("github", "github.com/evil/x", "tests", "github.com/evil/x is not in the configuration"),
        ("other", "github.com/octo/shop", "tests", "source `other`"),
    ] {
        let server = forged(source, &|sha| json!([{ "event": event(sha), "jobs": asked(repository, job) }]));
        assert_eq!(server.states(), ["refused"]);
        assert!(server.outcome(1).1.contains(why), "{}", server.outcome(1).1);
        assert_eq!(server.written("ran"), None);
    }
    // A commit that the branch does not have, and a branch that the job does not want under the name of one that it does.
    let server = forged(
        "github",
        &|_| json!([{ "event": event("1234567890123456789012345678901234567890"), "jobs": asked("github.com/octo/shop", "tests") }]),
    );
    assert_eq!((server.states().join(""), server.written("ran")), ("refused".to_owned(), None));
    let server = forged("github", &|sha| {
        let mut event = event(sha);
        event["ref"] = "refs/heads/evil".into();
        json!([{ "event": event, "jobs": asked("github.com/octo/shop", "tests") }])
    });
    assert_eq!((server.states().join(""), server.written("ran")), ("refused".to_owned(), None));
    // A stranger's request under the name of a push, which is at a branch, or of a check, which need not be: what is on
    // no branch is a fork's, whatever the event calls itself.
    for (kind, why) in [("push", "a `push` cannot be at refs/pull/8/head"), ("check", "the changes come from a fork")] {
        let job = format!("[[job]]\nname = \"tests\"\nwhen = {{ event = \"{kind}\" }}\nbuild = \"touch $OUT/ran\"\n");
        let mut server = Server::new(&job);
        let sha = server.laptop.commit("From a fork");
        server.laptop.push("HEAD:refs/pull/8/head");
        let mut told = event(&sha);
        told["kind"] = kind.into();
        told["ref"] = "refs/pull/8/head".into();
        told.as_object_mut().unwrap().remove("branch");
        forge(&mut server, "github", &json!([{ "event": told, "jobs": asked("github.com/octo/shop", "tests") }]));
        server.settle();
        assert!(server.outcome(1).1.contains(why), "{:?}", server.outcome(1));
        assert_eq!(server.written("ran"), None);
    }
}

#[test]
fn a_forged_record_of_mebibytes_leaves_kilobytes_in_the_ledger() {
    if skipped() {
        return;
    }
    let mut server = Server::new(JOB);
    let sha = server.laptop.head();
    let mut told = event(&sha);
    told["commits"] = json!([{ "sha": sha, "message": "x".repeat(8 * 1024 * 1024), "paths": ["y".repeat(8 * 1024 * 1024)] }]);
    let mut jobs = vec![json!({ "repository": "github.com/octo/shop", "job": "tests" }); 500];
    jobs.extend((0..499).map(|number| json!({ "repository": "github.com/octo/shop", "job": format!("evil-{number}") })));
    forge(&mut server, "github", &json!([{ "event": told, "jobs": jobs }]));
    server.settle();
    let ran = server.written("ran");
    assert_eq!(ran.as_deref(), Some("ran"), "asked for five hundred times, it ran once");
    let size = fs::metadata(server.state("ledger.db")).unwrap().len();
    assert!(size < 4 * 1024 * 1024, "{size}");
}

#[test]
fn a_forged_record_with_commands_paths_or_recipients_is_no_record() {
    if skipped() {
        return;
    }
    for (key, value) in [
        ("build", json!("touch /tmp/PWNED")),
        ("clone", json!("/tmp/evil")),
        ("environment", json!({ "LD_PRELOAD": "/tmp/evil.so" })),
        ("to", json!("mallory@evil.test")),
        ("repository", json!("../../etc/passwd")),
        ("ref", json!("refs/heads/../../x")),
        ("sha", json!("--upload-pack=touch")),
    ] {
        let mut server = Server::new(JOB);
        let mut event = event(&server.laptop.head());
        event[key] = value;
        let mut proposals = json!([{ "event": event, "jobs": asked("github.com/octo/shop", "tests") }]);
        forge(&mut server, "github", &proposals);
        server.settle();
        assert!(server.runs().is_empty(), "{key}");
        let delivery = &server.json(&["trace", "forged", "--json"])[0];
        assert!(text(&delivery["reason"]).contains("cannot be read"), "{key}: {delivery}");
        // It holds up nobody who comes after it.
        proposals[0]["event"] = self::event(&server.laptop.head());
        server.start_receiver();
        server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
        assert_eq!(server.states(), ["succeeded"], "{key}");
    }
}

#[test]
fn the_importer_has_the_receivers_rights_and_no_others() {
    if skipped() {
        return;
    }
    let mut server = Server::new(JOB);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    // While another writer keeps everybody out, the importer waits, and can be looked at.
    server.tamper("PRAGMA journal_mode = DELETE;");
    let writer = Connection::open(server.spool().join("inbox.db")).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut pass = server.start_pass();
    let config = server.config().to_string_lossy().into_owned();
    let receiver = uid_of(RECEIVER_USER).to_string();
    let status = wait_for("the importer", || {
        let importer = *processes_with(&[" import ", &config]).first()?;
        fs::read_to_string(format!("/proc/{importer}/status")).ok()
    });
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("Uid"), format!("{receiver} {receiver} {receiver} {receiver}"));
    let group = User::from_name(RECEIVER_USER).unwrap().unwrap().gid;
    assert_eq!(line("Gid"), format!("{group} {group} {group} {group}"));
    assert!(line("Groups").is_empty() || line("Groups") == group.to_string(), "{}", line("Groups"));
    assert_eq!(line("CapEff"), "0000000000000000");
    writer.execute_batch("ROLLBACK").unwrap();
    assert!(pass.wait().unwrap().success(), "{}", server.worker_log());
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
}

#[test]
fn root_never_opens_what_the_receiver_can_write() {
    if skipped() {
        return;
    }
    let server = Server::new(JOB);
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let trace = server.path().join("trace");
    let pass = server.pass_command();
    let mut command = Command::new("strace");
    // One file a process, so that what comes after a change of user is what follows it there.
    command.args(["-ff", "-qq", "-y", "-e", "trace=%file,setuid,setgroups,setgid,execve", "-o"]).arg(&trace);
    command.arg(pass.get_program()).args(pass.get_args()).stderr(std::process::Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        other => return println!("SKIPPED: strace cannot be run here: {other:?}"),
    }
    let spool = server.spool().to_string_lossy().into_owned();
    let mut importers = 0;
    let processes = entries(server.path()).into_iter().filter(|path| path.to_string_lossy().contains("/trace."));
    for process in processes {
        let calls = fs::read_to_string(&process).unwrap();
        let succeeded = |name: &str| calls.lines().position(|call| call.starts_with(name) && call.ends_with(" = 0"));
        let dropped = succeeded(&format!("setuid({})", uid_of(RECEIVER_USER)));
        let touched = calls.lines().position(|call| call.contains(&spool));
        if let Some(touched) = touched {
            importers += 1;
            assert!(dropped.is_some_and(|dropped| dropped < touched), "{}", calls.lines().nth(touched).unwrap());
            let groups = succeeded("setgroups(0, ");
            assert!(groups.is_some() && groups < dropped, "{calls}");
        }
    }
    assert!(importers > 0, "no process looked into the spool at all");
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
}

#[test]
fn a_step_has_exactly_its_users_rights() {
    if skipped() {
        return;
    }
    let server = Server::new(
        "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\n\
         build = \"cat /proc/self/status >$OUT/status; cut -d' ' -f 6 /proc/$$/stat >$OUT/session; echo $$ >$OUT/pid; \
         ls /proc/self/fd >$OUT/descriptors; umask >$OUT/umask; readlink /proc/$$/fd/0 >$OUT/stdin\"\n",
    );
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    let status = server.written("status").unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let user = User::from_name(BUILD_USER).unwrap().unwrap();
    assert_eq!(line("Uid"), vec![user.uid.to_string(); 4]);
    assert_eq!(line("Gid"), vec![user.gid.to_string(); 4]);
    let name = std::ffi::CString::new(BUILD_USER).unwrap();
    let mut groups: Vec<String> = getgrouplist(&name, user.gid).unwrap().iter().map(ToString::to_string).collect();
    groups.sort();
    let mut own = line("Groups");
    own.sort();
    assert_eq!(own, groups);
    for (name, value) in
        [("NoNewPrivs", "1"), ("CapEff", "0000000000000000"), ("CapPrm", "0000000000000000"), ("SigBlk", "0000000000000000")]
    {
        assert_eq!(line(name), [value], "{name}");
    }
    assert_eq!(server.written("session"), server.written("pid"));
    // The fourth is the folder that ls itself reads.
    assert_eq!(server.written("descriptors").as_deref(), Some("0\n1\n2\n3"));
    assert_eq!(server.written("stdin").as_deref(), Some("/dev/null"));
    assert_eq!(server.written("umask").as_deref(), Some("0022"));
}

#[test]
fn a_step_cannot_read_what_is_not_its_own() {
    if skipped() {
        return;
    }
    let job = |name: &str, user: &str, build: &str| {
        format!(
            "[[job]]\nname = \"{name}\"\nwhen = [{{ event = \"push\" }}]\nuser = \"{user}\"\n\
             build = {{ run = \"\"\"{build}\"\"\", timeout = \"40s\" }}\n"
        )
    };
    // Another user's run, with a workspace, a home and a file for temporary things, stays until the spy has looked.
    let victim = "echo private >$TMPDIR/a; echo private >$HOME/b; while ! [ -e $OUT/go ]; do sleep 0.02; done";
    let spy = "for what in $SECRETS/TOKEN $SECRETS/receiver/webhook $STATE/ledger.db $STATE/ledger.db-wal $STATE/pass.lock \
        $STATE/runs/1/journal $STATE/repos/github.com/octo/shop.git/HEAD $STATE/work/1/src/message $STATE/work/1/home/b \
        $STATE/work/1/tmp/a $LOGS/1.log $SPOOL/inbox.db; do
    if cat $what >/dev/null 2>&1; then echo can read $what; fi
    if test -e $what; then :; fi
done
for what in $SECRETS $STATE $STATE/runs $STATE/repos $STATE/work $STATE/work/1 $STATE/work/1/src $LOGS $SPOOL; do
    if ls $what >/dev/null 2>&1; then echo can list $what; fi
    if touch $what/x 2>/dev/null; then echo can write to $what; fi
done
echo looked";
    let mut server = Server::new(JOB);
    let folder = server.path().to_owned();
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let spy = spy.replace("$SECRETS", &at("secrets")).replace("$STATE", &at("state"));
    let spy = spy.replace("$LOGS", &at("logs/runs")).replace("$SPOOL", &at("spool"));
    let jobs = job("victim", BUILD_USER, victim) + &job("spy", "bin", &spy);
    server.configure(Setup { jobs: &jobs, slots: 2, ..Setup::default() });
    server.stop_receiver();
    server.start_receiver();
    server.write_secret("TOKEN", "open sesame");
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    wait_for("the spy", || (server.outcome(2).0 == "succeeded").then_some(()));
    // What it looked for was there.
    for there in ["secrets/TOKEN", "state/repos/github.com/octo/shop.git/HEAD", "state/work/1/src/message", "state/work/1/tmp/a"]
    {
        assert!(Path::new(&at(there)).exists(), "{there}");
    }
    server.release("go");
    server.settle();
    let log = server.log(2);
    assert!(log.contains("\nlooked\n") && !log.contains("can read") && !log.contains("can list"), "{log}");
    assert!(!log.contains("can write"), "{log}");
    assert_eq!(server.states(), ["succeeded", "succeeded"]);
}
