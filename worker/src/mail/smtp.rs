//! A mail server, by lettre. The connection is made step by step, because what an answer means depends on when it comes.
//!
//! It trusts the server that bears the configured name by a certificate, and before that sends nothing but greetings:
//! where TLS is configured, neither a login nor a mail ever crosses the network without it.

use std::path::Path;
use std::time::Duration;

use hookspool_common::config::SmtpSecurity;
use hookspool_common::ledger::NewNotice;
use hookspool_common::secrets::Secret;
use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::transport::{MailerError, SendError};
use crate::harmless::one_line;

/// How long one answer of the server may take. RFC 5321 section 4.5.3.2 would allow minutes, but a pass holds its lock.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Most that is kept of what a server said, in characters.
const MAX_SAID: usize = 500;

/// What can be done with a password over TLS, best first; CRAM-MD5 and the like add nothing to TLS.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// Replies of the class 5yz that tell of a login that is wanted, weak or wrong (RFC 4954 section 6): an operator can mend it.
const LOGIN_REPLIES: [u16; 4] = [530, 534, 535, 538];

/// The reply of a server that closes the connection, whatever it was asked (RFC 5321 section 3.8).
const CLOSING: u16 = 421;

#[derive(Debug)]
pub(super) struct Smtp {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
}

enum Security {
    None,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::StartTls(_) => "StartTls",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Smtp {
    /// `login` is the user, and the password that there must then be.
    pub(super) fn new(
        security: SmtpSecurity,
        host: &str,
        port: u16,
        login: Option<(&str, Option<&Secret>)>,
        ca_file: Option<&Path>,
    ) -> Result<Self, MailerError> {
        let security = match security {
            SmtpSecurity::None => Security::None,
            SmtpSecurity::StartTls => Security::StartTls(tls_parameters(host, ca_file)?),
            SmtpSecurity::Tls => Security::Tls(tls_parameters(host, ca_file)?),
        };
        let credentials = login.map(|(user, password)| credentials(user, password)).transpose()?;
        Ok(Self { host: host.to_owned(), port, security, credentials, hello: hello_name() })
    }

    pub(super) fn send(&self, notice: &NewNotice) -> Result<(), SendError> {
        let address = |text: &str| {
            text.parse::<Address>().map_err(|error| SendError::Permanent(format!("{text:?} is not a mail address: {error}")))
        };
        let sender = address(&notice.sender)?;
        let recipient = address(&notice.recipient)?;
        let envelope = Envelope::new(Some(sender), vec![recipient]).map_err(|error| SendError::Permanent(error.to_string()))?;
        let mut connection = self.connect().map_err(|error| SendError::Unavailable(self.said(&error)))?;
        // The end of the last line is part of the end of the data (RFC 5321 section 4.1.1.4), which lettre writes whole.
        let message = notice.message.strip_suffix(b"\r\n").unwrap_or(&notice.message);
        let sent = connection.send(&envelope, message);
        // Says QUIT and hangs up; what the server answers to that changes nothing any more.
        connection.abort();
        sent.map(drop).map_err(|error| verdict(&error, self.said(&error)))
    }

    /// Connects, secures the connection and logs in. No failure of these is about the mail, so none is permanent.
    fn connect(&self) -> Result<SmtpConnection, Error> {
        let wrapper = if let Security::Tls(parameters) = &self.security { Some(parameters) } else { None };
        let server = (self.host.as_str(), self.port);
        let mut connection = SmtpConnection::connect(server, Some(TIMEOUT), &self.hello, wrapper, None)?;
        let greeted = self.secure_and_log_in(&mut connection);
        if greeted.is_err() {
            connection.abort();
        }
        greeted.map(|()| connection)
    }

    fn secure_and_log_in(&self, connection: &mut SmtpConnection) -> Result<(), Error> {
        if let Security::StartTls(parameters) = &self.security {
            connection.starttls(parameters, &self.hello)?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(&MECHANISMS, credentials)?;
        }
        Ok(())
    }

    /// The error as it is logged; a part of it is the server's own words.
    fn said(&self, error: &Error) -> String {
        one_line(&format!("{}:{}: {error}", self.host, self.port), MAX_SAID)
    }
}

/// What an error means that came once the mail was named: a reply is about this mail, anything else about the server.
fn verdict(error: &Error, said: String) -> SendError {
    match error.status().map(u16::from) {
        Some(CLOSING) | None => SendError::Unavailable(said),
        Some(code) if LOGIN_REPLIES.contains(&code) => SendError::Unavailable(said),
        Some(_) if error.is_permanent() => SendError::Permanent(said),
        Some(_) => SendError::Passing(said),
    }
}

fn tls_parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, MailerError> {
    let tls_error = |error: Error| MailerError::Tls(error.to_string());
    // The system's own authorities count as well.
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| MailerError::CaFile { path: path.to_owned(), error })?;
        // lettre takes a file without any certificate for an empty list; here it is a mistake.
        let marker = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(marker.len()).any(|window| window == marker) {
            return Err(MailerError::NoCertificate(path.to_owned()));
        }
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(tls_error)?);
    }
    builder.build().map_err(tls_error)
}

fn credentials(user: &str, password: Option<&Secret>) -> Result<Credentials, MailerError> {
    let password = password.ok_or(MailerError::NoPassword)?;
    let password = std::str::from_utf8(password.bytes()).map_err(|_| MailerError::PasswordNotText)?;
    Ok(Credentials::new(user.to_owned(), password.to_owned()))
}

/// The name said in EHLO: the machine's, if it could be a host name (RFC 5321 section 4.1.4), else an address literal.
fn hello_name() -> ClientId {
    let is_plain =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    match nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()) {
        Some(name) if is_plain(&name) => ClientId::Domain(name),
        _ => ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(login: Option<(&str, Option<&Secret>)>, ca_file: Option<&Path>) -> Result<Smtp, MailerError> {
        Smtp::new(SmtpSecurity::StartTls, "mail.example.org", 587, login, ca_file)
    }

    #[test]
    fn a_user_needs_a_password_that_is_text() {
        assert!(matches!(smtp(Some(("ci", None)), None), Err(MailerError::NoPassword)));
        let binary = Secret::new(vec![0xff; 8]);
        assert!(matches!(smtp(Some(("ci", Some(&binary))), None), Err(MailerError::PasswordNotText)));
    }

    #[test]
    fn an_authority_that_cannot_be_used_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let absent = smtp(None, Some(&file)).unwrap_err();
        assert!(matches!(&absent, MailerError::CaFile { path, .. } if *path == file), "{absent}");
        std::fs::write(&file, "no certificate").unwrap();
        let empty = smtp(None, Some(&file)).unwrap_err();
        assert!(matches!(&empty, MailerError::NoCertificate(path) if *path == file), "{empty}");
    }

    #[test]
    fn what_is_shown_of_a_connection_holds_no_password() {
        let password = Secret::new(b"hunter22".to_vec());
        let shown = format!("{:?}", smtp(Some(("ci", Some(&password))), None).unwrap());
        assert!(!shown.contains("hunter22"), "{shown}");
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_asking_the_server() {
        let smtp = Smtp::new(SmtpSecurity::None, "mail.invalid", 25, None, None).unwrap();
        let notice = NewNotice {
            recipient: "no address".to_owned(),
            sender: "ci@example.org".to_owned(),
            message_id: "<1@example.org>".to_owned(),
            message: Vec::new(),
        };
        assert!(smtp.send(&notice).unwrap_err().is_permanent());
    }
}
