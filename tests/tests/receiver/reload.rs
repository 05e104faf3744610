//! SIGHUP: configuration and secrets are read anew, and nobody who posts notices.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use hookspool_common::forges::Provider;
use hookspool_common::secrets::Secret;
use hookspool_tests::receiver::{DEADLINE, Installation, Post, RunningReceiver, push_body, secret, until};

use crate::metrics::{scraped, started, with_metrics};

const RELOADED: &str = "the configuration was reloaded";
const NOT_RELOADED: &str = "the configuration was not reloaded; the former one stays in force";

/// Hangs up, and waits until the log says once more what is expected of that.
fn hang_up(installation: &Installation, receiver: &RunningReceiver, expected: &str) {
    let said = || installation.log().unwrap().matches(expected).count();
    let before = said();
    receiver.hang_up().unwrap();
    until(expected, || Ok((said() > before).then_some(()))).unwrap_or_else(|error| {
        panic!("{error}; the log says:\n{}", installation.log().unwrap());
    });
}

const GITLAB: &str = "[[source]]\nname = \"gitlab\"\nprovider = \"gitlab\"\npath = \"/hooks/gitlab\"\nsecret = \"webhook\"\n";

#[test]
fn a_source_that_was_added_takes_deliveries_and_one_that_was_removed_does_not() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    let ask = || receiver.ask(b"POST /hooks/gitlab HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap().status;
    assert_eq!(ask(), 404);
    installation.edit_config("[[source]]", &format!("{GITLAB}[[source]]")).unwrap();
    hang_up(&installation, &receiver, RELOADED);
    assert_eq!(ask(), 401);
    assert_eq!(scraped(&place).of("hookspool_refused_total", &[("source", "gitlab"), ("reason", "unauthorized")]), 1.0);
    installation.edit_config(GITLAB, "").unwrap();
    hang_up(&installation, &receiver, RELOADED);
    assert_eq!(ask(), 404);
}

#[test]
fn whatever_is_wrong_is_said_with_its_place_and_the_former_configuration_stays() {
    let installation = with_metrics();
    let (receiver, place) = started(&installation);
    let good = fs::read_to_string(installation.config()).unwrap();
    let half = &good[..good.find("path = \"/hooks").unwrap() + 12];
    let broken = good.replace("provider = \"github\"", "provider = \"gitbub\"").replace("[receiver]", "[reciever]");
    let config = installation.config().display().to_string();
    let cases = [
        // A file of which only the beginning is there: somebody is just writing it.
        (half.to_owned(), vec![format!("{config}:11:13: ")]),
        (String::new(), vec!["there is no [[source]]".to_owned()]),
        (broken, vec![format!("{config}:5:2: hookspool.toml has no key `reciever`"), "gitbub".to_owned()]),
        (
            good.replace("\"webhook\"", "[\"absent\", \"webhook\", \"gone\"]"),
            vec!["secret `absent` is absent".to_owned(), "secret `gone` is absent".to_owned()],
        ),
    ];
    for (number, (text, complaints)) in (1..).zip(cases) {
        fs::write(installation.config(), &text).unwrap();
        hang_up(&installation, &receiver, NOT_RELOADED);
        let log = installation.log().unwrap();
        for complaint in complaints {
            assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(&complaint)), "{complaint} in {log}");
        }
        assert_eq!(receiver.post(&Post::push("master", number)).unwrap().status, 202);
        assert_eq!(scraped(&place).of("hookspool_config_last_reload_successful", &[]), 0.0);
    }
    fs::write(installation.config(), &good).unwrap();
    let before = scraped(&place).of("hookspool_config_last_reload_success_timestamp_seconds", &[]);
    hang_up(&installation, &receiver, RELOADED);
    let after = scraped(&place);
    assert_eq!(after.of("hookspool_config_last_reload_successful", &[]), 1.0);
    assert!(after.of("hookspool_config_last_reload_success_timestamp_seconds", &[]) > before);
}

#[test]
fn a_configuration_that_cannot_be_read_or_is_gone_ends_nothing() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    fs::set_permissions(installation.config(), fs::Permissions::from_mode(0o000)).unwrap();
    hang_up(&installation, &receiver, NOT_RELOADED);
    fs::remove_file(installation.config()).unwrap();
    hang_up(&installation, &receiver, NOT_RELOADED);
    let log = installation.log().unwrap();
    assert!(log.contains("Permission denied") && log.contains("No such file"), "{log}");
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
}

