//! Callers of a GitOps server: a CI job with curl, and GitHub, posting to the paths that they know, with the shipped
//! example's sources and the real programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookspool_common::signature::{hex, hmac_sha256};
use hookspool_tests::curl::{self, curl, post};
use hookspool_tests::example;
use hookspool_tests::receiver::{Answer, secret};
use hookspool_tests::server::{Delivery, Server, Setup, text, wait_for};

/// What deploys takes its turn, and none takes the place of another.
const DEPLOY: &str = "[[job]]\nname = \"deploy\"\nwhen = { event = \"service\" }\n\
    lane = { group = \"deploy\", on_new = \"queue\" }\n\
    build = \"echo ${HOOKSPOOL_SERVICE-all} ${HOOKSPOOL_ACTION-} $HOOKSPOOL_SHA >>$OUT/deployed\"\n";

const REDEPLOY: &str = "[[job]]\nname = \"deploy\"\nwhen = { event = \"service\", action = \"published\" }\n\
    lane = { group = \"deploy\", on_new = \"queue\" }\n\
    build = \"echo $HOOKSPOOL_SERVICE $HOOKSPOOL_ACTION >>$OUT/deployed\"\n";

const PUBLISHED: &str = r#"{"action":"published"}"#;

/// A server with one source of the example; nothing where there is no curl.
fn server(source: &str, lines: &str, jobs: &str) -> Option<Server> {
    curl::is_there().then(|| Server::with(Setup { jobs, sources: &[(source, lines)], ..Setup::default() }))
}

fn signature(signed: &str) -> String {
    format!("X-Hub-Signature-256: sha256={}", hex(&hmac_sha256(&secret(), signed.as_bytes())))
}

/// Status, and what the answer's `status` says.
fn said(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text("status"))
}

