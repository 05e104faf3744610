//! What the receiver counts, as a scraper reads it.

mod text_format; // a strict reader of Prometheus' text format

use std::fs;

use hookspool_tests::receiver::{Connection, Installation, Post, RunningReceiver, until};
use hookspool_tests::server::{Delivery, Server, wait_for};

use text_format::Samples;

/// A receiver with metrics, and where they are.
pub(crate) fn started(installation: &Installation) -> (RunningReceiver, String) {
    let receiver = installation.start().unwrap();
    let place = receiver.next_place("metrics").unwrap();
    (receiver, place)
}

/// What is read at `place`.
pub(crate) fn scraped(place: &str) -> Samples {
    let mut connection = Connection::open(place).unwrap();
    connection.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    Samples::read(&answer.body)
}

pub(crate) fn with_metrics() -> Installation {
    let installation = Installation::new().unwrap();
    installation.write_config("127.0.0.1:0", "metrics = \"127.0.0.1:0\"").unwrap();
    installation
}

#[test]
fn known_deliveries_are_the_numbers_that_are_scraped() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    let post = |post: &Post| receiver.post(post).unwrap().status;
    for number in [1, 2, 3] {
        assert_eq!(post(&Post::push("master", number)), 202);
    }
    assert_eq!(post(&Post::push("master", 1)), 200);
    assert_eq!((post(&Post::push("develop", 4)), post(&Post::push("develop", 5))), (200, 200));
    assert_eq!(post(&Post::signed("ping", "6", "{}")), 200);
    for _ in 0..4 {
        assert_eq!(post(&Post::push("master", 7).with_body("{}")), 401);
    }
    assert_eq!(post(&Post::signed("push", "8", "no JSON")), 422);
    assert_eq!(receiver.ask(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").unwrap().status, 404);
    assert_eq!(receiver.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap().status, 200);

    let samples = scraped(&place);
    let of_github = |name: &str, label: &str, word: &str| samples.of(name, &[("source", "github"), (label, word)]);
    let answers =
        ["accepted", "ignored", "duplicate", "pong"].map(|word| of_github("hookspool_deliveries_total", "answer", word));
    assert_eq!(answers, [3.0, 2.0, 1.0, 1.0]);
    let refused = ["unauthorized", "malformed", "busy"].map(|word| of_github("hookspool_refused_total", "reason", word));
    assert_eq!(refused, [4.0, 1.0, 0.0]);
    assert_eq!(samples.of("hookspool_refused_total", &[("source", ""), ("reason", "not_found")]), 1.0);
    // One after the other, so each is a commit of its own; the duplicate's is one without a row.
    assert_eq!(samples.of("hookspool_commit_deliveries_count", &[]), 7.0);
    assert_eq!(samples.of("hookspool_commit_deliveries_sum", &[]), 7.0);
    assert_eq!(samples.of("hookspool_commit_duration_seconds_count", &[]), 7.0);
    let seconds = samples.of("hookspool_commit_duration_seconds_sum", &[]);
    assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
    let size = fs::metadata(installation.spool().join("inbox.db")).unwrap().len()
        + fs::metadata(installation.spool().join("inbox.db-wal")).unwrap().len();
    assert_eq!(samples.of("hookspool_spool_size_bytes", &[]).to_string(), size.to_string());
    assert_eq!(samples.of("hookspool_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!(samples.of("hookspool_config_last_reload_successful", &[]), 1.0);
    let age_of_the_process = seconds_since_the_epoch() - samples.of("process_start_time_seconds", &[]);
    assert!((0.0..60.0).contains(&age_of_the_process), "{age_of_the_process}");
}

fn seconds_since_the_epoch() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

#[test]
fn open_connections_are_counted_until_they_are_gone() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    let open = [receiver.connect().unwrap(), receiver.connect().unwrap(), receiver.connect().unwrap()];
    let wait_for = |count: f64| {
        until("the connections are counted", || Ok((scraped(&place).of("hookspool_connections", &[]) == count).then_some(())))
    };
    wait_for(3.0).unwrap();
    drop(open);
    wait_for(0.0).unwrap();
}

#[test]
fn where_strangers_post_to_there_are_no_metrics_and_where_metrics_are_there_is_nothing_else() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    let ask = |address: &str, request: &str| {
        let mut connection = Connection::open(address).unwrap();
        connection.send(format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
        connection.answer().unwrap().status
    };
    assert_eq!(ask(receiver.address(), "GET /metrics"), 404);
    assert_eq!((ask(&place, "GET /health"), ask(&place, "GET /"), ask(&place, "POST /hooks/github")), (404, 404, 404));
    assert_eq!(ask(&place, "POST /metrics"), 405);
}

#[test]
fn the_spools_age_is_that_of_the_oldest_delivery_until_the_worker_has_taken_it_over() {
    let mut server = Server::new("[[job]]\nname = \"a\"\nwhen = [{ event = \"push\", branch = \"master\" }]\nbuild = \"true\"\n");
    server.stop_receiver();
    let text = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), text.replace("[receiver]\n", "[receiver]\nmetrics = \"127.0.0.1:0\"\n")).unwrap();
    server.start_receiver();
    let place = server.receiver().next_place("metrics").unwrap();
    let age = || scraped(&place).of("hookspool_spool_age_seconds", &[]);
    assert_eq!(age(), 0.0);
    let commit = server.laptop.head();
    server.deliver(&Delivery::push("master", &commit));
    wait_for("the delivery to grow old", || (age() > 0.2).then_some(()));
    // The importer of a second pass is the first to be told what the ledger has.
    server.run_pass();
    wait_for("the mark", || {
        server.run_pass();
        (age() == 0.0).then_some(())
    });
}

