//! What decides what root does counts only if nobody else could have written it: configuration, secrets, deploy keys, pinned
//! host keys, and scripts outside the checkout. And secrets reach their job alone, as a variable or as a file.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use hookspool_tests::server::{BUILD_USER, Delivery, Server, entries, give, is_root};

fn skipped() -> bool {
    if !is_root() {
        println!("SKIPPED: needs root");
    }
    !is_root()
}

fn job(lines: &str) -> String {
    format!("[[job]]\nname = \"tests\"\nwhen = {{ event = \"push\", branch = \"master\" }}\n{lines}\n")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("its mode can be set");
}

/// Gives it back to root.
fn take_back(path: &Path) {
    chown(path, Some(0), None).expect("root may take files back");
}

/// A pass fails, says this, and runs nothing.
fn assert_refused(server: &Server, words: &[&str]) {
    let before = server.worker_log().len();
    let status = server.pass_command().status().expect("a pass can be started");
    let said = server.worker_log();
    let said = &said[before.min(said.len())..];
    assert_eq!(status.code(), Some(4), "{said}");
    for word in words {
        assert!(server.worker_log().contains(word), "{word}: {}", server.worker_log());
    }
    let check = server.hookspool(&["check"]);
    let error = String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(4), "{error}");
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn root_uses_no_configuration_that_somebody_else_could_have_written() {
    if skipped() {
        return;
    }
    let server = Server::new(&job("build = \"echo ran >>$OUT/ran\""));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let files = [server.config(), server.path().join("repositories"), server.path().join("repositories/shop.toml")];
    for file in &files {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        let named = format!("{}: it belongs to root:root with mode ", file.display());
        for wrong in [mode | 0o020, mode | 0o002] {
            set_mode(file, wrong);
            assert_refused(&server, &[&named, &format!("run: chmod go-w {}", file.display())]);
        }
        set_mode(file, mode);
        give(file, BUILD_USER);
        assert_refused(&server, &[&format!("{}: it belongs to {BUILD_USER}:", file.display()), "run: chown -h root "]);
        take_back(file);
    }
    // The folder of it all: whoever may write to it may put another file in each file's place.
    set_mode(server.path(), 0o777);
    assert_refused(&server, &[&format!("run: chmod go-w {}", server.path().display())]);
    set_mode(server.path(), 0o755);
    server.settle();
    assert_eq!((server.states().join(" "), server.written("ran").as_deref()), ("succeeded".to_owned(), Some("ran")));
}

#[test]
fn a_secret_that_somebody_else_could_have_written_reaches_no_step() {
    if skipped() {
        return;
    }
    let server = Server::new(&job("secrets = [\"TOKEN\"]\nbuild = \"echo $TOKEN >$OUT/ran\""));
    server.write_secret("TOKEN", "open sesame");
    let (folder, file) = (server.path().join("secrets"), server.path().join("secrets/TOKEN"));
    let sha = server.laptop.head();
    let refused = |run: i64, path: &Path, remedy: &str| {
        server.deliver_and_settle(&Delivery::push("master", &sha));
        let (state, reason) = server.outcome(run);
        assert_eq!(state, "failed");
        assert!(reason.starts_with(&format!("secret `TOKEN`: {}: it belongs to ", path.display())), "{reason}");
        assert!(reason.ends_with(&format!("run: {remedy} {}", path.display())), "{reason}");
        let check = server.hookspool(&["check"]);
        let error = String::from_utf8_lossy(&check.stderr);
        assert!(check.status.code() == Some(4) && error.contains(&reason), "{error}");
    };
    set_mode(&file, 0o620);
    refused(1, &file, "chmod go-w");
    set_mode(&file, 0o400);
    give(&file, BUILD_USER);
    refused(2, &file, "chown -h root");
    take_back(&file);
    set_mode(&folder, 0o733);
    refused(3, &folder, "chmod go-w");
    set_mode(&folder, 0o711);
    assert_eq!(server.written("ran"), None);
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!((server.outcome(4).0.as_str(), server.written("ran").as_deref()), ("succeeded", Some("open sesame")));
}

