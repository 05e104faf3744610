//! What is composed here is read by another's parser, with whatever could stand in any field.

use super::super::sample::{Sample, commit, mail, person};
use super::*;
use hookspool_common::ledger::{Outcome, ProcessResult};
use mail_parser::{Message as Parsed, MessageParser};
use proptest::prelude::*;

fn parsed(notice: &NewNotice) -> Parsed<'_> {
    MessageParser::default().parse(&notice.message).unwrap()
}

/// The headers' names as they stand in the bytes, without a parser's mercy.
fn header_names(notice: &NewNotice) -> Vec<String> {
    let text = std::str::from_utf8(&notice.message).unwrap();
    let (headers, _) = text.split_once("\r\n\r\n").unwrap();
    let unfolded = headers.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut names: Vec<String> = unfolded.split("\r\n").map(|line| line.split(':').next().unwrap().to_owned()).collect();
    names.sort();
    names
}

const HEADERS: [&str; 13] = [
    "Auto-Submitted",
    "Content-Transfer-Encoding",
    "Content-Type",
    "Date",
    "From",
    "List-Id",
    "MIME-Version",
    "Message-ID",
    "Subject",
    "To",
    "X-Hookspool-Repository",
    "X-Hookspool-Run",
    "X-Hookspool-State",
];

#[test]
fn a_message_as_it_crosses_the_network() {
    let notice = compose(&mail(), "mona@example.org", &Sample::failed().story()).unwrap();
    insta::assert_snapshot!(String::from_utf8(notice.message).unwrap().replace("\r\n", "\n"));
}

#[test]
fn the_envelope_is_the_sender_and_the_recipient_without_their_names() {
    let notice = compose(&mail(), "Mona@Example.org", &Sample::failed().story()).unwrap();
    assert_eq!((notice.sender.as_str(), notice.recipient.as_str()), ("ci@example.org", "Mona@Example.org"));
    let message = parsed(&notice);
    assert_eq!(message.from().unwrap().first().unwrap().name(), Some("CI"));
    assert_eq!(message.to().unwrap().first().unwrap().address(), Some("Mona@Example.org"));
    assert_eq!(message.date().unwrap().to_rfc3339(), "2026-03-01T12:01:20Z");
}

#[test]
fn a_mail_keeps_its_id_however_often_it_is_written() {
    let sample = Sample::failed();
    let id = |sample: &Sample, to: &str| compose(&mail(), to, &sample.story()).unwrap().message_id;
    let first = id(&sample, "mona@example.org");
    assert!(first.starts_with("<hookspool-run-17-") && first.ends_with("@example.org>"), "{first}");
    assert_eq!(first, id(&sample, "MONA@example.org"));
    assert_ne!(first, id(&sample, "ops@example.org"));
    let mut other_ledger = Sample::failed();
    other_ledger.run.delivery = Some(hookspool_common::names::DeliveryId::from_bytes([7; 16]));
    assert_ne!(first, id(&other_ledger, "mona@example.org"));
    let notice = compose(&mail(), "mona@example.org", &sample.story()).unwrap();
    assert_eq!(parsed(&notice).message_id(), Some(first.trim_matches(['<', '>'])));
}

#[test]
fn a_list_id_is_made_of_plain_labels_or_is_absent() {
    let mut sample = Sample::succeeded();
    sample.run.repository = "gitlab.com/Group/Übung..x/shop--2".parse().unwrap();
    sample.run.job = "v1.2".parse().unwrap();
    assert_eq!(list_id(&sample.run, "example.org").unwrap(), "<v1-2.group-bung-x-shop-2.hookspool.example.org>");
    assert_eq!(list_id(&sample.run, &"x".repeat(240)), None);
}

#[test]
fn an_address_that_mail_does_not_know_is_an_error() {
    for bad in ["", "nobody", "a@b@c", "a b@example.org", "a@exa mple.org", "a@example.org\r\nBcc: x@example.org"] {
        let error = compose(&mail(), bad, &Sample::succeeded().story()).unwrap_err();
        assert!(matches!(&error, ComposeError::Address { address, .. } if address == bad), "{error}");
    }
}

