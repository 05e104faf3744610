//! A private repository behind a real sshd: with its deploy key and a pinned host key, and without either.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use hookspool_tests::server::{Delivery, Server};
use hookspool_tests::sshd::Sshd;

const JOB: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"echo x >>$OUT/built\"\n";

/// A server whose repository is fetched through this sshd with the secret `deploy-key`.
fn server_behind(sshd: &Sshd) -> Server {
    let server = Server::new(JOB);
    let file = server.path().join("repositories/shop.toml");
    let forge = server.laptop.forge();
    let address = format!("clone = \"{}\"\ndeploy_key = \"deploy-key\"", sshd.url(forge));
    let text = fs::read_to_string(&file).unwrap().replace(&format!("clone = \"{}\"", forge.display()), &address);
    assert!(text.contains("ssh://"));
    fs::write(&file, text).unwrap();
    server
}

/// What came of a push, and the words of its mail.
fn pushed(server: &Server) -> (String, String) {
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    (server.outcome(1).0, server.mails()[0].words())
}

#[test]
fn a_private_repository_is_fetched_with_its_deploy_key() {
    let Some(sshd) = Sshd::start() else { return };
    let server = server_behind(&sshd);
    server.write_secret("deploy-key", &sshd.key());
    fs::write(server.path().join("known_hosts"), sshd.known_hosts()).unwrap();
    let (state, words) = pushed(&server);
    assert_eq!(state, "succeeded", "{words}");
    assert!(server.written("built").is_some());
}

#[test]
fn a_host_that_nobody_pinned_is_not_trusted() {
    let Some(sshd) = Sshd::start() else { return };
    let server = server_behind(&sshd);
    server.write_secret("deploy-key", &sshd.key());
    let (state, words) = pushed(&server);
    assert_eq!((state.as_str(), server.written("built")), ("failed", None));
    assert!(words.contains("Host key verification failed"), "{words}");
}

#[test]
fn a_key_that_the_forge_does_not_know_fails_the_run_and_nobody_is_asked() {
    let Some(sshd) = Sshd::start() else { return };
    let server = server_behind(&sshd);
    server.write_secret("deploy-key", &sshd.strangers_key());
    fs::write(server.path().join("known_hosts"), sshd.known_hosts()).unwrap();
    let (state, words) = pushed(&server);
    assert_eq!((state.as_str(), server.written("built")), ("failed", None));
    assert!(words.contains("Permission denied"), "{words}");
}
