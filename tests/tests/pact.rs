//! A Pact Broker's webhook, rendered from the documented template and posted by curl, through the real programs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use hookspool_tests::curl::{self, curl};
use hookspool_tests::example;
use hookspool_tests::programs::workspace;
use hookspool_tests::server::{Server, Setup, text};
use serde_json::{Value, json};

const SECRET: &str = "a secret of the tests";
const PACT: &str = "https://broker.example.org/pacts/provider/Order%20API/consumer/Shop/pact-version/f00";

const JOB: &str = "[[job]]\nname = \"verify\"\n\
    when = { event = \"pact\", action = \"contract_requiring_verification_published\" }\n\
    build = \"env | grep -e ^HOOKSPOOL_PACT -e ^HOOKSPOOL_ACTION -e ^HOOKSPOOL_EVENT_KIND | sort >$OUT/env; \
    git rev-parse HEAD >>$OUT/built; cat message >>$OUT/message\"\n";

fn server() -> Server {
    Server::with(Setup { jobs: JOB, sources: &[("pact", &example::source("pact"))], ..Setup::default() })
}

/// The documented body for an event of the Order API at this version, as a broker fills it in.
fn body(event: &str, provider_version: &str, pact: &str) -> String {
    let webhook = std::fs::read_to_string(workspace().join("docs/examples/pact-broker-webhook.json")).unwrap();
    let webhook: Value = serde_json::from_str(&webhook).unwrap();
    let mut body = webhook["request"]["body"].clone();
    for value in body.as_object_mut().unwrap().values_mut() {
        let parameter = text(value).trim_start_matches("${pactbroker.").trim_end_matches('}').to_owned();
        *value = json!(match parameter.as_str() {
            "eventName" => event,
            "pactUrl" => pact,
            "consumerName" => "Shop",
            "consumerVersionNumber" => "7.1.0",
            "providerName" => "Order API",
            "providerVersionNumber" => provider_version,
            "providerVersionBranch" => "master",
            "githubVerificationStatus" => "pending",
            _ => "",
        });
    }
    body.to_string()
}

fn post(server: &Server, body: &str) -> hookspool_tests::receiver::Answer {
    let authorization = format!("Authorization: Bearer {SECRET}");
    curl::post(&server.url_of("/hooks/pact"), &["Content-Type: application/json", &authorization], body)
}

#[test]
fn a_brokers_call_builds_the_provider_at_its_version_with_the_contracts_address() {
    if !curl::is_there() {
        return;
    }
    let server = server();
    let deployed = server.laptop.head();
    server.laptop.push_commit("master", "Not deployed yet");
    let call = body("contract_requiring_verification_published", &deployed, PACT);
    let answer = post(&server, &call);
    assert_eq!((answer.status, answer.text("status").as_str()), (202, "accepted"), "{}", answer.body);
    server.settle();
    assert_eq!(server.outcome(1).0, "succeeded", "{}", server.log(1));
    assert_eq!(server.written("built").unwrap(), deployed);
    let expected = [
        "HOOKSPOOL_ACTION=contract_requiring_verification_published",
        "HOOKSPOOL_EVENT_KIND=pact",
        "HOOKSPOOL_PACT_CONSUMER=Shop",
        "HOOKSPOOL_PACT_CONSUMER_VERSION=7.1.0",
        "HOOKSPOOL_PACT_PROVIDER=Order API",
        &format!("HOOKSPOOL_PACT_PROVIDER_VERSION={deployed}"),
        &format!("HOOKSPOOL_PACT_URL={PACT}"),
    ];
    assert_eq!(server.written("env").unwrap().lines().collect::<Vec<_>>(), expected);
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    for variable in expected.iter().filter_map(|line| line.split('=').next()) {
        assert!(readme.contains(&format!("`{variable}`")), "README.md does not tell of {variable}");
    }
    // The broker tries again when an answer is lost.
    let again = post(&server, &call);
    assert_eq!((again.status, again.text("status").as_str()), (200, "duplicate"), "{}", again.body);
}

