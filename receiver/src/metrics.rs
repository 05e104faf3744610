//! What is counted, for Prometheus. Counting costs an atomic addition; everything else is done when somebody asks.
//!
//! No label holds anything from outside: sources are the configured ones, words are the program's own.

mod exposition; // Prometheus' text format
mod measured; // an inbox that is timed
mod server; // GET /metrics, on sockets of its own
mod spool; // how old and how large what waits in the spool is

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hookspool_common::clock::Instant;
use hookspool_common::config::Config;
use hookspool_common::names::SourceName;

use crate::reply::{CUT_OFF, Reply};

pub(crate) use measured::Measured;
pub(crate) use server::serve;

use exposition::Exposition;
use spool::SpoolState;

/// The answers to deliveries that were taken, or need not be.
const TAKEN: [&str; 4] = ["accepted", "ignored", "pong", "duplicate"];

/// Why requests were refused.
const REFUSED: [&str; 12] = [
    "unauthorized",
    "forbidden",
    "too_many",
    "not_found",
    "method_not_allowed",
    "too_slow",
    "too_large",
    "wrong_type",
    "malformed",
    "busy",
    "unavailable",
    CUT_OFF,
];

/// Bounds of how long a commit takes, in microseconds: from a good disk's cache to a disk that is as good as gone.
const COMMIT_MICROS: [u64; 12] = [100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// Bounds of how many deliveries are in a commit.
const BATCH_SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// All that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    sources: RwLock<BTreeMap<SourceName, Arc<OfSource>>>,
    /// What was refused without a source: no such path, another method.
    refused: Words,
    connections: AtomicI64,
    /// Counted by the places.
    pub(crate) closed_for_newcomers: Arc<AtomicU64>,
    without_request: AtomicU64,
    /// Set by the bounds.
    pub(crate) spool_is_full: Arc<AtomicBool>,
    used_bytes: AtomicU64,
    commit_micros: Histogram,
    batch_sizes: Histogram,
    failed_commits: AtomicU64,
    reload_worked: AtomicBool,
    reloaded_at: AtomicI64,
}

#[derive(Debug)]
struct OfSource {
    taken: Words,
    refused: Words,
}