#[test]
fn no_forge_is_asked_with_a_key_or_host_keys_that_somebody_else_could_have_written() {
    if skipped() {
        return;
    }
    let server = Server::new(&job("build = \"true\""));
    let repository = server.path().join("repositories/shop.toml");
    let text = fs::read_to_string(&repository).unwrap();
    fs::write(&repository, text.replace("[[job]]", "deploy_key = \"key\"\n[[job]]")).unwrap();
    server.write_secret("key", "not a key, and not needed for a folder");
    let known_hosts = server.path().join("known_hosts");
    fs::write(&known_hosts, "").unwrap();
    for (number, file) in [&server.path().join("secrets/key"), &known_hosts].into_iter().enumerate() {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        set_mode(file, mode | 0o020);
        server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
        let reason = server.outcome(i64::try_from(number).unwrap() + 1).1;
        assert!(reason.ends_with(&format!("run: chmod go-w {}", file.display())), "{reason}");
        let check = server.hookspool(&["check"]);
        assert_eq!(check.status.code(), Some(4), "{}", String::from_utf8_lossy(&check.stderr));
        set_mode(file, mode);
    }
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.states(), ["failed", "failed", "succeeded"]);
}

#[test]
fn root_runs_no_script_outside_the_checkout_that_somebody_else_could_have_written() {
    if skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let script = folder.path().join("deploy");
    let named = script.display();
    let server = Server::new(&job(&format!(
        "build = {{ argv = [\"{named}\", \"one\"], user = \"root\" }}\nalways = {{ run = \"{named} two\", user = \"root\" }}"
    )));
    fs::write(&script, format!("#!/bin/sh\necho $1 >>{}\n", server.out("ran").display())).unwrap();
    set_mode(&script, 0o775);
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!((server.outcome(1).0.as_str(), server.written("ran")), ("failed", None));
    let refused = format!("could not start: {}: it belongs to root:root with mode 0775", script.display());
    for (step, result) in &server.steps(1)[1..] {
        assert!(result.contains(&refused), "{step}: {result}");
    }
    // A folder of somebody else on the way is as bad.
    set_mode(&script, 0o755);
    give(folder.path(), BUILD_USER);
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!((server.outcome(2).0.as_str(), server.written("ran")), ("failed", None));
    take_back(folder.path());
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!((server.outcome(3).0.as_str(), server.written("ran").as_deref()), ("succeeded", Some("one\ntwo")));
    // Whoever is not root runs what they like, with what they have.
    let server = Server::new(&job(&format!("build = {{ argv = [\"{named}\", \"three\"] }}")));
    fs::write(&script, format!("#!/bin/sh\necho $1 >>{}\n", server.out("ran").display())).unwrap();
    set_mode(&script, 0o775);
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.written("ran").as_deref(), Some("three"));
}

#[test]
fn a_secret_as_a_file_is_its_steps_alone_and_is_gone_with_it() {
    let server = Server::new(&job("secrets = [\"TOKEN\", { name = \"KEY\", as = \"file\" }]\n\
         build = \"cat $KEY; cp $KEY $OUT/key; stat -c '%a %U' $KEY $(dirname $KEY) >$OUT/modes; echo $KEY >$OUT/path; \
         rm -f $KEY; ln -s /etc/passwd $KEY || true\"\n\
         test = \"cp $KEY $OUT/again; test -n \\\"$TOKEN\\\"\"\n\
         always = \"env | grep -c 'KEY=/.*secrets/KEY' >$OUT/always; echo left >>$(dirname $KEY)/more\""));
    server.write_secret("TOKEN", "open sesame\n");
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n";
    server.write_secret("KEY", key);
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.states(), ["succeeded"], "{}", server.log(1));
    assert_eq!(fs::read_to_string(server.out("key")).unwrap(), key, "byte for byte, with its last line end");
    assert_eq!(fs::read_to_string(server.out("again")).unwrap(), key, "whatever the step before did to it");
    let user = if is_root() { BUILD_USER.to_owned() } else { std::env::var("USER").unwrap_or_default() };
    if is_root() {
        assert_eq!(server.written("modes").unwrap(), format!("400 {user}\n700 {user}"));
    }
    let path = server.written("path").unwrap();
    assert!(path.starts_with(&*server.state("work/1/secrets").to_string_lossy()), "{path}");
    assert_eq!(server.written("always").as_deref(), Some("1"));
    assert_eq!(entries(&server.state("work")).len(), 0);
    let log = server.log(1);
    assert!(!log.contains("b3BlbnNzaC1rZXk") && log.contains("***"), "{log}");
}

