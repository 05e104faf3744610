//! From an outcome to the mails that tell of it.

use super::sample::{Sample, mail};
use super::*;
use hookspool_common::config::{NotifyOn, Recipient};

fn notify(to: &[&str], on: NotifyOn) -> Notify {
    let recipient = |name: &&str| match *name {
        "pusher" => Recipient::Pusher,
        address => Recipient::Address(address.parse().unwrap()),
    };
    Notify { to: to.iter().map(recipient).collect(), on }
}

fn told(notices: &[NewNotice]) -> Vec<&str> {
    notices.iter().map(|notice| notice.recipient.as_str()).collect()
}

#[test]
fn everybody_who_is_to_hear_of_a_run_gets_one_mail() {
    let sample = Sample::failed();
    let notices =
        notices(&mail(), &notify(&["pusher", "team@example.org", "mona@example.org"], NotifyOn::Always), &sample.story(), None);
    assert_eq!(told(&notices), ["mona@example.org", "team@example.org"]);
    assert_ne!(notices[0].message_id, notices[1].message_id);
}

#[test]
fn nobody_is_told_of_what_did_not_change() {
    let sample = Sample::succeeded();
    assert_eq!(notices(&mail(), &notify(&["pusher"], NotifyOn::Change), &sample.story(), None), []);
}

#[test]
fn whoever_no_mail_can_be_made_for_is_replaced_by_the_fallback() {
    let mut sample = Sample::failed();
    // The configuration takes two dots for a part of an address; mail does not (RFC 5322 section 3.2.3).
    sample.run.event.pusher.email = Some("mona..lisa@example.org".to_owned());
    let only_pusher = notices(&mail(), &notify(&["pusher"], NotifyOn::Always), &sample.story(), None);
    assert_eq!(told(&only_pusher), ["ops@example.org"]);
    let with_fallback = notices(&mail(), &notify(&["ops@example.org", "pusher"], NotifyOn::Always), &sample.story(), None);
    assert_eq!(told(&with_fallback), ["ops@example.org"]);
    let mut without = mail();
    without.fallback = None;
    assert_eq!(notices(&without, &notify(&["pusher"], NotifyOn::Always), &sample.story(), None), []);
}

#[test]
fn a_notice_goes_the_configured_way_and_arrives_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut mail = mail();
    mail.transport = config::Transport::Maildir(folder.path().join("mail"));
    let sample = Sample::failed();
    let notices = notices(&mail, &notify(&["pusher"], NotifyOn::Always), &sample.story(), None);
    let mailer = Mailer::new(&mail, None).unwrap();
    mailer.send(&notices[0]).unwrap();
    mailer.send(&notices[0]).unwrap();
    let delivered: Vec<_> = std::fs::read_dir(folder.path().join("mail/new")).unwrap().collect();
    assert_eq!(delivered.len(), 1);
}