impl Metrics {
    /// Nothing has happened yet.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let metrics = Self {
            started: now,
            sources: RwLock::default(),
            refused: Words::new(&REFUSED),
            connections: AtomicI64::new(0),
            closed_for_newcomers: Arc::default(),
            without_request: AtomicU64::new(0),
            spool_is_full: Arc::default(),
            used_bytes: AtomicU64::new(0),
            commit_micros: Histogram::new(&COMMIT_MICROS),
            batch_sizes: Histogram::new(&BATCH_SIZES),
            failed_commits: AtomicU64::new(0),
            reload_worked: AtomicBool::new(true),
            reloaded_at: AtomicI64::new(0),
        };
        metrics.reloaded(config, now);
        metrics
    }

    /// Another configuration is in force: sources that stay go on counting, others come and go.
    pub(crate) fn reloaded(&self, config: &Config, now: Instant) {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut *sources);
        for source in &config.sources {
            let new = || Arc::new(OfSource { taken: Words::new(&TAKEN), refused: Words::new(&REFUSED) });
            sources.insert(source.name.clone(), former.remove(&source.name).unwrap_or_else(new));
        }
        self.reloaded_at.store(now.millis(), Relaxed);
        self.reload_worked.store(true, Relaxed);
    }

    /// The configuration could not be reloaded.
    pub(crate) fn reload_failed(&self) {
        self.reload_worked.store(false, Relaxed);
    }

    /// A request was answered; without a reply, it was cut off.
    pub(crate) fn answered(&self, source: Option<&SourceName>, reply: Option<&Reply>) {
        let word = reply.map_or(CUT_OFF, Reply::word);
        let refused = reply.is_none_or(|reply| reply.status().as_u16() >= 400);
        match source {
            Some(source) => {
                // Of a source that was configured when the request began, and is no more, nothing is told.
                let known = self.sources.read().unwrap_or_else(PoisonError::into_inner).get(source).cloned();
                if let Some(of_source) = known {
                    if refused { &of_source.refused } else { &of_source.taken }.count(word);
                }
            }
            None if refused => self.refused.count(word),
            None => {}
        }
    }

    /// A connection was made, and lasts as long as what this gives.
    pub(crate) fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// A connection ended over what never became a request.
    pub(crate) fn no_request(&self) {
        self.without_request.fetch_add(1, Relaxed);
    }

    fn committed(&self, deliveries: usize, time: Duration) {
        self.commit_micros.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        self.batch_sizes.observe(deliveries as u64);
    }

    fn commit_failed(&self) {
        self.failed_commits.fetch_add(1, Relaxed);
    }

    /// All of it in Prometheus' text format, with what is known of the spool.
    fn exposition(&self, spool: Option<&SpoolState>) -> String {
        let mut text = Exposition::default();
        text.gauge(
            "hookspool_build_info",
            "The version of the receiver that runs.",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1,
        );
        let started = "When the receiver was started, in seconds since the epoch.";
        text.gauge("process_start_time_seconds", started, &[], seconds(self.started.millis()));
        let worked = "Whether the configuration was read the last time that it was to be.";
        text.gauge("hookspool_config_last_reload_successful", worked, &[], u8::from(self.reload_worked.load(Relaxed)));
        let name = "hookspool_config_last_reload_success_timestamp_seconds";
        let at = "When the configuration that is in force was read, in seconds since the epoch.";
        text.gauge(name, at, &[], seconds(self.reloaded_at.load(Relaxed)));
        self.expose_requests(&mut text);
        self.expose_connections(&mut text);
        let name = "hookspool_commit_duration_seconds";
        text.histogram(name, "How long it took to have a group of deliveries on disk.", &self.commit_micros, 1e6);
        let name = "hookspool_commit_deliveries";
        text.histogram(name, "How many deliveries one commit put on disk.", &self.batch_sizes, 1.0);
        let failed = "Commits that failed; their deliveries were answered 503.";
        text.counter("hookspool_commit_failures_total", failed);
        text.sample("hookspool_commit_failures_total", &[], self.failed_commits.load(Relaxed));
        let used = "Bytes that the inbox uses of its size, which spool_limit is about.";
        text.gauge("hookspool_spool_used_bytes", used, &[], self.used_bytes.load(Relaxed));
        let full = "Whether the spool takes nothing new, for want of room.";
        text.gauge("hookspool_spool_full", full, &[], u8::from(self.spool_is_full.load(Relaxed)));
        if let Some(spool) = spool {
            let age = "How long the oldest delivery waits that the worker has not taken over; 0 without one.";
            text.gauge("hookspool_spool_age_seconds", age, &[], seconds(spool.age_millis));
            text.gauge("hookspool_spool_size_bytes", "Size of the inbox with its write-ahead log.", &[], spool.bytes);
        }
        text.into_text()
    }

    fn expose_connections(&self, text: &mut Exposition) {
        text.gauge("hookspool_connections", "Connections that are open.", &[], self.connections.load(Relaxed));
        let name = "hookspool_connections_closed_for_newcomers_total";
        text.counter(name, "Connections that waited and were closed, because all places were taken and others came.");
        text.sample(name, &[], self.closed_for_newcomers.load(Relaxed));
        let name = "hookspool_connections_without_request_total";
        text.counter(name, "Connections that ended over what never became a request: no HTTP, too large, too slow, cut off.");
        text.sample(name, &[], self.without_request.load(Relaxed));
    }

    fn expose_requests(&self, text: &mut Exposition) {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        text.counter("hookspool_deliveries_total", "Deliveries that are on disk, by source and answer.");
        for (source, counted) in &sources {
            counted.taken.each(|answer, count| {
                text.sample("hookspool_deliveries_total", &[("source", source.as_str()), ("answer", answer)], count);
            });
        }
        text.counter(
            "hookspool_refused_total",
            "Requests that were refused, by source and reason; without a source it is empty.",
        );
        let refused = sources.iter().map(|(source, counted)| (source.as_str(), &counted.refused));
        for (source, counted) in refused.chain([("", &self.refused)]) {
            counted.each(|reason, count| {
                text.sample("hookspool_refused_total", &[("source", source), ("reason", reason)], count);
            });
        }
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<Metrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// How often each of a few words was said.
#[derive(Debug)]
struct Words {
    words: &'static [&'static str],
    counts: Vec<AtomicU64>,
}

impl Words {
    fn new(words: &'static [&'static str]) -> Self {
        Self { words, counts: words.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    fn count(&self, word: &str) {
        if let Some(place) = self.words.iter().position(|known| *known == word) {
            self.counts[place].fetch_add(1, Relaxed);
        }
    }

    fn each(&self, mut tell: impl FnMut(&str, u64)) {
        self.words.iter().zip(&self.counts).for_each(|(word, count)| tell(word, count.load(Relaxed)));
    }
}

/// How often a value was within which bounds.
#[derive(Debug)]
struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last is for what is over all of them.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    fn observe(&self, value: u64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch are exact in a double for 285,000 years")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests;
