//! What a real Docker registry tells of, from the push of an image to the job that gets to know it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use hookspool_common::inbox::{INBOX_FILE, InboxReader, SqliteInboxReader};
use hookspool_common::record::{Answer, Record};
use hookspool_tests::registry::Registry;
use hookspool_tests::server::{PATIENCE, Server, Setup, wait_for};
use hookspool_tests::{curl, example};
use serde_json::Value;

const JOB: &str = "[[job]]\nname = \"deploy\"\n\
    when = { event = \"package\", action = \"push\", name = \"shop/web\", tag = \"*\" }\n\
    build = \"cp $HOOKSPOOL_EVENT $OUT/event.json\"\n";

/// A server, and a registry that tells it of everything; nothing where there is no registry to be had.
fn server_and_registry(authorization: &str) -> Option<(Server, Registry)> {
    if !curl::is_there() {
        return None;
    }
    let server = Server::with(Setup { jobs: JOB, sources: &[("registry", &example::source("registry"))], ..Setup::default() });
    let registry = Registry::start(&server.url_of("/hooks/registry"), authorization).unwrap()?;
    Some((server, registry))
}

const TOKEN: &str = "Bearer a secret of the tests";

fn records(server: &Server) -> Vec<Record> {
    SqliteInboxReader::open(&server.spool().join(INBOX_FILE)).unwrap().read_after(0, 1000).unwrap()
}

/// Waits until the registry has told of something that was answered so, for this reason.
fn wait_for_record(server: &Server, registry: &Registry, answer: Answer, reason: &str) -> Record {
    let is_it = |record: &Record| record.answer == answer && record.reason.as_deref().unwrap_or_default().contains(reason);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let records = records(server);
        if let Some(found) = records.iter().find(|record| is_it(record)) {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "no delivery is {answer:?} {reason}: {records:#?}\n{}", registry.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn told(server: &Server) -> Value {
    serde_json::from_str(&server.written("event.json").unwrap()).unwrap()
}

#[test]
fn a_pushed_image_reaches_its_job_with_name_tag_and_digest() {
    let Some((server, registry)) = server_and_registry(TOKEN) else { return };
    let digest = registry.push("shop/web", "v1.2");
    wait_for_record(&server, &registry, Answer::Accepted, "");
    server.settle();
    assert_eq!(server.states(), ["succeeded"], "{}", server.log(1));
    let package = &told(&server)["package"];
    let url = package["url"].as_str().unwrap();
    assert!(url.contains("/v2/shop/web/manifests/"), "{url}");
    assert_eq!(
        [&package["action"], &package["name"], &package["tag"], &package["digest"]],
        ["push", "shop/web", "v1.2", &digest]
    );
}

#[test]
fn layers_pulls_and_other_images_are_ignored_with_the_reason() {
    let Some((server, registry)) = server_and_registry(TOKEN) else { return };
    registry.push("shop/web", "v1");
    registry.pull("shop/web", "v1");
    registry.push("shop/other", "v1");
    wait_for_record(&server, &registry, Answer::Ignored, "the event has no tag, and `tag` asks for");
    wait_for_record(&server, &registry, Answer::Ignored, "action \"pull\" does not fit");
    wait_for_record(&server, &registry, Answer::Ignored, "name \"shop/other\" does not fit");
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
}

#[test]
fn the_same_image_pushed_again_is_another_delivery() {
    let Some((server, registry)) = server_and_registry(TOKEN) else { return };
    for count in 1..3 {
        registry.push("shop/web", "latest");
        let accepted = || records(&server).iter().filter(|record| record.answer == Answer::Accepted).count();
        wait_for("the push to be told", || (accepted() == count).then_some(()));
        server.settle();
    }
    assert_eq!(server.states(), ["succeeded", "succeeded"]);
}

#[test]
fn what_is_pushed_while_the_receiver_is_down_is_told_when_it_is_back() {
    let Some((mut server, registry)) = server_and_registry(TOKEN) else { return };
    server.keep_address();
    server.stop_receiver();
    let digest = registry.push("shop/web", "v2");
    wait_for("the registry to try in vain", || registry.log().contains("retryingsink: error writing").then_some(()));
    server.start_receiver();
    wait_for_record(&server, &registry, Answer::Accepted, "");
    server.settle();
    assert_eq!(server.states(), ["succeeded"]);
    assert_eq!(told(&server)["package"]["digest"], digest.as_str());
}

#[test]
fn a_registry_with_another_token_tells_nothing() {
    let Some((server, registry)) = server_and_registry("Bearer another") else { return };
    registry.push("shop/web", "v1");
    wait_for("the registry to be refused", || registry.log().contains("401 Unauthorized").then_some(()));
    assert!(records(&server).is_empty());
}
