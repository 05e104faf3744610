//! From a delivery to what is stored and answered. Nothing here is written or sent; nothing is parsed unsigned.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hookspool_common::clock::Instant;
use hookspool_common::config::Config;
use hookspool_common::delivery::{Delivery, VerifiedDelivery};
use hookspool_common::event::{Event, Kind};
use hookspool_common::forges::Reading;
use hookspool_common::inbox::Entry;
use hookspool_common::matching::{matches, reason_for_nothing};
use hookspool_common::names::{DeliveryId, JobName};
use hookspool_common::record::{Answer, MAX_LINE_BYTES, Proposal};
use hookspool_common::secrets::Secret;

use crate::reply::Reply;

/// Largest JSON of proposals, in bytes: with the rest of its record it must fit a line of the importer.
const MAX_PROPOSALS_BYTES: usize = MAX_LINE_BYTES - 1024 * 1024;

/// Longest reason for starting nothing, in bytes. It goes into the answer, the inbox and a line of the importer, and a
/// push of many refs gives one for each and every job.
const MAX_REASON_BYTES: usize = 4096;

/// The first of zstd's fast levels. GitHub's 10 KiB become 2.7 KiB instead of the 2.3 KiB of level 1, in less
/// time; compressing is the largest single cost of a delivery beside the disk.
const ZSTD_LEVEL: i32 = -1;

/// What is to be stored, and what is to be answered once it is.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) entry: Box<Entry>,
    pub(crate) reply: Reply,
}

/// Compresses bodies. It is kept, because making one costs more than using it.
pub(crate) struct Compressor(Mutex<zstd::bulk::Compressor<'static>>);

impl Compressor {
    pub(crate) fn new() -> io::Result<Self> {
        zstd::bulk::Compressor::new(ZSTD_LEVEL).map(Mutex::new).map(Self)
    }

    fn compress(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut compressed = self.0.lock().unwrap_or_else(PoisonError::into_inner).compress(bytes)?;
        compressed.shrink_to_fit();
        Ok(compressed)
    }
}

/// Checks the signature over the raw bytes, and then what the bytes are said to be.
pub(crate) fn verified<'s>(
    delivery: Delivery<'s, Bytes>,
    secrets: &[Secret],
    now: Instant,
) -> Result<VerifiedDelivery<'s, Bytes>, Reply> {
    let verified = delivery.verify(secrets, now).map_err(|_| Reply::Unauthorized)?;
    let raw = verified.delivery();
    let content_type = raw.headers.one("content-type").ok().flatten();
    if raw.source.dialect.takes(content_type, &raw.body) { Ok(verified) } else { Err(Reply::WrongType) }
}

/// Reads a delivery and decides what becomes of it.
pub(crate) fn verdict(
    config: &Config,
    compressor: &Compressor,
    delivery: &VerifiedDelivery<'_, Bytes>,
    now: Instant,
) -> Result<Verdict, Reply> {
    let reading = delivery.read().map_err(|malformed| Reply::Malformed { reason: malformed.to_string() })?;
    let id = DeliveryId::generate();
    let decision = match reading {
        Reading::Nothing(reason) => Decision::nothing(Answer::Ignored, reason),
        Reading::Events(events) => decide(config, delivery, events),
    };
    let Decision { answer, reason, proposals, jobs } = decision.within(MAX_PROPOSALS_BYTES);
    let raw = delivery.delivery();
    let body = compressor.compress(&raw.body).map_err(|error| {
        tracing::error!(%error, "a body cannot be compressed");
        Reply::Unavailable
    })?;
    let reply = match (&reason, answer) {
        (Some(reason), Answer::Ignored) => Reply::Ignored { delivery: id, reason: reason.clone() },
        (_, Answer::Ping) => Reply::Pong { delivery: id },
        _ => Reply::Accepted { delivery: id, jobs },
    };
    let entry = Entry {
        id,
        source: raw.source.name.clone(),
        provider_id: delivery.provider_id().map(str::to_owned),
        received_at: now,
        answer,
        reason,
        proposals,
        seen_keys: delivery.seen_keys(),
        headers: kept_headers(raw),
        body,
    };
    Ok(Verdict { entry: Box::new(entry), reply })
}

/// What is to run, or why nothing is.
#[derive(Debug)]
struct Decision {
    answer: Answer,
    reason: Option<String>,
    proposals: String,
    jobs: Vec<JobName>,
}

impl Decision {
    fn nothing(answer: Answer, mut reason: String) -> Self {
        if reason.len() > MAX_REASON_BYTES {
            reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
            reason.push_str(" …");
        }
        Self { answer, reason: Some(reason), proposals: "[]".to_owned(), jobs: Vec::new() }
    }

    /// This decision, unless the worker could not read it: better visibly ignored than stuck before everything else.
    fn within(self, max_bytes: usize) -> Self {
        if self.proposals.len() <= max_bytes {
            return self;
        }
        let size = self.proposals.len();
        Self::nothing(Answer::Ignored, format!("what it tells of has {size} bytes as JSON, and the worker reads {max_bytes}"))
    }
}

fn decide(config: &Config, delivery: &VerifiedDelivery<'_, Bytes>, events: Vec<Event>) -> Decision {
    let source = &delivery.delivery().source.name;
    if events.iter().all(|event| event.kind == Kind::Ping) {
        return Decision::nothing(Answer::Ping, "a ping asks for nothing".to_owned());
    }
    let (mut proposals, mut reasons) = (Vec::new(), Vec::new());
    for event in events {
        let jobs = matches(config, source, &event).matches;
        if jobs.is_empty() {
            reasons.push(reason_for_nothing(config, source, &event));
        } else {
            proposals.push(Proposal { event, jobs });
        }
    }
    if proposals.is_empty() {
        return Decision::nothing(Answer::Ignored, reasons.join("; "));
    }
    let jobs = proposals.iter().flat_map(|proposal| &proposal.jobs).map(|matched| matched.job.clone()).collect();
    match serde_json::to_string(&proposals) {
        Ok(proposals) => Decision { answer: Answer::Accepted, reason: None, proposals, jobs },
        Err(error) => Decision::nothing(Answer::Ignored, format!("what it tells of is not JSON: {error}")),
    }
}

/// The headers that reading the delivery again needs, as a JSON object; never the signature.
fn kept_headers(delivery: &Delivery<'_, Bytes>) -> String {
    let kept = delivery.source.dialect.kept_headers();
    let headers: BTreeMap<&str, &str> = delivery.headers.iter().filter(|(name, _)| kept.contains(name)).collect();
    serde_json::to_string(&headers).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests;
