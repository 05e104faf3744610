//! Mails that are to be sent: written with the outcome they tell of, sent afterwards.

use crate::clock::Instant;
use crate::names::RunId;

/// A notice's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoticeId(pub(super) i64);

/// A mail that is to be written with an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotice {
    /// Whose address it goes to.
    pub recipient: String,
    /// The sender's address in the envelope.
    pub sender: String,
    /// Its `Message-ID`, with angle brackets: the same however often it is tried.
    pub message_id: String,
    /// The whole message (RFC 5322), headers and body.
    pub message: Vec<u8>,
}

/// Where a notice is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeState {
    /// To be tried from this instant on. A pass moves it on; a crash while sending means one more try with the same
    /// `Message-ID`.
    Due {
        /// From when on.
        at: Instant,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong last.
        error: Option<String>,
    },
    /// The server took it, then.
    Sent(Instant),
    /// It will not be tried again, for this reason.
    GivenUp(String),
}

/// A mail in the ledger.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Its number.
    pub id: NoticeId,
    /// The run that it tells of.
    pub run: RunId,
    /// The mail.
    pub mail: NewNotice,
    /// Where it is in its life.
    pub state: NoticeState,
    /// When it was written.
    pub created_at: Instant,
}
