//! `[mail]`: who is mailed, and how that leaves the machine.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::problem::Report;
use super::table::{Table, Text};
use crate::names::SecretName;

/// How mail leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A mail server.
    Smtp {
        /// How the connection is secured.
        security: SmtpSecurity,
        /// The server's name, which its certificate must bear.
        host: String,
        /// The port.
        port: u16,
        /// The user to log in as.
        user: Option<String>,
    },
    /// A program that takes the message on its standard input, called as sendmail(8).
    Sendmail(PathBuf),
    /// A maildir (cr.yp.to/proto/maildir.html), made when it is absent.
    Maildir(PathBuf),
}

/// How a connection to a mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Not at all; nobody logs in over it.
    None,
    /// STARTTLS (RFC 3207), required.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
}

/// `[mail]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The sender, as it stands in the header.
    pub from: MailAddress,
    /// How it leaves.
    pub transport: Transport,
    /// The name of the secret that is the server's password.
    pub password: Option<SecretName>,
    /// A PEM file with the authority that signed the server's certificate, beside the system's own.
    pub ca_file: Option<PathBuf>,
    /// Who may be mailed at all: `@example.org` for a domain, or whole addresses. Lower case.
    pub allow: Vec<String>,
    /// Who is mailed where nobody else may be.
    pub fallback: Option<MailAddress>,
}

impl Mail {
    /// Whether `address` may be mailed. The fallback always may.
    #[must_use]
    pub fn allows(&self, address: &str) -> bool {
        let address = address.to_ascii_lowercase();
        let fits =
            |allowed: &String| if allowed.starts_with('@') { address.ends_with(allowed.as_str()) } else { address == *allowed };
        self.allow.iter().any(fits)
            || self.fallback.as_ref().is_some_and(|fallback| fallback.address.eq_ignore_ascii_case(&address))
    }
}

/// A mail address with the name before it, such as `CI <ci@example.org>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAddress {
    /// The name, if there is one.
    pub name: Option<String>,
    /// The address alone.
    pub address: String,
}

impl FromStr for MailAddress {
    type Err = String;
    fn from_str(value: &str) -> Result<Self, String> {
        let (name, address) = match value.trim().strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            Some((name, address)) => (Some(name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()), address),
            None => (None, value.trim()),
        };
        let is_address = address.split_once('@').is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain));
        let is_address = is_address && address.len() <= MAX_ADDRESS_BYTES;
        let name_is_plain = name.as_ref().is_none_or(|name| !name.chars().any(char::is_control));
        if is_address && name_is_plain {
            return Ok(Self { name, address: address.to_owned() });
        }
        Err(format!("{value:?} is not a mail address; write \"ci@example.org\" or \"CI <ci@example.org>\""))
    }
}

/// Longest address, in bytes (RFC 5321 section 4.5.3.1.3, less its brackets).
const MAX_ADDRESS_BYTES: usize = 254;

/// A dot-string of RFC 5321 section 4.1.2; nobody who writes a configuration means the quoted form.
fn is_local_part(text: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    text.split('.').all(is_atom)
}

/// Host names, and nothing else, can follow the `@` (RFC 5321 section 2.3.5).
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    text.split('.').all(is_label)
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => f.write_str(&self.address),
        }
    }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Option<Mail> {
    let from = table.required_text("from", "from = \"CI <ci@example.org>\"", report);
    let from = from.and_then(|text| table.parse_text(&text, report));
    let transport = table.required_text("smtp", "smtp = \"smtp://localhost:25\"", report);
    let transport_span = transport.as_ref().map_or(table.span(), |text| text.span.clone());
    let transport: Option<Transport> = transport.and_then(|text| table.parse_text(&text, report));
    let password: Option<SecretName> = table.parsed("password", report);
    let ca_file = table.text("ca_file", report).and_then(|text| table.absolute_path(&text, report));
    let allow = table.texts("allow", report).unwrap_or_default();
    let allow = allow.iter().filter_map(|text| read_allowed(&table, text, report)).collect();
    let fallback = table.parsed("fallback", report);
    match (&transport, &password) {
        (Some(Transport::Smtp { user: Some(_), .. }), None) => {
            let help = "add password = \"NAME\", with the password itself in secrets/NAME".to_owned();
            table.wrong(transport_span, "the server's user has no password", Some(help), report);
        }
        (Some(Transport::Smtp { user: Some(_), security: SmtpSecurity::None, .. }), _) => {
            let help = "use smtps:// or smtp+starttls://".to_owned();
            table.wrong(transport_span, "the password would cross the network in the clear", Some(help), report);
        }
        (Some(Transport::Smtp { user: None, .. } | Transport::Sendmail(_) | Transport::Maildir(_)), Some(_)) => {
            let help = "write the user into the URL: smtp+starttls://USER@HOST:587".to_owned();
            table.wrong(transport_span, "there is a password, but no user to log in as", Some(help), report);
        }
        _ => {}
    }
    table.finish(report);
    Some(Mail { from: from?, transport: transport?, password, ca_file, allow, fallback })
}

fn read_allowed(table: &Table<'_, '_>, text: &Text, report: &mut Report) -> Option<String> {
    let probe = if text.value.starts_with('@') { format!("somebody{}", text.value) } else { text.value.clone() };
    if probe.parse::<MailAddress>().is_ok_and(|parsed| parsed.name.is_none()) {
        return Some(text.value.to_ascii_lowercase());
    }
    let message = format!("{:?} is neither a domain such as \"@example.org\" nor an address", text.value);
    table.wrong(text.span.clone(), message, None, report);
    None
}

impl FromStr for Transport {
    type Err = String;
    fn from_str(value: &str) -> Result<Self, String> {
        if let Some(path) = value.strip_prefix("maildir:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Maildir(path))
            } else {
                Err(format!("{value:?}: a maildir needs an absolute path"))
            };
        }
        if let Some(path) = value.strip_prefix("sendmail:") {
            let path = PathBuf::from(if path.is_empty() { "/usr/sbin/sendmail" } else { path });
            return if path.is_absolute() {
                Ok(Self::Sendmail(path))
            } else {
                Err(format!("{value:?}: sendmail needs an absolute path"))
            };
        }
        smtp_url(value).map_err(|why| {
            let forms = "smtp://HOST:25, smtps://USER@HOST:465, smtp+starttls://USER@HOST:587, \"sendmail:\" or \"maildir:PATH\"";
            format!("{value:?} is not a way to send mail ({why}); write {forms}")
        })
    }
}

fn smtp_url(value: &str) -> Result<Transport, &'static str> {
    let url = url::Url::parse(value).map_err(|_| "it is not a URL")?;
    let (security, default_port) = match url.scheme() {
        "smtp" => (SmtpSecurity::None, 25),
        "smtps" => (SmtpSecurity::Tls, 465),
        "smtp+starttls" => (SmtpSecurity::StartTls, 587),
        _ => return Err("it has another scheme"),
    };
    if url.password().is_some() {
        return Err("the configuration holds no secrets: write password = \"NAME\" instead");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("nothing may follow the port");
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it has no host")?;
    // In a URL the `@` of a user such as ci@example.org is written %40.
    let user = Some(url.username()).filter(|user| !user.is_empty()).map(|user| user.replace("%40", "@"));
    Ok(Transport::Smtp {
        security,
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(default_port),
        user,
    })
}