#[test]
fn an_inbox_that_cannot_be_read_is_said_and_everything_else_is_told() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    let inbox = installation.spool().join("inbox.db");
    fs::rename(&inbox, installation.spool().join("elsewhere.db")).unwrap();
    let samples = scraped(&place);
    assert!(!samples.has("hookspool_spool_age_seconds") && samples.has("hookspool_deliveries_total"));
    assert!(installation.log().unwrap().contains("how much waits in the spool is not known"));
}

#[test]
fn a_delivery_whose_sender_has_gone_is_stored_counted_and_logged_and_held_against_nobody() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    // Whoever writes to the inbox waits for this.
    let holder = rusqlite::Connection::open(installation.spool().join("inbox.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    for number in 1..=3 {
        let mut connection = receiver.connect().unwrap();
        connection.send(&Post::push("master", number).bytes()).unwrap();
        connection.finish().unwrap();
    }
    // It has seen all of them, and their end, by the time that it answers another.
    assert_eq!(receiver.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap().status, 200);
    holder.execute_batch("COMMIT").unwrap();
    let accepted = || scraped(&place).of("hookspool_deliveries_total", &[("source", "github"), ("answer", "accepted")]);
    until("they are counted", || Ok((accepted() == 3.0).then_some(()))).unwrap();
    let samples = scraped(&place);
    assert_eq!(samples.of("hookspool_refused_total", &[("source", "github"), ("reason", "cut_off")]), 0.0);
    assert_eq!(samples.of("hookspool_connections_without_request_total", &[]), 0.0);
    assert_eq!(installation.log().unwrap().matches(": accepted").count(), 3);
    assert_eq!(installation.records().unwrap().len(), 3);
}

#[test]
fn connections_that_never_became_a_request_and_room_are_counted() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    let before = scraped(&place);
    let used = before.of("hookspool_spool_used_bytes", &[]);
    assert!(used > 0.0, "known before the first delivery");
    assert_eq!(before.of("hookspool_spool_full", &[]), 0.0);
    assert_eq!(before.of("hookspool_connections_closed_for_newcomers_total", &[]), 0.0);
    assert_eq!(receiver.ask(b"no HTTP\r\n\r\n").unwrap().status, 400);
    let large = format!("GET / HTTP/1.1\r\nx-large: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(receiver.ask(large.as_bytes()).unwrap().status, 431);
    let unread = || scraped(&place).of("hookspool_connections_without_request_total", &[]);
    until("both are counted", || Ok((unread() == 2.0).then_some(()))).unwrap();
    installation.edit_config("[receiver]\n", "[receiver]\nspool_reserve = \"1000000GiB\"\n").unwrap();
    receiver.hang_up().unwrap();
    // Nobody delivers, and it is known all the same.
    until("it is full", || Ok((scraped(&place).of("hookspool_spool_full", &[]) == 1.0).then_some(()))).unwrap();
}

#[test]
fn scrapes_of_a_disk_that_hangs_do_not_hold_up_a_reload() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    // Reading a pipe that nobody writes to takes as long as a disk that hangs.
    nix::unistd::mkfifo(&installation.spool().join("taken-over"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    installation.give_to_user(&installation.spool().join("taken-over")).unwrap();
    let mut scrapes: Vec<_> = (0..4).map(|_| Connection::open(&place).unwrap()).collect();
    for connection in &mut scrapes {
        connection.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    }
    // A request of another path is answered by the same listener after them, so that they have been taken up.
    let mut after = Connection::open(&place).unwrap();
    after.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(after.answer().unwrap().status, 404);
    receiver.hang_up().unwrap();
    until("the reload", || Ok(installation.log()?.contains("the configuration was reloaded").then_some(()))).unwrap();
}

#[test]
fn scrapes_under_load_hold_nobody_up() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    std::thread::scope(|scope| {
        let posting = scope.spawn(|| {
            let mut connection = receiver.connect().unwrap();
            for number in 1..=500 {
                connection.send(&Post::push("master", number).bytes()).unwrap();
                assert_eq!(connection.answer().unwrap().status, 202);
            }
        });
        let mut last = 0.0;
        while !posting.is_finished() {
            let now = scraped(&place).of("hookspool_commit_deliveries_sum", &[]);
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    });
    assert_eq!(scraped(&place).of("hookspool_commit_deliveries_sum", &[]), 500.0);
}