#[test]
fn a_secret_that_was_replaced_counts_and_the_former_one_does_not_but_for_what_had_begun() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let by = |secret: &Secret, number: u64| {
        Post::signed_with(secret, Provider::Github, "push", &number.to_string(), push_body("master", number))
    };
    let (former, new) = (secret(), Secret::new(b"the new one".to_vec()));
    // "100 Continue" says that the request has begun.
    let begun = by(&former, 1).and("expect", "100-continue");
    let (head, body) = (begun.head(push_body("master", 1).len()), push_body("master", 1));
    let mut connection = receiver.connect().unwrap();
    connection.send(&head).unwrap();
    assert_eq!(connection.answer().unwrap().status, 100);

    installation.write_secret("webhook", "the new one").unwrap();
    assert_eq!(receiver.post(&by(&new, 2)).unwrap().status, 401);
    hang_up(&installation, &receiver, RELOADED);
    assert_eq!(receiver.post(&by(&new, 2)).unwrap().status, 202);
    assert_eq!(receiver.post(&by(&former, 3)).unwrap().status, 401);
    connection.send(body.as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 202);
    connection.send(&by(&former, 4).bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 401);
}

#[test]
fn what_cannot_change_while_it_runs_is_said_loudly_and_the_rest_is_applied() {
    let installation = with_metrics();
    let (receiver, _) = started(&installation);
    installation.edit_config("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"\nuser = \"somebody\"").unwrap();
    installation.edit_config("metrics = \"127.0.0.1:0\"\n", "").unwrap();
    installation.edit_config("/spool\"", "/elsewhere\"").unwrap();
    installation.edit_config("[[source]]", &format!("{GITLAB}[[source]]")).unwrap();
    for _ in 0..2 {
        hang_up(&installation, &receiver, RELOADED);
    }
    let log = installation.log().unwrap();
    for key in ["[receiver] listen", "[receiver] metrics", "[receiver] user", "[paths] spool"] {
        let warning = format!("WARN {key} has changed; restart to apply that");
        assert_eq!(log.matches(&warning).count(), 2, "{warning} in {log}");
    }
    assert_eq!(receiver.ask(b"GET /hooks/gitlab HTTP/1.1\r\nhost: x\r\n\r\n").unwrap().status, 405);
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 202);
    assert_eq!(installation.records().unwrap().len(), 1);
}

/// Says that it is over, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn fifty_reloads_under_load_lose_no_delivery_and_drop_no_connection() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let (over, numbers) = (AtomicBool::new(false), AtomicU64::new(1));
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..4 {
            scope.spawn(|| {
                // One connection, from the first to the last.
                let mut connection = receiver.connect().unwrap();
                while !over.load(Relaxed) {
                    connection.send(&Post::push("master", numbers.fetch_add(1, Relaxed)).bytes()).unwrap();
                    assert_eq!(connection.answer().unwrap().status, 202);
                }
            });
        }
        let good = fs::read_to_string(installation.config()).unwrap();
        for reload in 0..50 {
            let (text, expected) = match reload % 3 {
                0 => (format!("{good}{GITLAB}"), RELOADED),
                1 => (good[..good.len() / 2].to_owned(), NOT_RELOADED),
                _ => (good.clone(), RELOADED),
            };
            fs::write(installation.config(), text).unwrap();
            hang_up(&installation, &receiver, expected);
        }
    });
    let sent = usize::try_from(numbers.load(Relaxed) - 1).unwrap();
    assert!(sent > 50, "{sent} deliveries are no load");
    assert_eq!(installation.records().unwrap().len(), sent);
}

#[test]
fn systemd_is_told_of_the_start_of_each_reload_and_of_what_came_of_it() {
    let installation = Installation::new().unwrap();
    let path = installation.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let told = || {
        let mut bytes = [0; 4096];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let receiver = installation.start_with(installation.command().unwrap().env("NOTIFY_SOCKET", &path)).unwrap();
    assert!(told().starts_with("READY=1\nSTATUS="));
    for (text, status) in [(None, "is in force"), (Some("["), "the former configuration stays in force")] {
        if let Some(text) = text {
            fs::write(installation.config(), text).unwrap();
        }
        receiver.hang_up().unwrap();
        let reloading = told();
        let monotonic = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(
            reloading.starts_with("RELOADING=1\n") && monotonic.is_some_and(|time| time.parse::<u64>().is_ok()),
            "{reloading}"
        );
        let ready = told();
        assert!(ready.starts_with("READY=1\n") && ready.contains(status), "{ready}");
    }
    receiver.terminate().unwrap();
    assert_eq!(told().trim_end(), "STOPPING=1");
}
