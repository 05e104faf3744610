//! One HTTP request, as a forge would make it; or as the web server would, where the receiver listens on a unix socket.
//! Over TCP the receiver sees whose address this is; over the socket it has to be told, and believes it.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use hookspool_common::config::ProxyHeader;
use hookspool_common::headers::Headers;

/// How long to wait for an answer: what GitHub gives a receiver.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer, in bytes; the receiver's are a line.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// Most headers of an answer.
const MAX_HEADERS: usize = 64;

/// Where to send it.
#[derive(Debug, Clone)]
pub(super) enum Destination {
    /// An http or https URL.
    Url(String),
    /// A unix socket, the path of the source there, and the header in which the web server names its client.
    Socket { socket: PathBuf, path: String, proxy_header: ProxyHeader },
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Socket { socket, path, .. } => write!(f, "unix:{}:{path}", socket.display()),
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

pub(super) fn post(to: &Destination, headers: &Headers, body: &[u8]) -> anyhow::Result<Answer> {
    match to {
        Destination::Url(url) => post_to_url(url, headers, body),
        Destination::Socket { socket, path, proxy_header } => {
            let stream = UnixStream::connect(socket);
            let stream = stream.with_context(|| format!("cannot connect to {}; is the receiver running?", socket.display()))?;
            post_to_socket(stream, path, *proxy_header, headers, body).with_context(|| format!("cannot send to {to}"))
        }
    }
}

fn post_to_url(url: &str, headers: &Headers, body: &[u8]) -> anyhow::Result<Answer> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        // Any status is an answer, and a redirect is not followed: a forge would not either.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into();
    let mut request = agent.post(url);
    for (name, value) in headers.iter() {
        request = request.header(name, value);
    }
    let mut response = request.send(body).with_context(|| format!("cannot send to {url}; is the receiver running?"))?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().context("cannot read the answer")?;
    Ok(Answer { status, body })
}

/// One request, after which the connection ends; so the answer's body is what comes until then (RFC 9112 section 6.3).
fn post_to_socket(
    mut stream: UnixStream,
    path: &str,
    proxy_header: ProxyHeader,
    headers: &Headers,
    body: &[u8],
) -> anyhow::Result<Answer> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let (client, length) = (this_machine(proxy_header), body.len());
    let mut head =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{client}\r\ncontent-length: {length}\r\n");
    for (name, value) in headers.iter() {
        let is_a_line = |text: &str| !text.contains(['\r', '\n', '\0']);
        ensure!(is_a_line(name) && is_a_line(value), "header {name:?} holds a line's end");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // A receiver that refuses the body answers before it has read it, and reads no further.
    let sent = stream.write_all(body);
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).context("the receiver does not answer")?;
    if answer.is_empty() {
        sent?;
    }
    let mut known = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut known);
    let httparse::Status::Complete(begin) = response.parse(&answer)? else { anyhow::bail!("the answer is cut off") };
    let status = response.code.context("the answer has no status")?;
    Ok(Answer { status, body: String::from_utf8_lossy(&answer[begin..]).into_owned() })
}

/// The header by which the web server says that this machine asks.
const fn this_machine(header: ProxyHeader) -> &'static str {
    match header {
        ProxyHeader::XForwardedFor => "x-forwarded-for: 127.0.0.1",
        ProxyHeader::Forwarded => "forwarded: for=127.0.0.1",
    }
}
