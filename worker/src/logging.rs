//! What the worker says while it works: to standard error, which is the journal under systemd. Never a secret.

use std::fs::{self, File};
use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// When `worker.log` is put aside, in bytes; one old one is kept.
const MAX_WORKER_LOG_BYTES: u64 = 8 * 1024 * 1024;

/// Begins. `RUST_LOG` says how much; by default what happened to deliveries, runs and mails.
pub fn begin() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let usual = Targets::new().with_default(Level::INFO);
    let parsed = if wanted.is_empty() { Ok(usual.clone()) } else { Targets::from_str(&wanted) };
    let (filter, unparsable) = parsed.map_or_else(|error| (usual, Some(error)), |targets| (targets, None));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    // systemd's journal writes its own time.
    let lines = if std::env::var_os("JOURNAL_STREAM").is_some() { lines.without_time().boxed() } else { lines.boxed() };
    tracing_subscriber::registry().with(lines).with(filter).init();
    if let Some(error) = unparsable {
        tracing::warn!(
            "RUST_LOG={wanted:?} is not understood and passed over: {error}; write it like warn or hookspool_worker=debug"
        );
    }
}

/// Where processes that outlive their pass say what concerns the operator, when systemd's journal does not listen.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn worker_log(logs: &Path) -> anyhow::Result<File> {
    let path = logs.join("worker.log");
    // Runners that are at work go on writing to the old one.
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_WORKER_LOG_BYTES) {
        fs::rename(&path, path.with_extension("log.1")).with_context(|| format!("cannot put {} aside", path.display()))?;
    }
    File::options().append(true).create(true).open(&path).with_context(|| format!("cannot open {}", path.display()))
}
