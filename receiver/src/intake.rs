//! One request, from its head to its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hookspool_common::clock::Clock;
use hookspool_common::delivery::Delivery;
use hookspool_common::forges::PATH_HEADER;
use hookspool_common::headers::Headers;
use hookspool_common::inbox::Receipt;
use http_body_util::Full;
use hyper::body::Body;
use hyper::{HeaderMap, Request, Response};

use crate::access_log::AccessLine;
use crate::body::{BodyError, BodyRoom, is_ordinary};
use crate::client::{Client, Peer};
use crate::live::{InForce, Live};
use crate::metrics::Metrics;
use crate::places::{Phase, Place};
use crate::refusals::Refusals;
use crate::reply::Reply;
use crate::routing::Route;
use crate::sources::Source;
use crate::verdict::{Compressor, verdict, verified};
use crate::writer::{NotStored, Writer};

/// The connection ended before the request did; there is nobody to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request was cut off")]
pub(crate) struct CutOff;

/// Everything that answering needs.
pub(crate) struct Intake {
    pub(crate) in_force: Arc<InForce>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) writer: Writer,
    pub(crate) room: BodyRoom,
    pub(crate) compressor: Compressor,
    pub(crate) refusals: Refusals,
}

impl Intake {
    /// Answers `request` of the connection that has this place, and writes its line to the log.
    pub(crate) async fn answer<B>(&self, request: Request<B>, peer: Peer, place: &Place) -> Result<Response<Full<Bytes>>, CutOff>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        place.enter(Phase::Answer);
        // Taken once: a request ends with what it began with, whatever is reloaded meanwhile.
        let live = self.in_force.now();
        let client = Client::of(peer, &head.headers, &live.config.receiver);
        let mut line = AccessLine::start(&self.metrics, client, &head.method, head.uri.path());
        let route = Route::of(&live.sources, &head.method, head.uri.path());
        let must_wait = match &route {
            Route::Health | Route::Ready => false,
            // Whom the source lists is never limited there.
            Route::Source(source) if source.lists(client) => false,
            _ => self.must_wait(client),
        };
        line.is_quiet = must_wait || matches!(route, Route::Health | Route::Ready);
        let reply = match route {
            Route::Health => Ok(Reply::Alive),
            Route::Ready => Ok(if self.writer.is_ready().await { Reply::Ready } else { Reply::Unavailable }),
            Route::Source(source) => {
                line.source = Some(source.config.name.clone());
                if must_wait && !is_ordinary(&body) {
                    Ok(Reply::TooMany)
                } else if !(source.is_open() || source.lists(client)) {
                    Ok(Reply::Forbidden)
                } else {
                    let headers = looked_at(source, &head.headers, head.uri.path());
                    self.take(&live, source, headers, body, &mut line, place).await
                }
            }
            Route::WrongMethod(methods) => Ok(Reply::WrongMethod(methods)),
            Route::Unknown => Ok(Reply::NotFound),
        };
        // Who has to wait is told nothing else. Only a right signature shows that it is not the flood that asks: whoever
        // floods may have the address of a forge, or of a proxy that nobody listed.
        let reply = reply.map(|reply| if must_wait && reply.is_refusal() { Reply::TooMany } else { reply });
        self.remember(client, reply.as_ref().ok());
        line.end(reply.as_ref().ok());
        place.enter(Phase::Head);
        reply.map(|reply| reply.response())
    }

    /// A connection of `peer` sent what never became a request.
    pub(crate) fn no_request(&self, peer: Peer) {
        self.metrics.no_request();
        self.remember(Client::of(peer, &HeaderMap::new(), &self.in_force.now().config.receiver), None);
    }

    /// Whether `client` was refused too often. A proxy is not: its budget would be that of everybody behind it.
    fn must_wait(&self, client: Client) -> bool {
        matches!(client, Client::Address(address) if self.refusals.must_wait(address, Instant::now()))
    }

    /// Remembers what became of a request of `client`; without a reply, it was cut off.
    fn remember(&self, client: Client, reply: Option<&Reply>) {
        let Client::Address(address) = client else { return };
        match reply {
            Some(reply) if reply.delivery().is_some() => self.refusals.accepted(address, Instant::now()),
            Some(reply) if !reply.is_refusal() => {}
            _ => self.refusals.refused(address, Instant::now()),
        }
    }

    /// Takes a delivery: body, signature, verdict, disk, and only then the answer.
    async fn take<B>(
        &self,
        live: &Live,
        source: &Source,
        headers: Headers,
        body: B,
        line: &mut AccessLine<'_>,
        place: &Place,
    ) -> Result<Reply, CutOff>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Whoever does not even claim to be the forge need not be read.
        if !claims_to_be_signed(source, &headers) {
            return Ok(Reply::Unauthorized);
        }
        place.enter(Phase::Body);
        let body = self.room.read(body).await;
        place.enter(Phase::Answer);
        let body = match body {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return Ok(Reply::TooLarge),
            Err(BodyError::TooSlow) => return Ok(Reply::TooSlow),
            Err(BodyError::NoRoom) => return Ok(Reply::Busy),
            Err(BodyError::CutOff) => return Err(CutOff),
        };
        line.bytes = body.bytes.len();
        let now = self.clock.now();
        let delivery = Delivery { source: &source.config, headers, body: body.bytes };
        let delivery = match verified(delivery, &source.secrets, now) {
            Ok(delivery) => delivery,
            Err(refusal) => return Ok(refusal),
        };
        line.provider_id = delivery.provider_id().map(str::to_owned);
        let verdict = match verdict(&live.config, &self.compressor, &delivery, now) {
            Ok(verdict) => verdict,
            Err(refusal) => return Ok(refusal),
        };
        drop(delivery);
        Ok(match self.writer.store(verdict.entry, body.room).await {
            Ok(Receipt::Stored) => verdict.reply,
            Ok(Receipt::Duplicate(first)) => Reply::Duplicate { delivery: first },
            Err(NotStored) => Reply::Unavailable,
        })
    }
}

/// Whether there is a signature to check: some forges send one in several headers, and none sends a header twice.
fn claims_to_be_signed(source: &Source, headers: &Headers) -> bool {
    let mut some = false;
    let mut values = source.config.dialect.signature_headers().into_iter().map(|name| headers.one(name));
    values.all(|value| {
        value.is_ok_and(|value| {
            some |= value.is_some();
            true
        })
    }) && some
}

/// The headers that the source's provider looks at, and the path where it counts; the others are nobody's business.
fn looked_at(source: &Source, headers: &HeaderMap, path: &str) -> Headers {
    let mut looked_at = Headers::new();
    let dialect = &source.config.dialect;
    let names = dialect.kept_headers().into_iter().chain(dialect.signed_headers()).chain(dialect.signature_headers());
    for name in names.filter(|name| *name != PATH_HEADER) {
        if looked_at.has(name) {
            continue;
        }
        for value in headers.get_all(name) {
            looked_at.add(name, &String::from_utf8_lossy(value.as_bytes()));
        }
    }
    if source.config.path.parameter().is_some() {
        looked_at.add(PATH_HEADER, path);
    }
    looked_at
}

#[cfg(test)]
mod tests;
