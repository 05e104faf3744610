//! The whole message: headers and body in their transfer encoding, by lettre's builder. Deterministic: the same story
//! for the same person is the same bytes, so that a mail can be tried again without becoming another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookspool_common::clock::Instant;
use hookspool_common::config;
use hookspool_common::ledger::{NewNotice, Run};
use lettre::address::AddressError;
use lettre::message::header::{ContentTransferEncoding, ContentType, Date, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Body, Mailbox, Message};
use lettre::{Address, error::Error as BuilderError};
use sha2::{Digest, Sha256};

use super::story::Story;
use super::text;
use crate::harmless::one_line;

/// Longest `List-Id`, in bytes (RFC 2919 section 3).
const MAX_LIST_ID_BYTES: usize = 255;

/// Longest line that may cross the network, in bytes, without its end (RFC 5322 section 2.1.1).
const MAX_LINE_BYTES: usize = 998;

/// Longest repository in a header of our own, in characters.
const MAX_REPOSITORY: usize = 512;

/// The last second that a `Date` can tell, in milliseconds: the year has four digits (RFC 5322 section 3.3).
const MAX_DATE_MILLIS: i64 = 253_402_300_799_000;

/// Why no mail can be made.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// An address of the configuration or of the recipient is none by the rules of mail.
    #[error("{address:?} is not a mail address: {error}")]
    Address {
        /// What was to be an address.
        address: String,
        /// What is wrong with it.
        error: AddressError,
    },
    /// The builder refuses the message.
    #[error("the message cannot be built: {0}")]
    Message(#[from] BuilderError),
}

/// The mail that tells `to` of a run.
///
/// # Errors
/// [`ComposeError`] when `to` or the configured sender is not an address that mail knows.
pub fn compose(mail: &config::Mail, to: &str, story: &Story<'_>) -> Result<NewNotice, ComposeError> {
    let from = address(&mail.from.address)?;
    let recipient = address(to)?;
    let run = story.run;
    let message_id = message_id(run, to, from.domain());
    let list_id = list_id(run, from.domain());
    let sender_name = mail.from.name.as_ref().map(|name| one_line(name, 100));
    let mut builder = Message::builder()
        .from(Mailbox::new(sender_name, from))
        .to(Mailbox::new(None, recipient))
        .subject(text::subject(story))
        .header(Date::new(date(story.ended_at)))
        .message_id(Some(message_id.clone()))
        // Auto-responders do not answer it (RFC 3834 section 5).
        .raw_header(own(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"))
        .raw_header(own(HeaderName::new_from_ascii_str("X-Hookspool-Run"), &run.id.to_string()))
        .raw_header(own(
            HeaderName::new_from_ascii_str("X-Hookspool-Repository"),
            &one_line(run.repository.as_str(), MAX_REPOSITORY),
        ))
        .raw_header(own(HeaderName::new_from_ascii_str("X-Hookspool-State"), story.outcome.state().as_str()));
    if let Some(list_id) = list_id {
        builder = builder.raw_header(own(HeaderName::new_from_ascii_str("List-Id"), &list_id));
    }
    let body = encoded(text::body(story));
    let message = builder.header(MIME_VERSION_1_0).header(ContentType::TEXT_PLAIN).body(body)?;
    Ok(NewNotice { recipient: to.to_owned(), sender: mail.from.address.clone(), message_id, message: message.formatted() })
}

/// ASCII crosses the network as it is read, however long a path makes a line; for anything else lettre chooses between
/// quoted-printable and base64. lettre itself would encode every line of more than 76 characters.
fn encoded(text: String) -> Body {
    if text.is_ascii() && text.lines().all(|line| line.len() <= MAX_LINE_BYTES) {
        let lines = text.replace('\n', "\r\n").into_bytes();
        return Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit);
    }
    Body::new(text)
}

fn address(text: &str) -> Result<Address, ComposeError> {
    text.parse().map_err(|error| ComposeError::Address { address: text.chars().take(300).collect(), error })
}

fn own(name: HeaderName, value: &str) -> HeaderValue {
    HeaderValue::new(name, value.to_owned())
}

/// `<hookspool-run-N-KEY@DOMAIN>`. The key tells apart the recipients of a run, and the runs of ledgers that were begun
/// anew, in which numbers return but deliveries do not.
fn message_id(run: &Run, to: &str, domain: &str) -> String {
    let mut hash = Sha256::new();
    match &run.delivery {
        Some(delivery) => hash.update(delivery.as_bytes()),
        None => hash.update(run.queued_at.millis().to_be_bytes()),
    }
    hash.update(run.id.number().to_be_bytes());
    hash.update(to.to_ascii_lowercase().as_bytes());
    let key: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("<hookspool-run-{}-{key}@{domain}>", run.id)
}

/// `<JOB.REPOSITORY.hookspool.DOMAIN>` (RFC 2919 section 3), by which people sort; absent where it would be too long.
fn list_id(run: &Run, domain: &str) -> Option<String> {
    let list_id = format!("<{}.{}.hookspool.{domain}>", label(run.job.as_str()), label(run.repository.path()));
    Some(list_id).filter(|list_id| list_id.len() <= MAX_LIST_ID_BYTES)
}

/// Letters, digits and single hyphens.
fn label(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let label: String = text.chars().map(plain).collect();
    let words: Vec<&str> = label.split('-').filter(|word| !word.is_empty()).collect();
    let label: String = words.join("-").chars().take(80).collect();
    if label.is_empty() { "x".to_owned() } else { label }
}

fn date(instant: Instant) -> SystemTime {
    let milliseconds = u64::try_from(instant.millis().clamp(0, MAX_DATE_MILLIS)).unwrap_or(0);
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

#[cfg(test)]
mod tests;
