//! An inbox in which somebody else has written.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use hookspool_tests::programs::program;
use hookspool_tests::server::{RECEIVER_USER, entries};

use crate::{err, out, server, skipped, uid_of};

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
