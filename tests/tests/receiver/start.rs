//! What the receiver needs to start, and what it says when that is not there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use hookspool_tests::programs::program;
use hookspool_tests::receiver::{Installation, Post};
use nix::unistd::Uid;

use crate::skipped;

/// The exit code and the log of a receiver that does not start.
fn refused(installation: &Installation) -> (Option<i32>, String) {
    installation.run_to_end(&mut installation.command().unwrap()).unwrap()
}

#[test]
fn it_refuses_to_run_as_root_and_names_the_user() {
    if !Uid::effective().is_root() {
        return skipped("only root can try to run it as root");
    }
    let installation = Installation::new().unwrap();
    installation.write_config("127.0.0.1:0", "user = \"hooks\"").unwrap();
    let mut command = installation.command().unwrap();
    std::os::unix::process::CommandExt::uid(&mut command, 0);
    let (code, message) = installation.run_to_end(&mut command).unwrap();
    assert_eq!(code, Some(1));
    assert!(message.contains("refusing to run as root") && message.contains("runuser -u hooks --"), "{message}");
    assert!(!installation.spool().join("inbox.db").exists());
}

#[test]
fn every_error_of_the_configuration_is_shown_and_the_code_is_4() {
    let installation = Installation::new().unwrap();
    let text = fs::read_to_string(installation.config()).unwrap();
    let text = text.replace("provider = \"github\"", "provider = \"gitbub\"").replace("secret =", "secrte =");
    fs::write(installation.config(), text.replace("127.0.0.1:0", "localhost")).unwrap();
    let (code, message) = refused(&installation);
    assert_eq!(code, Some(4));
    for part in ["gitbub", "secrte", "\"localhost\" is not an address", "hookspool.toml:"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn a_wrong_command_line_is_2_and_help_is_0() {
    let run = |argument: &str| Command::new(program("hookspool-receiver")).arg(argument).output().unwrap();
    assert_eq!(run("--confg").status.code(), Some(2));
    let help = run("--help");
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit status:"));
}

#[test]
fn an_absent_secret_is_named_with_its_place() {
    let installation = Installation::new().unwrap();
    fs::remove_file(installation.path().join("secrets/receiver/webhook")).unwrap();
    let (code, message) = refused(&installation);
    assert_eq!(code, Some(1));
    assert!(message.contains("secret `webhook`") && message.contains("secrets/receiver"), "{message}");
}

#[test]
fn a_credential_of_systemd_wins_over_the_file() {
    let installation = Installation::new().unwrap();
    let credentials = installation.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::copy(installation.path().join("secrets/receiver/webhook"), credentials.join("webhook")).unwrap();
    fs::write(installation.path().join("secrets/receiver/webhook"), "another").unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 401);
    drop(receiver);
    let receiver = installation.start_with(installation.command().unwrap().env("CREDENTIALS_DIRECTORY", credentials)).unwrap();
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
}

#[test]
fn a_spool_that_it_may_not_write_to_is_named_with_user_mode_and_remedy() {
    let installation = Installation::new().unwrap();
    let spool = installation.spool();
    let user = if Uid::effective().is_root() {
        chown(&spool, Some(0), Some(0)).unwrap();
        "nobody".to_owned()
    } else {
        nix::unistd::User::from_uid(Uid::effective()).unwrap().unwrap().name
    };
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o555)).unwrap();
    let (code, message) = refused(&installation);
    assert_eq!(code, Some(1));
    let folder = spool.display().to_string();
    for part in [folder.as_str(), "mode 0555", &format!("user {user} may not write"), &format!("install -d -o {user}")] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let installation = Installation::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    installation.write_config(&address, "").unwrap();
    let (code, message) = refused(&installation);
    assert_eq!(code, Some(1));
    assert!(message.contains(&format!("cannot listen on {address}")) && message.contains("[receiver] listen"), "{message}");
}

#[test]
fn a_file_that_is_not_an_inbox_is_named_and_left_alone() {
    let installation = Installation::new().unwrap();
    let path = installation.spool().join("inbox.db");
    fs::write(&path, "something else entirely, and long enough to be looked at").unwrap();
    installation.give_to_user(&path).unwrap();
    let (code, message) = refused(&installation);
    assert_eq!(code, Some(1));
    assert!(message.contains(&path.display().to_string()), "{message}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("something else"));
}

#[test]
fn its_files_are_for_its_user_alone() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    for name in ["inbox.db", "inbox.db-wal", "wake"] {
        let mode = fs::metadata(installation.spool().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}
