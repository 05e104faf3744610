//! `hookspool send` in the words of each forge and of other senders, over the unix socket that the receiver listens on.

use std::fs;
use std::process::Output;

use hookspool_tests::server::{Server, text};

const JOBS: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\", branch = \"master\" }, { event = \"tag\", tag = \"v*\" }]\n\
    build = \"exit 3\"\n";

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Lets the receiver listen on a unix socket, and changes its configuration.
fn move_to_socket(server: &mut Server, change: impl Fn(String) -> String) {
    let socket = format!("listen = \"unix:{}/receiver.sock\"", server.spool().display());
    for file in ["hookspool.toml", "repositories/shop.toml"] {
        let path = server.path().join(file);
        let written = fs::read_to_string(&path).expect("the configuration can be read");
        let written = change(written.replace("listen = \"127.0.0.1:0\"", &socket));
        fs::write(&path, written).expect("the configuration can be written");
    }
    server.stop_receiver();
    server.start_receiver();
}

/// A server whose source is of another forge, and which listens on a unix socket.
fn server(provider: &str, repository: &str) -> Server {
    let mut server = Server::new(JOBS);
    let provider = format!("provider = \"{provider}\"");
    move_to_socket(&mut server, |text| {
        text.replace("provider = \"github\"", &provider).replace("github.com/octo/shop", repository)
    });
    server
}

#[test]
fn every_forges_push_and_tag_are_sent_over_the_socket_and_run() {
    for (provider, repository) in [
        ("github", "github.com/octo/shop"),
        ("gitlab", "gitlab.com/octo/group/shop"),
        ("gitea", "gitea.example.org/octo/shop"),
        ("forgejo", "codeberg.org/octo/shop"),
        ("bitbucket", "bitbucket.org/octo/shop"),
        ("bitbucket-server", "bitbucket.example.org/octo/shop"),
    ] {
        let server = server(provider, repository);
        let sha = server.laptop.push_commit("master", "To be told of");
        server.laptop.push("HEAD:refs/tags/v1");
        let tells_of_addresses = provider != "bitbucket";
        let pusher: &[&str] = if tells_of_addresses { &["--pusher", "mona@example.org"] } else { &[] };
        for reference in ["master", "refs/tags/v1"] {
            let words = [&["send", "--repository", repository, "--ref", reference], pusher].concat();
            let sent = server.hookspool(&words);
            assert!(sent.status.success() && out(&sent).starts_with("202 {"), "{provider} {reference}: {}", out(&sent));
            server.settle();
        }
        let runs = server.runs();
        let told = |run: usize| ["state", "sha", "ref", "event", "repository"].map(|key| text(&runs[run][key]));
        let failed = |reference: &str, event: &str| ["failed", &sha, reference, event, repository].map(str::to_owned);
        assert_eq!(told(0), failed("refs/heads/master", "push"), "{provider}");
        assert_eq!(told(1), failed("refs/tags/v1", "tag"), "{provider}");
        let event = &server.show(1)["event"];
        assert_eq!(
            (text(&event["pusher"]["login"]).as_str(), &event["created"]),
            ("hookspool", &true.into()),
            "{provider}: {event}"
        );
        // Bitbucket Server's list is of several refs, and taken for none.
        if provider != "bitbucket-server" {
            assert_eq!(event["commits"][0]["sha"], sha, "{provider}: {event}");
        }
        let to = if tells_of_addresses { "mona@example.org" } else { "ops@example.org" };
        assert_eq!(server.mails()[0].header("To"), to, "{provider}");
    }
}

#[test]
fn what_the_receiver_says_over_the_socket_is_shown_and_is_the_exit_code() {
    let mut server = server("bitbucket", "bitbucket.org/octo/shop");
    let refused = server.hookspool(&["send", "--repository", "bitbucket.org/octo/shop", "--pusher", "mona@example.org"]);
    assert!(refused.status.code() == Some(1) && out(&refused).contains("tells nobody's mail address"), "{}", out(&refused));
    // An answer that comes before the whole body was taken.
    let large = server.path().join("large.json");
    fs::write(&large, vec![b' '; 26 * 1024 * 1024]).expect("a file can be written");
    let large = large.to_string_lossy();
    let refused = server.hookspool(&["send", "--source", "github", "--event", "repo:push", "--body", &large]);
    assert!(refused.status.code() == Some(1) && out(&refused).starts_with("413 {"), "{}", out(&refused));
    let secret = server.path().join("secrets/receiver/webhook");
    let _ = fs::remove_file(&secret);
    fs::write(&secret, "another").expect("a secret can be written");
    let refused = server.hookspool(&["send", "--source", "github", "--event", "repo:push"]);
    assert!(refused.status.code() == Some(1) && out(&refused).contains("needs a --body"), "{}", out(&refused));
    let refused = server.hookspool(&["send", "--source", "github"]);
    assert!(refused.status.code() == Some(1) && out(&refused).starts_with("401 {"), "{}", out(&refused));
    server.stop_receiver();
    let refused = server.hookspool(&["send", "--source", "github"]);
    assert!(refused.status.code() == Some(1) && out(&refused).contains("is the receiver running?"), "{}", out(&refused));
    assert!(server.runs().is_empty());
}

#[test]
fn over_the_socket_this_machine_is_the_client_that_allow_from_is_asked_about() {
    for header in ["X-Forwarded-For", "Forwarded"] {
        for (network, status) in [("127.0.0.0/8", "200 "), ("192.0.2.0/24", "403 ")] {
            let mut server = Server::new(JOBS);
            move_to_socket(&mut server, |text| {
                let text = text.replace("[receiver]\n", &format!("[receiver]\nproxy_header = \"{header}\"\n"));
                text.replace("provider = \"github\"", &format!("provider = \"github\"\nallow_from = [\"{network}\"]"))
            });
            let sent = server.hookspool(&["send", "--source", "github"]);
            assert!(out(&sent).starts_with(status), "{header} {network}: {}", out(&sent));
        }
    }
}
