//! One request, from its head to its answer.

use std::sync::Arc;

use bytes::Bytes;
use hookspool_common::clock::Clock;
use hookspool_common::config::Config;
use hookspool_common::delivery::Delivery;
use hookspool_common::headers::Headers;
use hookspool_common::inbox::Receipt;
use http_body_util::Full;
use hyper::body::Body;
use hyper::{HeaderMap, Request, Response};

use crate::access_log::AccessLine;
use crate::body::{BodyError, BodyRoom};
use crate::client::{Client, Peer};
use crate::reply::Reply;
use crate::routing::Route;
use crate::sources::{Source, Sources};
use crate::verdict::{Compressor, verdict, verified};
use crate::writer::{NotStored, Writer};

/// The connection ended before the request did; there is nobody to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request was cut off")]
pub(crate) struct CutOff;

/// Everything that answering needs.
pub(crate) struct Intake {
    pub(crate) config: Config,
    pub(crate) sources: Sources,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) writer: Writer,
    pub(crate) room: BodyRoom,
    pub(crate) compressor: Compressor,
}

impl Intake {
    /// Answers `request`, and writes its line to the log.
    pub(crate) async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Result<Response<Full<Bytes>>, CutOff>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let client = Client::of(peer, &head.headers, &self.config.receiver.trusted_proxies);
        let mut line = AccessLine::start(client, &head.method, head.uri.path());
        let reply = match Route::of(&self.sources, &head.method, head.uri.path()) {
            Route::Health => Ok(Reply::Alive),
            Route::Ready => Ok(if self.writer.is_ready().await { Reply::Ready } else { Reply::Unavailable }),
            Route::Source(source) => self.take(source, &head.headers, body, &mut line).await,
            Route::WrongMethod(methods) => Ok(Reply::WrongMethod(methods)),
            Route::Unknown => Ok(Reply::NotFound),
        };
        line.write(reply.as_ref().ok());
        reply.map(|reply| reply.response())
    }

    /// Takes a delivery: body, signature, verdict, disk, and only then the answer.
    async fn take<B>(&self, source: &Source, headers: &HeaderMap, body: B, line: &mut AccessLine) -> Result<Reply, CutOff>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Whoever does not even claim to be the forge need not be read.
        if !claims_to_be_signed(source, headers) {
            return Ok(Reply::Unauthorized);
        }
        let body = match self.room.read(body).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return Ok(Reply::TooLarge),
            Err(BodyError::TooSlow) => return Ok(Reply::TooSlow),
            Err(BodyError::NoRoom) => return Ok(Reply::Busy),
            Err(BodyError::CutOff) => return Err(CutOff),
        };
        line.bytes = body.bytes.len();
        // The body's room stays taken until the answer, because the entry that waits to be written is made of it.
        let (bytes, _room) = (body.bytes, body.room);
        let delivery =
            Delivery { source: source.name.clone(), provider: source.provider, headers: looked_at(source, headers), body: bytes };
        let delivery = match verified(delivery, &source.secrets) {
            Ok(delivery) => delivery,
            Err(refusal) => return Ok(refusal),
        };
        line.provider_id = delivery.provider_id().map(str::to_owned);
        let verdict = match verdict(&self.config, &self.compressor, &delivery, self.clock.now()) {
            Ok(verdict) => verdict,
            Err(refusal) => return Ok(refusal),
        };
        drop(delivery);
        Ok(match self.writer.store(verdict.entry).await {
            Ok(Receipt::Stored) => verdict.reply,
            Ok(Receipt::Duplicate(first)) => Reply::Duplicate { delivery: first },
            Err(NotStored) => Reply::Unavailable,
        })
    }
}

/// Whether there is a signature to check: some forges send one in several headers, and none sends a header twice.
fn claims_to_be_signed(source: &Source, headers: &HeaderMap) -> bool {
    let counts = source.provider.signature_headers().iter().map(|name| headers.get_all(*name).iter().count());
    counts.clone().all(|count| count <= 1) && counts.sum::<usize>() > 0
}

/// The headers that the source's provider looks at; the others are nobody's business.
fn looked_at(source: &Source, headers: &HeaderMap) -> Headers {
    let mut looked_at = Headers::new();
    let names = source.provider.kept_headers().iter().chain(source.provider.signature_headers());
    for name in names {
        for value in headers.get_all(*name) {
            looked_at.add(name, &String::from_utf8_lossy(value.as_bytes()));
        }
    }
    looked_at
}

#[cfg(test)]
mod tests;