#[test]
fn a_date_beyond_what_mail_can_tell_is_the_last_or_first_that_it_can() {
    for (milliseconds, year) in [(i64::MIN, 1970), (i64::MAX, 9999)] {
        let sample = Sample::succeeded();
        let story = Story { ended_at: Instant::from_millis(milliseconds), ..sample.story() };
        assert_eq!(parsed(&compose(&mail(), "mona@example.org", &story).unwrap()).date().unwrap().year, year);
    }
}

/// Anything: short and long, line breaks, what looks like headers or encoded words, four-byte characters.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\r\n\t :=?.🦀\u{202e}\u{0}a-c-]{0,200}",
        Just("x\r\nBcc: eve@elsewhere.test\r\n\r\n<b>body</b>".to_owned()),
        Just("=?utf-8?q?=0D=0ABcc:_eve@elsewhere.test?=".to_owned()),
        Just("🦀".repeat(2560)),
        Just("x".repeat(10 * 1024)),
        Just("\r\n.\r\nMAIL FROM:<eve@elsewhere.test>\r\n".to_owned()),
    ]
}

/// A ref of that text as far as git allows it: the type keeps the rest out.
fn reference(text: &str) -> Option<hookspool_common::git_name::RefName> {
    let allowed: String = text.chars().filter(|c| !c.is_ascii_control() && !" ~^:?*[\\.@/".contains(*c)).collect();
    format!("refs/heads/{}", &allowed[..allowed.floor_char_boundary(1000)]).parse().ok()
}

proptest! {
    #[test]
    fn whatever_stands_in_a_field_the_mail_is_one_mail(
        name in hostile(), login in hostile(), branch in hostile(), message in hostile(), reason in hostile(),
        output in hostile(), sender in hostile(), step in hostile(),
    ) {
        let mut sample = Sample::failed();
        sample.run.event.pusher = person(&name, &login, &name);
        sample.run.event.commits = Some(vec![commit(1, &message), commit(2, &name)]);
        sample.run.reference = reference(&branch);
        sample.run.repository = format!("github.com/octo/{}", reference(&branch).map_or("x".to_owned(), |r| r.short().chars().take(100).collect()))
            .parse().unwrap_or(sample.run.repository);
        sample.steps[0].name = step;
        sample.steps[1].result = Some(ProcessResult::NotStarted(reason.clone()));
        sample.outcome = Outcome::Failed(reason);
        sample.output_end = output;
        let mut mail = mail();
        mail.from.name = Some(sender);
        let story = sample.story();
        let notice = compose(&mail, "mona@example.org", &story).unwrap();

        prop_assert!(notice.message.is_ascii());
        prop_assert!(!notice.message.contains(&0));
        let text = std::str::from_utf8(&notice.message).unwrap();
        prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a bare CR or LF");
        prop_assert!(text.split("\r\n").all(|line| line.len() <= 998), "a line beyond RFC 5322 section 2.1.1");
        prop_assert_eq!(header_names(&notice), HEADERS);

        let parsed = parsed(&notice);
        prop_assert_eq!(parsed.subject().unwrap_or_default(), text::subject(&story));
        prop_assert_eq!(parsed.to().unwrap().clone().into_list().len(), 1);
        prop_assert_eq!(parsed.from().unwrap().clone().into_list().len(), 1);
        prop_assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("ci@example.org"));
        prop_assert!(parsed.cc().is_none() && parsed.bcc().is_none());
        prop_assert_eq!(parsed.attachment_count(), 0);
        let body = parsed.body_text(0).unwrap().replace("\r\n", "\n");
        let said = text::body(&story);
        prop_assert_eq!(body.trim_end(), said.trim_end());
        prop_assert_eq!(compose(&mail, "mona@example.org", &story).unwrap(), notice);
    }
}