fn is(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[test]
fn an_empty_signed_body_deploys_all_however_it_is_posted_and_each_time_anew() {
    let Some(server) = server("deploy-all", &example::source("deploy-all"), DEPLOY) else { return };
    let (url, signed) = (server.url_of("/deploy-all-changed"), signature(""));
    // Without content type and length; as an empty form; as empty JSON; and the first again.
    let plain = ["--request", "POST", "--header", &signed, &url];
    let form = ["--data", "", "--header", &signed, &url];
    let json = ["--data", "", "--header", "Content-Type: application/json", "--header", &signed, &url];
    for words in [&plain[..], &form, &json, &plain] {
        let answer = curl(words, b"");
        assert_eq!(said(&answer), is(202, "accepted"), "{words:?}: {}", answer.body);
    }
    server.settle();
    let deployed = format!("all {}", server.laptop.head());
    assert_eq!(server.written("deployed").unwrap().replace("  ", " ").lines().collect::<Vec<_>>(), [&*deployed; 4]);
}

#[test]
fn a_service_is_redeployed_when_its_image_was_published_and_for_nothing_else() {
    let Some(server) = server("redeploy", &example::source("redeploy"), REDEPLOY) else { return };
    let redeploy = |service: &str, body: &str, id: &str| {
        let headers = [&*signature(body), "Content-Type: application/json", id];
        post(&server.url_of(&format!("/redeploy-and-update/{service}")), &headers, body)
    };
    for service in ["web", "api", "web"] {
        assert_eq!(said(&redeploy(service, PUBLISHED, "X-Other: 1")), is(202, "accepted"), "{service}");
    }
    let ignored = redeploy("web", r#"{"action":"created"}"#, "X-Other: 1");
    assert_eq!(said(&ignored), is(200, "ignored"));
    assert!(ignored.text("reason").contains("action \"created\" does not fit \"published\""), "{}", ignored.body);
    assert!(redeploy("web", "{}", "X-Other: 1").text("reason").contains("the event has no action"));
    // GitHub's own id tells that it tries again.
    assert_eq!(said(&redeploy("db", PUBLISHED, "X-GitHub-Delivery: 1")), is(202, "accepted"));
    assert_eq!(said(&redeploy("db", PUBLISHED, "X-GitHub-Delivery: 1")), is(200, "duplicate"));
    server.settle();
    let deployed = server.written("deployed").unwrap();
    assert_eq!(deployed.lines().collect::<Vec<_>>(), ["web published", "api published", "web published", "db published"]);
}

#[test]
fn a_hostile_service_name_is_no_path_and_a_wrong_signature_no_caller() {
    let Some(server) = server("redeploy", &example::source("redeploy"), REDEPLOY) else { return };
    let signed = signature(PUBLISHED);
    let call = |path: &str, signature: &str| {
        let url = server.url_of(path);
        let json = "Content-Type: application/json";
        let words = ["--path-as-is", "--globoff", "--data-binary", "@-", "--header", json, "--header", signature, url.as_str()];
        curl(&words, PUBLISHED.as_bytes())
    };
    let long = "x".repeat(129);
    for name in
        ["", "..", "../web", "../../etc/passwd", "%2e%2e", "web%2fdb", "web/db", ".hidden", "-rf", "a;id", "$(id)", "a%00", &long]
    {
        let answer = call(&format!("/redeploy-and-update/{name}"), &signed);
        assert_eq!(answer.status, 404, "{name:?}: {}", answer.body);
    }
    let zeros = format!("X-Hub-Signature-256: sha256={}", "0".repeat(64));
    for wrong in [&*zeros, &signature(""), "X-Hub-Signature-256: ", "X-Hub-Signature: sha1=00", &signed.replace("sha256=", "")] {
        assert_eq!(said(&call("/redeploy-and-update/web", wrong)), is(401, "unauthorized"), "{wrong}");
    }
    assert_eq!(call("/redeploy-and-update/web", &signed).status, 202);
}

#[test]
fn a_signed_time_makes_a_replay_a_duplicate_and_later_worthless() {
    let source = example::source("deploy-all");
    let timed = source.replace("# timestamp = ", "timestamp = ").replace("5m", "10s");
    assert!(timed.contains("\ntimestamp = ") && timed.contains("\"10s\""), "{timed}");
    let Some(server) = server("deploy-all", &timed, DEPLOY) else { return };
    let url = server.url_of("/deploy-all-changed");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let call = |at: u64| post(&url, &[&signature(&format!("{at}.")), &format!("X-Timestamp: {at}")], "");
    let at = now();
    assert_eq!(said(&call(at)), is(202, "accepted"));
    assert_eq!(said(&call(at)), is(200, "duplicate"));
    assert_eq!(said(&post(&url, &[&signature(""), &format!("X-Timestamp: {at}")], "")), is(401, "unauthorized"));
    assert_eq!(said(&post(&url, &[&signature(&format!("{at}."))], "")), is(401, "unauthorized"));
    assert_eq!(said(&call(at - 60)), is(401, "unauthorized"));
    wait_for("the signed time to grow old", || {
        std::thread::sleep(Duration::from_millis(100));
        (call(at).status == 401).then_some(())
    });
    assert!(now() - at > 10);
    // The next second is another call.
    assert_eq!(said(&call(now())), is(202, "accepted"));
}

#[test]
fn a_github_app_posts_to_the_path_that_it_knows() {
    let jobs = "[[job]]\nname = \"tests\"\nwhen = { event = \"push\" }\nbuild = \"echo $HOOKSPOOL_SHA >$OUT/built\"\n";
    let Some(server) = server("github-app", &example::source("github-app"), jobs) else { return };
    let sha = server.laptop.head();
    let body = Delivery::push("master", &sha).body.to_string();
    let headers = [&*signature(&body), "Content-Type: application/json", "X-GitHub-Event: push", "X-GitHub-Delivery: 1"];
    assert_eq!(said(&post(&server.url_of("/api/v1/github_event"), &headers, &body)), is(202, "accepted"));
    server.settle();
    assert_eq!(server.written("built").unwrap(), sha);
}

#[test]
fn check_warns_where_a_delivery_could_be_posted_again() {
    let redeploy = example::source("redeploy");
    let server = Server::new(REDEPLOY);
    let warnings = |lines: &str| {
        server.configure(Setup { jobs: REDEPLOY, sources: &[("redeploy", lines)], ..Setup::default() });
        let warnings = server.json(&["check", "--json"])["warnings"].clone();
        let warnings = warnings.as_array().unwrap().iter().map(text);
        warnings.filter(|warning| warning.contains("source")).collect::<Vec<String>>()
    };
    let open = warnings(&redeploy);
    assert!(open[0].starts_with("the source `redeploy` has `repeats` and no `timestamp`"), "{open:?}");
    assert!(open[1].starts_with("the sources `github` and `redeploy` share the secret `webhook`"), "{open:?}");
    assert_eq!(open.len(), 2, "{open:?}");
    let timed = redeploy.replace("# timestamp = ", "timestamp = ");
    let (standard, token) =
        ("signature = \"standard-webhooks\"\n[source.facts]", "token = { header = \"X-Token\" }\n[source.facts]");
    let once = redeploy.replace("repeats = true", "repeats = false");
    for closed in [
        timed,
        redeploy.replace("[source.facts]", standard).replace("id = \"X-GitHub-Delivery\"\n", ""),
        redeploy.replace("[source.facts]", token),
        once,
    ] {
        assert_ne!(closed, redeploy);
        let warnings = warnings(&closed);
        assert!(matches!(&warnings[..], [one] if one.contains("share the secret")), "{closed}\n{warnings:?}");
    }
}