#[test]
fn each_contract_for_one_version_is_verified() {
    if !curl::is_there() {
        return;
    }
    let server = server();
    let sha = server.laptop.head();
    for number in 0..3 {
        let call = body("contract_requiring_verification_published", &sha, &format!("{PACT}{number}"));
        assert_eq!(post(&server, &call).status, 202);
    }
    server.settle();
    assert_eq!(server.states(), ["succeeded", "succeeded", "succeeded"]);
    assert_eq!(server.written("built").unwrap().lines().count(), 3);
}

#[test]
fn a_version_that_is_no_commit_builds_the_branch_as_it_is() {
    if !curl::is_there() {
        return;
    }
    let server = server();
    let head = server.laptop.push_commit("master", "The newest");
    assert_eq!(post(&server, &body("contract_requiring_verification_published", "2.0.1", PACT)).status, 202);
    server.settle();
    assert_eq!(server.written("built").unwrap(), head);
}

#[test]
fn what_asks_for_nothing_is_ignored_with_the_reason() {
    if !curl::is_there() {
        return;
    }
    let server = server();
    let sha = server.laptop.head();
    let reason = |body: &str| {
        let answer = post(&server, body);
        assert_eq!((answer.status, answer.text("status").as_str()), (200, "ignored"), "{}", answer.body);
        answer.text("reason")
    };
    let published = reason(&body("contract_published", &sha, PACT));
    assert!(published.contains("job `verify`: action \"contract_published\" does not fit"), "{published}");
    let verified = reason(&body("provider_verification_succeeded", &sha, PACT));
    assert!(verified.contains("`Shop` is not in [source.repositories] of source `pact`"), "{verified}");
    assert!(reason("{\"text\":\"hello\"}").contains("missing field `eventName`"));
    let ping = post(&server, &body("test", &sha, PACT));
    assert_eq!((ping.status, ping.text("status").as_str()), (200, "pong"), "{}", ping.body);
    assert!(server.runs().is_empty());
}

#[test]
fn a_broker_proves_itself_by_token_or_password_and_nobody_else_can() {
    if !curl::is_there() {
        return;
    }
    let server = server();
    let call = body("test", "", "");
    let url = server.url_of("/hooks/pact");
    let json = ["--header", "Content-Type: application/json", "--data-binary", "@-", &url];
    let with = |words: &[&str]| curl(&[words, &json].concat(), call.as_bytes());
    let pair = format!("broker:{SECRET}");
    assert_eq!(with(&["--user", &pair]).text("status"), "pong");
    let wrong = [
        with(&[]),
        with(&["--user", "broker:wrong"]),
        with(&["--user", &format!("{SECRET}:")]),
        with(&["--oauth2-bearer", "wrong"]),
        with(&["--header", &format!("Authorization: {SECRET}")]),
        with(&["--header", &format!("Authorization: Bearer {SECRET}"), "--header", "Authorization: Bearer x"]),
    ];
    for answer in wrong {
        assert_eq!((answer.status, answer.body.as_str()), (401, "{\"status\":\"unauthorized\"}"), "{}", answer.head);
    }
}

#[test]
fn explain_says_what_a_broker_tells_of() {
    let server = server();
    let file = server.out("call.json");
    std::fs::write(&file, body("contract_requiring_verification_published", &server.laptop.head(), PACT)).unwrap();
    let file = file.to_string_lossy();
    let events = server.json(&["explain", "--provider", "pact-broker", "--body", &file, "--json"]);
    assert_eq!(events["events"][0]["pact"]["url"], PACT);
    let matched = server.json(&["explain", "--source", "pact", "--body", &file, "--json"]);
    assert_eq!(matched["matches"], json!([{ "repository": "github.com/octo/shop", "job": "verify" }]));
}
