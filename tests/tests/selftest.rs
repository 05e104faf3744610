//! `hookspool selftest privsep`: it finds nothing where all is well, and finds what is not: a worker that does what it must
//! not, and rights that are too wide.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use hookspool_tests::programs::install;
use hookspool_tests::server::{BUILD_USER, Delivery, RECEIVER_USER, Server, entries, give, is_root, processes_with, text};
use serde_json::Value;

const JOB: &str =
    "[[job]]\nname = \"tests\"\nwhen = { event = \"push\" }\nsecrets = [\"TOKEN\"]\nbuild = \"echo ran >>$OUT/ran\"\n";

fn skipped() -> bool {
    if !is_root() {
        println!("SKIPPED: needs root");
    }
    !is_root()
}

fn server() -> Server {
    let server = Server::new(JOB);
    server.write_secret("TOKEN", "open sesame");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    server
}

/// The self-test's exit status, and what it found: each line's subject, whether it holds, and what was found.
fn selftest(program: &Path, server: &Server, only: &[&str]) -> (Option<i32>, Vec<(String, bool, String)>) {
    let within = tempfile::tempdir().expect("a folder can be made");
    fs::set_permissions(within.path(), Permissions::from_mode(0o755)).expect("its mode can be set");
    let mut command = Command::new(program);
    command.args(["selftest", "privsep", "--json", "--within"]).arg(within.path()).arg("--config").arg(server.config());
    let output = command.args(only).output().expect("hookspool can be started");
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(entries(within.path()), Vec::<std::path::PathBuf>::new(), "it leaves nothing behind");
    assert_eq!(processes_with(&[&within.path().to_string_lossy()]), Vec::<i32>::new());
    let findings = said["findings"].as_array().expect("findings are a list").iter();
    let findings: Vec<_> = findings
        .map(|one| (text(&one["what"]), one["ok"].as_bool().expect("a finding holds or does not"), text(&one["found"])))
        .collect();
    let failed = findings.iter().filter(|(_, is_good, _)| !is_good).count();
    assert_eq!((said["failed"].as_u64(), said["ok"].as_bool()), (Some(failed as u64), Some(failed == 0)));
    (output.status.code(), findings)
}

/// What was found of these subjects, each of which must not hold.
fn failures<'f>(findings: &'f [(String, bool, String)], subjects: &[&str]) -> Vec<&'f str> {
    let one = |subject: &&str| {
        let found = findings.iter().find(|(what, ..)| what.contains(subject)).unwrap_or_else(|| panic!("no {subject:?}"));
        assert!(!found.1, "{subject}: {}", found.2);
        found.2.as_str()
    };
    subjects.iter().map(one).collect()
}

/// A folder with the programs, in which the worker has these faults.
fn careless(faults: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("its mode can be set");
    install(folder.path());
    fs::rename(folder.path().join("hookspool-worker"), folder.path().join("worker")).expect("a file can be renamed");
    let mut copy = Command::new("install");
    copy.args(["-m", "755", env!("CARGO_BIN_EXE_careless-worker")]).arg(folder.path().join("hookspool-worker"));
    assert!(copy.status().expect("install can be started").success());
    fs::write(folder.path().join("faults"), faults).expect("a file can be written");
    folder
}

#[test]
fn on_a_sound_machine_every_attack_comes_to_nothing_and_nothing_is_left_of_it() {
    if skipped() {
        return;
    }
    let server = server();
    let before = server.runs();
    let (status, findings) = selftest(&hookspool_tests::programs::program("hookspool"), &server, &[]);
    let failed: Vec<_> = findings.iter().filter(|(_, is_good, _)| !is_good).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(status, Some(0));
    for subject in [
        "triggers",
        "job that is not configured",
        "commit of another branch",
        "link to /etc/shadow",
        "wake file",
        "cannot read the worker's secrets",
    ] {
        assert!(findings.iter().any(|(what, ..)| what.contains(subject)), "{subject}");
    }
    assert_eq!(server.runs(), before, "the real installation was only looked at");
    assert_eq!(server.written("ran").as_deref(), Some("ran"));
}

#[test]
fn a_worker_that_opens_the_inbox_as_root_is_found_out() {
    if skipped() {
        return;
    }
    let programs = careless("marks what it has read");
    let (status, findings) = selftest(&programs.path().join("hookspool"), &server(), &["--only", "triggers"]);
    assert_eq!(status, Some(1));
    let found = failures(&findings, &["triggers on every table"]);
    assert!(found[0].starts_with("root changed what it must not touch"), "{found:?}");
}

