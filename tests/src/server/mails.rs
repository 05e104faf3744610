//! The mails of a maildir, decoded.

use std::fs;
use std::path::Path;

use super::entries;

/// One mail.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The headers, unfolded.
    pub head: String,
    /// The body, decoded, with LF as line end.
    pub body: String,
}

impl Mail {
    /// A header's value; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let values = self.head.lines().filter_map(|line| line.split_once(": "));
        values.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.header("Subject")
    }

    /// The body as one line, however it was wrapped.
    #[must_use]
    pub fn words(&self) -> String {
        self.body.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Reads a mail as it lies in a mailbox.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        // A long header is folded (RFC 5322 section 2.2.3).
        let head = head.replace("\n ", " ").replace("\n\t", " ");
        let mut mail = Self { head, body: body.to_owned() };
        match mail.header("Content-Transfer-Encoding") {
            "quoted-printable" => mail.body = decoded(body),
            "7bit" | "" => {}
            other => panic!("a mail in an encoding that this test does not read: {other}"),
        }
        mail
    }
}

/// Quoted-printable (RFC 2045 section 6.7).
fn decoded(body: &str) -> String {
    let body = body.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = body.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.filter(|_| *first == b'=').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mails of a maildir, in the order of the runs that they tell of.
///
/// # Panics
/// When one cannot be read.
#[must_use]
pub fn read(maildir: &Path) -> Vec<Mail> {
    let read = |path: &Path| Mail::parse(&fs::read_to_string(path).expect("a mail can be read"));
    let mut mails: Vec<Mail> = entries(&maildir.join("new")).iter().map(|path| read(path)).collect();
    mails.sort_by_key(|mail| mail.header("X-Hookspool-Run").parse::<i64>().unwrap_or_default());
    mails
}
