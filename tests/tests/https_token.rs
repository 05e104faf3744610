//! A private repository behind a real https server that wants a token: git gets it from a helper, and nobody else does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use hookspool_tests::git_https::{GitHttps, TOKEN};
use hookspool_tests::server::{Delivery, Server, wait_for};

const JOB: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\n\
    build = \"git config --list >$OUT/config; env >$OUT/env; grep -r open-sesame . >$OUT/found || true; echo x >$OUT/built; \
    while ! [ -e $OUT/go ]; do sleep 0.02; done\"\n";

/// A server whose repository is fetched from this address, with the token.
fn server_at(forge: &GitHttps, server: &Server, address: &str) {
    let file = server.path().join("repositories/shop.toml");
    let old = format!("clone = \"{}\"", server.laptop.forge().display());
    let ca_file = forge.ca_file().display().to_string();
    let lines = format!("clone = \"{address}\"\nhttps_token = \"token\"\nca_file = \"{ca_file}\"");
    let text = fs::read_to_string(&file).unwrap().replace(&old, &lines);
    assert!(text.contains("https_token"));
    fs::write(&file, text).unwrap();
    server.write_secret("token", &format!("{TOKEN}\n"));
}

fn start(jobs: &str) -> Option<(GitHttps, Server)> {
    let server = Server::new(jobs);
    let forge = GitHttps::start(server.laptop.forge().ancestors().nth(2).unwrap())?;
    Some((forge, server))
}

/// Every command line and environment of this machine that holds `word`; our own aside.
fn processes_that_show(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        if process.file_name().to_str().is_some_and(|name| name == std::process::id().to_string()) {
            continue;
        }
        for part in ["cmdline", "environ"] {
            let text = fs::read(process.path().join(part)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            found.extend(text.contains(word).then(|| format!("{part}: {text}")));
        }
    }
    found
}

#[test]
fn a_private_repository_is_fetched_with_its_token_which_nobody_else_sees() {
    let Some((forge, server)) = start(JOB) else { return };
    server_at(&forge, &server, &forge.url("octo/shop.git"));
    server.deliver(&Delivery::push("master", &server.laptop.head()));
    let mut pass = server.start_pass();
    // Looked at all the while: during the fetch, and while the step runs.
    let mut shown = Vec::new();
    wait_for("the step", || {
        shown.extend(processes_that_show(TOKEN));
        server.written("built").filter(|text| !text.is_empty())
    });
    server.release("go");
    assert!(pass.wait().unwrap().success());
    server.settle();
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(shown, [""; 0]);
    let basic = forge.requests().iter().filter(|line| line.contains("[Basic ")).count();
    assert!(basic >= 2, "{:?}", forge.requests());
    for (name, text) in [("config", server.written("config")), ("env", server.written("env")), ("found", server.written("found"))]
    {
        let text = text.unwrap_or_default();
        assert!(!text.contains(TOKEN) && !text.contains("credential"), "{name}: {text}");
    }
    for text in [server.log(1), server.mails()[0].body.clone(), server.worker_log()] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    let mirror = fs::read_to_string(server.state("repos/github.com/octo/shop.git/config")).unwrap();
    assert!(!mirror.contains("credential"), "{mirror}");
}

#[test]
fn a_wrong_token_fails_the_run_and_is_not_shown() {
    let Some((forge, server)) = start(JOB) else { return };
    server_at(&forge, &server, &forge.url("octo/shop.git"));
    server.write_secret("token", "another-token-0815");
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.outcome(1).0, "failed");
    let mail = server.mails()[0].words();
    assert!(mail.contains("Authentication failed") && !mail.contains("0815") && !server.log(1).contains("0815"), "{mail}");
}

#[test]
fn a_server_that_sends_git_elsewhere_does_not_send_the_token_along() {
    let Some((forge, server)) = start(JOB) else { return };
    server_at(&forge, &server, &forge.moved_url("octo/shop.git"));
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.outcome(1).0, "failed", "{}", server.log(1));
    let elsewhere = forge.requests_elsewhere();
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|line| line.ends_with("[-]")), "{elsewhere:?}");
}

#[test]
fn a_server_whose_authority_is_not_known_gets_nothing() {
    let Some((forge, server)) = start(JOB) else { return };
    server_at(&forge, &server, &forge.url("octo/shop.git"));
    let file = server.path().join("repositories/shop.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.lines().filter(|line| !line.starts_with("ca_file")).collect::<Vec<_>>().join("\n")).unwrap();
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    assert_eq!(server.outcome(1).0, "failed");
    assert!(server.log(1).contains("certificate"), "{}", server.log(1));
    assert_eq!(forge.requests(), [""; 0]);
}

/// A commit with a submodule at `lib`, whose address is `address`.
fn commit_with_submodule(server: &Server, address: &str, commit: &str) -> String {
    fs::write(server.laptop.file(".gitmodules"), format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {address}\n")).unwrap();
    server.laptop.git(&["add", ".gitmodules"]);
    server.laptop.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")]);
    server.laptop.git(&["commit", "--quiet", "--message", "With a submodule"]);
    server.laptop.push("HEAD:refs/heads/master");
    server.laptop.head()
}

#[test]
fn a_private_submodule_of_the_same_server_has_the_token_and_one_of_another_does_not() {
    let job =
        "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nsubmodules = true\nbuild = \"cat lib/message >$OUT/lib\"\n";
    let Some((forge, server)) = start(job) else { return };
    server_at(&forge, &server, &forge.url("octo/shop.git"));
    let lib = server.laptop.head();
    let copied = server.laptop.forge().with_file_name("lib.git");
    server.laptop.git(&["clone", "--quiet", "--bare", &server.laptop.forge().to_string_lossy(), &copied.to_string_lossy()]);
    server.deliver_and_settle(&Delivery::push("master", &commit_with_submodule(&server, "../lib.git", &lib)));
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("lib").as_deref(), Some("First"));
    assert!(
        forge.requests().iter().any(|line| line.contains("/octo/lib.git/") && line.contains("[Basic ")),
        "{:?}",
        forge.requests()
    );
    // The same server under another name is another server; and it may not even ask.
    let sha = commit_with_submodule(&server, &forge.other_url("octo/lib.git"), &lib);
    server.deliver_and_settle(&Delivery::push("master", &sha));
    assert_eq!(server.outcome(2).0, "failed", "{}", server.log(2));
    let elsewhere = forge.requests_elsewhere();
    // It is another host with another certificate's authority, as far as we know: nothing but a greeting was said.
    assert!(elsewhere.iter().all(|line| line.ends_with("[-]")), "{elsewhere:?}");
}
