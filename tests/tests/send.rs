//! `hookspool send` in the words of each forge and of other senders, over the unix socket that the receiver listens on.

use std::fs;
use std::process::Output;

use hookspool_common::forges::Provider;
use hookspool_tests::example;
use hookspool_tests::server::{Server, Setup, text};

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
fn each_forges_ping_is_answered_and_one_that_has_none_is_told_why_nothing_runs() {
    let pact = example::source("pact");
    let lines = |provider: &Provider| match provider {
        Provider::PactBroker => pact.clone(),
        other => format!("provider = \"{0}\"\npath = \"/hooks/a-{0}\"", other.as_str()),
    };
    let sources: Vec<(String, String)> =
        Provider::ALL.iter().map(|provider| (format!("a-{}", provider.as_str()), lines(provider))).collect();
    let sources: Vec<(&str, &str)> = sources.iter().map(|(name, lines)| (name.as_str(), lines.as_str())).collect();
    let mut server = Server::with(Setup { jobs: JOBS, sources: &sources, ..Setup::default() });
    move_to_socket(&mut server, |text| text);
    for (provider, status) in [
        (Provider::Github, "pong"),
        (Provider::Gitlab, "ignored"),
        (Provider::Gitea, "ignored"),
        (Provider::Forgejo, "ignored"),
        (Provider::Bitbucket, "ignored"),
        (Provider::BitbucketServer, "pong"),
        (Provider::PactBroker, "pong"),
    ] {
        let source = format!("a-{}", provider.as_str());
        // The second is no repetition of the first.
        for _ in 0..2 {
            let sent = server.hookspool(&["send", "--source", &source]);
            let said = out(&sent);
            assert!(sent.status.success() && said.starts_with(&format!("200 {{\"status\":\"{status}\"")), "{source}: {said}");
            assert_eq!(said.contains("starts nothing in Hookspool"), status == "ignored", "{source}: {said}");
        }
        let words = ["deliveries", "--source", &source, "--answer", status, "--json"];
        assert_eq!(server.json(&words).as_array().map(Vec::len), Some(2), "{source}");
    }
    server.settle();
    assert!(server.runs().is_empty());
}

#[test]
fn a_body_is_sent_to_whoever_names_its_event_and_to_no_other() {
    const JOBS: &str = "[[job]]\nname = \"verify\"\nwhen = { event = \"pact\" }\nbuild = \"true\"\n\
        [[job]]\nname = \"deploy\"\nwhen = { event = \"service\" }\nbuild = \"true\"\n";
    let [pact, all, one] = ["pact", "deploy-all", "redeploy"].map(example::source);
    let sources = [("pact", &*pact), ("deploy-all", &*all), ("redeploy", &*one)];
    let mut server = Server::with(Setup { jobs: JOBS, sources: &sources, ..Setup::default() });
    let call = pact_call(&server);
    move_to_socket(&mut server, |text| text);
    let file = |name: &str, body: &str| {
        let path = server.path().join(name);
        fs::write(&path, body).expect("a file can be written");
        path.to_string_lossy().into_owned()
    };
    let published = file("published.json", r#"{"action":"published"}"#);
    let contract = file("contract.json", &call);
    let web = "/redeploy-and-update/web";
    for (words, begin) in [
        (&["--source", "pact", "--body", &contract][..], "202 {\"status\":\"accepted\""),
        (&["--source", "deploy-all"], "202 {\"status\":\"accepted\""),
        (&["--source", "deploy-all", "--body", &published], "202 {\"status\":\"accepted\""),
        (&["--source", "redeploy", "--path", web], "202 {\"status\":\"accepted\""),
        (&["--source", "redeploy", "--path", web, "--body", &published], "202 {\"status\":\"accepted\""),
    ] {
        let sent = server.hookspool(&[&["send"], words].concat());
        assert!(sent.status.success() && out(&sent).starts_with(begin), "{words:?}: {}", out(&sent));
    }
    server.settle();
    let jobs: Vec<String> = server.runs().iter().map(|run| text(&run["job"])).collect();
    assert_eq!(jobs, ["verify", "deploy", "deploy", "deploy", "deploy"]);
    for (words, why) in [
        (
            &["--source", "pact", "--event", "contract_published"][..],
            "names the event in the body; leave --event contract_published out",
        ),
        (&["--source", "pact", "--event", "contract_published", "--body", &contract], "leave --event "),
        (&["--source", "redeploy", "--path", web, "--event", "published"], "leave --event "),
        (&["--source", "redeploy"], "--path /redeploy-and-update/SERVICE"),
        (&["--source", "github", "--body", &published], "name the --event"),
        (&["--source", "github", "--event", "push"], "an event `push` needs a --body; without --event a ping is sent"),
    ] {
        let refused = server.hookspool(&[&["send"], words].concat());
        assert!(refused.status.code() == Some(1) && out(&refused).contains(why), "{words:?}: {}", out(&refused));
    }
    assert_eq!(server.json(&["deliveries", "--json"]).as_array().map(Vec::len), Some(5));
}

/// A call of a Pact Broker for a pacticipant of the example's source.
fn pact_call(server: &Server) -> String {
    let body = serde_json::json!({
        "eventName": "contract_requiring_verification_published",
        "providerName": "Order API",
        "providerVersionNumber": server.laptop.head(),
    });
    body.to_string()
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
