//! Raw HTTP/1.1 over a socket: requests as bytes, and answers taken apart.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::forges::{Dialect, Provider, Sent};
use hookspool_common::secrets::Secret;
use socket2::{Domain, Socket, Type};

use super::{DEADLINE, SOURCE_PATH, secret};

/// A delivery to the source, of which everything can be changed.
#[derive(Debug, Clone)]
pub struct Post {
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Post {
    /// What GitHub would send, signed.
    #[must_use]
    pub fn signed(event: &str, id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::signed_by(Provider::Github, event, id, body)
    }

    /// What this forge would send, signed.
    #[must_use]
    pub fn signed_by(dialect: impl Into<Dialect>, event: &str, id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::signed_with(&secret(), dialect, event, id, body)
    }

    /// What this forge would send, signed with another secret.
    #[must_use]
    pub fn signed_with(secret: &Secret, dialect: impl Into<Dialect>, event: &str, id: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self::sent(dialect, &Sent { event, id, body: &body, at: SystemClock.now() }, secret)
    }

    /// What this forge would send at a time and with a secret of the caller's choice.
    #[must_use]
    pub fn sent(dialect: impl Into<Dialect>, sent: &Sent<'_>, secret: &Secret) -> Self {
        let headers = dialect.into().headers_of_a_delivery(sent, secret);
        let headers = headers.iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
        Self { path: SOURCE_PATH.to_owned(), headers, body: sent.body.to_vec() }
    }

    /// A signed push of `branch` to the configured repository; `number` makes the body another one.
    #[must_use]
    pub fn push(branch: &str, number: u64) -> Self {
        Self::signed("push", &format!("push-{branch}-{number}"), push_body(branch, number))
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// All headers but the host and the length.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Without the header `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn and(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With another value of the header `name`.
    #[must_use]
    pub fn with(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.without(name).and(name, value)
    }

    /// With another body, under the same signature.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// To the source at another path.
    #[must_use]
    pub fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The head of the request, which announces `length` bytes.
    #[must_use]
    pub fn head(&self, length: usize) -> Vec<u8> {
        let line = format!("POST {} HTTP/1.1", self.path);
        let mut bytes = format!("{line}\r\nhost: localhost\r\ncontent-length: {length}\r\n").into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The whole request.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(self.body.len());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A push of `branch` as JSON.
#[must_use]
pub fn push_body(branch: &str, number: u64) -> String {
    format!(
        r#"{{"ref":"refs/heads/{branch}","after":"{number:040x}","repository":{{"clone_url":"https://github.com/owner/project.git"}}}}"#
    )
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A text of the body's JSON; empty when it is not there.
    #[must_use]
    pub fn text(&self, key: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        json[key].as_str().unwrap_or_default().to_owned()
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to the receiver.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<Stream>,
}

impl Connection {
    /// Connects to `IP:PORT` or `unix:/path`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = match address.strip_prefix("unix:") {
            Some(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                Stream::Unix(stream)
            }
            None => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
        };
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Connects to `IP:PORT` from one of this machine's own addresses; all of 127.0.0.0/8 is.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_from(source: Ipv4Addr, address: &str) -> io::Result<Self> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&address.into())?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_tcp_nodelay(true)?;
        Ok(Self { stream: BufReader::new(Stream::Tcp(socket.into())) })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.stream.get_mut() {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.stream.get_mut() {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        }
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends before it; otherwise what the system says.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_lowercase());
        }
        let number = |text: Option<&str>| text.and_then(|text| text.trim().parse::<usize>().ok());
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
        let status = number(head.get(9..12)).and_then(|status| u16::try_from(status).ok()).ok_or_else(malformed)?;
        let length = number(head.lines().find_map(|line| line.strip_prefix("content-length: "))).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.stream.get_ref() {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}
