//! One line a request: who asked for what, and what became of it. Never a secret, a signature, a token or a body.
//!
//! Strangers do not decide how much is logged: what costs them nothing, however often they do it, is for debugging.

use std::time::Instant;

use hookspool_common::names::SourceName;
use hyper::Method;

use crate::client::Client;
use crate::metrics::Metrics;
use crate::reply::{CUT_OFF, Reply};

/// Most characters of a path in the log; a head may have 16 KiB.
const SHOWN_PATH_CHARS: usize = 200;

/// Most bytes of a method in the log; none that anybody knows has more, and it may be as long as a head.
const SHOWN_METHOD_BYTES: usize = 20;

/// What is known of a request before and while it is answered. It is counted and written once, however the request ends:
/// one whose connection is closed is dropped in the middle.
#[derive(Debug)]
pub(crate) struct AccessLine<'a> {
    metrics: &'a Metrics,
    started: Instant,
    client: Client,
    method: Method,
    path: String,
    /// The source whose path it is.
    pub(crate) source: Option<SourceName>,
    /// The forge's id for the delivery, once its signature was found right.
    pub(crate) provider_id: Option<String>,
    /// The body's size, once it was read.
    pub(crate) bytes: usize,
    /// Whether it is only for debugging, unless a delivery is taken.
    pub(crate) is_quiet: bool,
    is_written: bool,
}

impl<'a> AccessLine<'a> {
    /// The line of a request whose head was just read.
    pub(crate) fn start(metrics: &'a Metrics, client: Client, method: &Method, path: &str) -> Self {
        let path = path.chars().take(SHOWN_PATH_CHARS).collect();
        let (started, method) = (Instant::now(), method.clone());
        let (source, provider_id, bytes) = (None, None, 0);
        Self { metrics, started, client, method, path, source, provider_id, bytes, is_quiet: false, is_written: false }
    }

    /// The request has ended; without a reply, it broke off before there was anything to answer.
    pub(crate) fn end(mut self, reply: Option<&Reply>) {
        self.is_quiet &= reply.and_then(Reply::delivery).is_none();
        self.write(reply);
    }

    fn write(&mut self, reply: Option<&Reply>) {
        self.is_written = true;
        self.metrics.answered(self.source.as_ref(), reply);
        let answer = reply.map_or(CUT_OFF, Reply::word);
        let method = self.method.as_str();
        let method = method.get(..SHOWN_METHOD_BYTES).unwrap_or(method);
        macro_rules! write_as {
            ($level:ident) => {
                // `?` escapes what comes from outside, so that nobody writes lines of their own into the log.
                tracing::$level!(
                    client = %self.client,
                    method,
                    path = ?self.path,
                    source = self.source.as_ref().map(display),
                    status = reply.map(|reply| reply.status().as_u16()),
                    answer,
                    delivery = reply.and_then(Reply::delivery).map(display),
                    provider_id = self.provider_id.as_ref().map(debug),
                    bytes = self.bytes,
                    micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
                    "{method} {:?} from {}: {answer}",
                    self.path,
                    self.client,
                )
            };
        }
        if self.is_quiet { write_as!(debug) } else { write_as!(info) }
    }
}

impl Drop for AccessLine<'_> {
    fn drop(&mut self) {
        if !self.is_written {
            // Whose body was never whole has given way to a newcomer, which a flood does thousands of times.
            self.is_quiet = self.bytes == 0;
            self.write(None);
        }
    }
}