#[test]
fn a_worker_that_writes_where_the_receiver_may_and_rights_that_are_too_wide_are_found_out() {
    if skipped() {
        return;
    }
    let server = server();
    let wide = [("state", 0o777), ("logs", 0o777), ("secrets", 0o755), ("secrets/TOKEN", 0o444), ("spool", 0o777)];
    for (name, mode) in wide {
        fs::set_permissions(server.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(server.path().join("state/ledger.db"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(server.path().join("secrets/receiver"), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(server.path().join("secrets/receiver/webhook"), Permissions::from_mode(0o444)).unwrap();
    give(&server.spool().join("inbox.db"), RECEIVER_USER);
    fs::set_permissions(server.spool().join("inbox.db"), Permissions::from_mode(0o644)).unwrap();
    let programs = careless("writes into the spool");
    fs::set_permissions(programs.path(), Permissions::from_mode(0o777)).unwrap();
    let (status, findings) = selftest(&programs.path().join("hookspool"), &server, &["--only", " mark"]);
    assert_eq!(status, Some(1));
    let control = findings.iter().find(|(what, ..)| what.contains("a mark that is none")).unwrap();
    assert!(control.1, "{control:?}");
    let found = failures(&findings, &["for the next mark"]);
    assert!(found[0].starts_with("root changed what it must not touch"), "{found:?}");
    for user in [RECEIVER_USER, BUILD_USER] {
        for ban in [
            "read the worker's secrets",
            "write to the worker's state",
            "read the ledger",
            "write to the logs",
            "change the programs",
        ] {
            let found = failures(&findings, &[&format!("user {user} cannot {ban}")]);
            assert!(found[0].starts_with("but can with /"), "{found:?}");
        }
    }
    let of_builders = ["cannot read the receiver's secrets", "cannot read or write the inbox", "alone to write to"];
    assert_eq!(failures(&findings, &of_builders).len(), 3);
}

#[test]
fn a_worker_that_believes_the_receiver_is_found_out() {
    if skipped() {
        return;
    }
    let programs = careless("believes what the receiver says");
    let (status, findings) = selftest(&programs.path().join("hookspool"), &server(), &["--only", "that is not configured"]);
    assert_eq!(status, Some(1));
    let found = failures(&findings, &["a job that is not configured"]);
    assert!(found[0].contains("deployed"), "{found:?}");
    assert_eq!(findings.iter().filter(|(_, is_good, _)| !is_good).count(), 1, "{findings:#?}");
}

#[test]
fn a_worker_that_does_nothing_shows_nothing() {
    if skipped() {
        return;
    }
    let programs = careless("does nothing");
    let (status, findings) = selftest(&programs.path().join("hookspool"), &server(), &["--only", " in a record"]);
    assert_eq!(status, Some(1));
    let attacks: Vec<_> = findings.iter().filter(|(what, ..)| !what.starts_with("user ")).collect();
    assert!(attacks.len() > 7 && attacks[..7].iter().all(|(_, is_good, _)| !is_good), "{attacks:?}");
}

#[test]
fn who_is_not_root_or_names_root_for_a_user_is_told_why_it_cannot_be_made() {
    if skipped() {
        return;
    }
    let server = server();
    install(server.path());
    let mut asked = Command::new("setpriv");
    asked.args(["--reuid", BUILD_USER, "--regid", BUILD_USER, "--clear-groups"]).arg(server.path().join("hookspool"));
    let output = asked.args(["selftest", "privsep", "--config"]).arg(server.config()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("run it as root"), "{error}");
    let config = fs::read_to_string(server.config()).unwrap();
    for user in [RECEIVER_USER, BUILD_USER] {
        fs::write(server.config(), config.replace(&format!("user = \"{user}\""), "user = \"root\"")).unwrap();
        let output = server.hookspool(&["selftest", "privsep"]);
        let error = String::from_utf8_lossy(&output.stderr);
        // Of the worker's, the configuration says so already.
        let told = if user == RECEIVER_USER { (1, "user is root") } else { (4, "steps never run as root by default") };
        assert!(output.status.code() == Some(told.0) && error.contains(told.1), "{error}");
    }
}
