//! A run's mail on its whole way: from the outcome in the ledger through a real exim4, with STARTTLS and a login, into
//! the pusher's mailbox.

use hookspool_tests::exim::{Exim, LOGIN, PASSWORD};
use hookspool_tests::server::{Delivery, Mail, Server, Setup, text, wait_for};

const JOB: &str =
    "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"echo Grüße; exit 3\"\nsecrets = [\"TOKEN\"]\n";

/// A server that mails through `exim`.
fn server(exim: &Exim) -> Server {
    let smtp = format!(
        "smtp = \"smtp+starttls://{LOGIN}@localhost:{}\"\npassword = \"smtp-password\"\nca_file = \"{}\"",
        exim.port(),
        exim.certificate().display()
    );
    let server = Server::with(Setup { jobs: JOB, smtp: Some(&smtp), ..Setup::default() });
    server.write_secret("smtp-password", &format!("{PASSWORD}\n"));
    server.write_secret("TOKEN", "open sesame");
    server
}

#[test]
fn the_pusher_gets_the_mail_over_starttls_after_a_login() {
    let Some(mut exim) = Exim::prepare().unwrap() else { return };
    exim.start().unwrap();
    let server = server(&exim);
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    let sent = &server.show(1)["mails"][0];
    assert_eq!((text(&sent["state"]), text(&sent["to"])), ("sent".to_owned(), "mona@example.org".to_owned()));
    let mails = exim.wait_for_mails("mona", 1).unwrap();
    assert!(mails[0].contains("with esmtpsa"), "{}", mails[0]);
    let mail = Mail::parse(&mails[0]);
    assert_eq!(mail.header("Message-ID"), text(&sent["message_id"]));
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.subject().contains("tests failed on master") && mail.subject().contains("status 3"), "{}", mail.subject());
    assert!(mail.body.contains("  | Grüße\n"), "{}", mail.body);
    assert_eq!(exim.mails("ops").unwrap().len(), 0);
}

#[test]
fn a_mail_waits_for_its_server_and_arrives_once_while_runs_go_on() {
    let Some(mut exim) = Exim::prepare().unwrap() else { return };
    let server = server(&exim);
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    // The run is what it is, whatever becomes of its mail.
    assert_eq!(server.outcome(1), ("failed".to_owned(), "build exited with status 3".to_owned()));
    let waiting = server.show(1)["mails"][0].clone();
    assert_eq!(text(&waiting["state"]), "due");
    assert!(!text(&waiting["error"]).is_empty() && waiting["at"].is_string(), "{waiting}");
    // Another run is not held up, and a pass that comes too early does not try again.
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.push_commit("master", "Next")));
    assert_eq!(server.states(), ["failed", "failed"]);
    server.run_pass();
    assert_eq!(server.show(1)["mails"][0], waiting);
    exim.start().unwrap();
    // The first back-off is ten seconds, more or less; passes come meanwhile, as from cron.
    wait_for("both mails to leave", || {
        server.run_pass();
        let is_sent = |run: i64| server.show(run)["mails"][0]["state"] == "sent";
        (is_sent(1) && is_sent(2)).then_some(())
    });
    server.settle();
    let mails = exim.wait_for_mails("mona", 2).unwrap();
    let mut ids: Vec<String> = mails.iter().map(|mail| Mail::parse(mail).header("Message-ID").to_owned()).collect();
    let mut expected: Vec<String> = (1..=2).map(|run| text(&server.show(run)["mails"][0]["message_id"])).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

#[test]
fn a_wrong_password_is_told_in_the_trace_and_nowhere_shown() {
    let Some(mut exim) = Exim::prepare().unwrap() else { return };
    exim.start().unwrap();
    let server = server(&exim);
    std::fs::remove_file(server.path().join("secrets/smtp-password")).unwrap();
    server.write_secret("smtp-password", "battery staple");
    let id = server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    let traced = server.json(&["trace", &id, "--json"]).to_string();
    assert!(traced.contains("will be tried again"), "{traced}");
    for shown in [traced, server.worker_log(), server.log(1)] {
        assert!(!shown.contains("staple") && !shown.contains(PASSWORD), "{shown}");
    }
    assert_eq!(exim.mails("mona").unwrap().len(), 0);
}
