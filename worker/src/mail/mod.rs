//! Mail: who is told of a run, in which words, and how that leaves the machine.
//!
//! Everything but the transports is pure. Whatever a forge, a commit or a script says counts as hostile here.

mod notify; // whether anybody is told
mod recipients; // who
mod story; // what there is to tell
mod layout; // plain text in columns
mod text; // subject and body
mod message; // the whole message, with its headers
mod transport; // how it leaves
mod smtp;
mod sendmail;
mod maildir;
mod again; // when it is tried again

use std::time::Duration;

use hookspool_common::config::{self, Notify};
use hookspool_common::ledger::NewNotice;

pub use again::{GIVE_UP_AFTER, retry_after};
pub(crate) use layout::shell_word;
pub use message::{ComposeError, compose};
pub use notify::{REMIND_AFTER, tells};
pub use recipients::recipients;
pub use story::{Before, Held, Story};
pub use transport::{Mailer, MailerError, SendError};

/// The mails that are to be written with a run's outcome: one for each person who is to hear of it, perhaps none.
///
/// Whoever no mail can be made for is replaced by the fallback, as somebody who may not be mailed is.
#[must_use]
pub fn notices(mail: &config::Mail, notify: &Notify, story: &Story<'_>, since_last_told: Option<Duration>) -> Vec<NewNotice> {
    // What waits for a person is told of, however often the job failed before.
    if story.held.is_none() && !tells(notify.on, story.outcome, story.before, since_last_told) {
        return Vec::new();
    }
    let mut notices: Vec<NewNotice> = Vec::new();
    let mut failed = false;
    for recipient in recipients(mail, notify, &story.run.event) {
        let notice = composed(mail, &recipient, story);
        failed |= notice.is_none();
        notices.extend(notice);
    }
    let fallback = mail.fallback.as_ref().map(|fallback| fallback.address.as_str()).filter(|_| failed);
    let is_told = |address: &str| notices.iter().any(|notice| notice.recipient.eq_ignore_ascii_case(address));
    if let Some(fallback) = fallback.filter(|fallback| !is_told(fallback)) {
        notices.extend(composed(mail, fallback, story));
    }
    notices
}

fn composed(mail: &config::Mail, recipient: &str, story: &Story<'_>) -> Option<NewNotice> {
    match compose(mail, recipient, story) {
        Ok(notice) => Some(notice),
        Err(error) => {
            tracing::error!(run = %story.run.id, recipient, %error, "a mail cannot be written");
            None
        }
    }
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
