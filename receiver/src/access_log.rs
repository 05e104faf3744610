//! One line a request: who asked for what, and what became of it. Never a secret, a signature, a token or a body.

use std::time::Instant;

use hookspool_common::names::SourceName;
use hyper::Method;

use crate::client::Client;
use crate::reply::{CUT_OFF, Reply};

/// Most characters of a path in the log; a head may have 16 KiB.
const SHOWN_PATH_CHARS: usize = 200;

/// What is known of a request before and while it is answered.
#[derive(Debug)]
pub(crate) struct AccessLine {
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
}

impl AccessLine {
    /// The line of a request whose head was just read.
    pub(crate) fn start(client: Client, method: &Method, path: &str) -> Self {
        let path = path.chars().take(SHOWN_PATH_CHARS).collect();
        let method = method.clone();
        Self { started: Instant::now(), client, method, path, source: None, provider_id: None, bytes: 0 }
    }

    /// Writes it; without a reply, the connection broke off before there was anything to answer.
    pub(crate) fn write(&self, reply: Option<&Reply>) {
        let answer = reply.map_or(CUT_OFF, Reply::word);
        // `?` escapes what comes from outside, so that nobody writes lines of their own into the log.
        tracing::info!(
            client = %self.client,
            method = %self.method,
            path = ?self.path,
            source = self.source.as_ref().map(tracing::field::display),
            status = reply.map(|reply| reply.status().as_u16()),
            answer,
            delivery = reply.and_then(Reply::delivery).map(tracing::field::display),
            provider_id = self.provider_id.as_ref().map(tracing::field::debug),
            bytes = self.bytes,
            micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            "{} {:?} from {}: {answer}",
            self.method,
            self.path,
            self.client,
        );
    }
}
