//! How a mail leaves: one type before the ways of the configuration, and one error that says whether to try again.
//!
//! The message's bytes are what the ledger holds; nothing is added to them and nothing taken away.

use hookspool_common::config::{self, Transport};
use hookspool_common::ledger::NewNotice;
use hookspool_common::secrets::Secret;

use super::maildir::Maildir;
use super::sendmail::Sendmail;
use super::smtp::Smtp;

/// Why no mail can be sent at all, as things are configured. An operator can mend each of these.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// `ca_file` cannot be read.
    #[error("mail: cannot read ca_file {}: {error}", path.display())]
    CaFile {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// `ca_file` holds no certificate.
    #[error("mail: ca_file {} holds no certificate in PEM form", .0.display())]
    NoCertificate(std::path::PathBuf),
    /// A user is configured, but the password was not given.
    #[error("mail: there is a user to log in as, but no password; name its secret as `password`")]
    NoPassword,
    /// The password is not text.
    #[error("mail: the password is not UTF-8 text; SMTP logins are (RFC 4616)")]
    PasswordNotText,
    /// TLS cannot be set up.
    #[error("mail: cannot set up TLS: {0}")]
    Tls(String),
}

/// Why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It will never be: trying again changes nothing.
    #[error("refused for good: {0}")]
    Permanent(String),
    /// This mail may be sent later: the server asked to wait with it.
    #[error("not sent: {0}")]
    Passing(String),
    /// It may be sent later, and until then no other mail either: nobody answers, or an operator has something to mend.
    #[error("not sent: {0}")]
    Unavailable(String),
}

impl SendError {
    /// Whether trying again changes nothing.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Permanent(_))
    }

    /// Whether any other mail would meet the same now, so that trying it would only cost time.
    #[must_use]
    pub const fn concerns_all(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// The configured way to send mail. Making one reads the system's certificates where TLS is used, so it is made once a
/// pass and only when there is something to send.
#[derive(Debug)]
pub struct Mailer(Way);

#[derive(Debug)]
enum Way {
    Smtp(Box<Smtp>),
    Sendmail(Sendmail),
    Maildir(Maildir),
}

impl Mailer {
    /// Prepares the configured way; connects to nothing yet.
    ///
    /// # Errors
    /// [`MailerError`] when the configured files or the password cannot be used.
    pub fn new(mail: &config::Mail, password: Option<&Secret>) -> Result<Self, MailerError> {
        let way = match &mail.transport {
            Transport::Smtp { security, host, port, user } => {
                let login = user.as_deref().map(|user| (user, password));
                Way::Smtp(Box::new(Smtp::new(*security, host, *port, login, mail.ca_file.as_deref())?))
            }
            Transport::Sendmail(program) => Way::Sendmail(Sendmail::new(program)),
            Transport::Maildir(folder) => Way::Maildir(Maildir::new(folder)),
        };
        Ok(Self(way))
    }

    /// Sends one mail; returns once somebody else has taken responsibility for it. Blocks up to a few minutes.
    ///
    /// A mail that is sent again after a crash has the `Message-ID` that it had.
    ///
    /// # Errors
    /// [`SendError`], which says whether to try again.
    pub fn send(&self, notice: &NewNotice) -> Result<(), SendError> {
        match &self.0 {
            Way::Smtp(smtp) => smtp.send(notice),
            Way::Sendmail(sendmail) => sendmail.send(notice),
            Way::Maildir(maildir) => maildir.deliver(notice),
        }
    }
}

/// The message with the line ends of files and pipes on this system: mail drops and sendmail(8) take LF.
pub(super) fn with_unix_line_ends(message: &[u8]) -> Vec<u8> {
    let mut unix = Vec::with_capacity(message.len());
    for (at, &byte) in message.iter().enumerate() {
        if byte != b'\r' || message.get(at + 1) != Some(&b'\n') {
            unix.push(byte);
        }
    }
    unix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_are_changed() {
        assert_eq!(with_unix_line_ends(b"a\r\nb\r\n\r\nc\rd\n\r"), b"a\nb\n\nc\rd\n\r");
    }
}