#[test]
fn a_runner_that_is_killed_leaves_no_secret_behind() {
    let server = Server::new(&job("on_crash = \"fail\"\nsecrets = [{ name = \"KEY\", as = \"file\" }]\n\
         build = \"echo $KEY >$OUT/path; while ! [ -e $OUT/go ]; do sleep 0.02; done\""));
    server.write_secret("KEY", "open sesame");
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    server.run_pass();
    let path = server.wait_until_written("path");
    assert!(Path::new(&path).exists());
    let pid = fs::read_to_string(server.state("runs/1/alive")).unwrap();
    hookspool_tests::server::kill_now(pid.trim().parse().unwrap());
    server.settle();
    assert!(!Path::new(&path).exists() && !server.state("work/1").exists());
}

#[test]
fn git_shows_no_secret_while_it_checks_out() {
    // git repeats the address that it could not read, and a forge may repeat anything.
    let server = Server::new(&job("secrets = [\"TOKEN\"]\nbuild = \"true\""));
    server.write_secret("TOKEN", "open-sesame");
    let repository = server.path().join("repositories/shop.toml");
    let text = fs::read_to_string(&repository).unwrap();
    let forge = server.laptop.forge().to_string_lossy().into_owned();
    fs::write(&repository, text.replace(&forge, &format!("{forge}/open-sesame"))).unwrap();
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.states(), ["failed"]);
    let log = server.log(1);
    assert!(!log.contains("open-sesame"), "{log}");
    let gits_words = log.lines().find(|line| line.starts_with("fatal: ")).unwrap_or_else(|| panic!("{log}"));
    assert!(gits_words.contains("/***'"), "{log}");
    assert!(!server.mails()[0].body.contains("open-sesame"), "{}", server.mails()[0].body);
}

#[test]
fn whoever_cannot_read_the_secrets_is_told_that_they_were_not_checked() {
    if skipped() {
        return;
    }
    let server = Server::new(&job("secrets = [\"TOKEN\"]\nbuild = \"true\""));
    server.write_secret("TOKEN", "12345");
    let check = server.hookspool(&["check", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!((check.status.code(), said["warnings"].as_array().map(Vec::len)), (Some(4), Some(0)), "{said}");
    assert!(said["errors"][0]["message"].as_str().unwrap().starts_with("secret `TOKEN` has 5 bytes; below 6 "), "{said}");
    hookspool_tests::programs::install(server.path());
    let program = server.path().join("hookspool");
    let mut asked = std::process::Command::new("setpriv");
    asked.args(["--reuid", BUILD_USER, "--regid", BUILD_USER, "--clear-groups"]).arg(program).arg("check");
    let check = asked.arg("--config").arg(server.config()).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(0), "{said}");
    assert!(said.contains("warning: secret `TOKEN` is not checked: ") && said.contains("check it as root"), "{said}");
}

#[test]
fn a_mail_shows_no_secret_that_a_commits_message_holds() {
    let server =
        Server::new(&job("secrets = [\"TOKEN\"]\nbuild = \"true\"\nnotify = { to = [\"ops@example.org\"], on = \"always\" }"));
    server.write_secret("TOKEN", "open-sesame");
    let sha = server.laptop.push_commit("master", "Use open-sesame for the registry");
    let mut delivery = Delivery::push("master", &sha);
    delivery.body["commits"][0]["message"] = "Use open-sesame for the registry".into();
    server.deliver_and_settle(&delivery);
    let mail = &server.mails()[0];
    assert!(mail.body.contains("Use *** for the registry"), "{}", mail.body);
    assert!(!mail.body.contains("open-sesame"), "{}", mail.body);
    assert!(!server.show(1).to_string().contains("open-sesame"), "{}", server.show(1));
}
