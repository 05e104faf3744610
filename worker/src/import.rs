//! From the inbox to the ledger, across a privilege.
//!
//! [`importer`] is the child: it runs as the receiver's user, reads `inbox.db` and writes lines to its standard output.
//! [`import`] is the pass's end: it parses those lines as hostile input and never opens the inbox.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use hookspool_common::clock::Clock;
use hookspool_common::config::Config;
use hookspool_common::inbox::{self, InboxReader, MARK_FILE, SqliteInboxReader, WAKE_FILE};
use hookspool_common::ledger::{Admission, Ledger};
use hookspool_common::record::{InboxIdentity, MAX_LINE_BYTES, Preface, Record};
use nix::unistd::geteuid;

use crate::admission::admission;
use crate::receiver_side::{ReceiverSide, read_line};

/// Deliveries that one importer hands over; more are for the next, so that a flood holds nobody up.
pub const MAX_RECORDS: usize = 500;

/// Bytes after which an importer stops by itself; what comes is for the next.
const ENOUGH_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that a pass takes from one importer: what an honest one hands over at most. They are all in memory at once.
const MAX_BATCH_BYTES: usize = ENOUGH_BYTES + MAX_LINE_BYTES;

/// The importer's variable for the place up to which the ledger has taken over, and from which inbox.
const AFTER: &str = "HOOKSPOOL_IMPORT_AFTER";

/// Takes over what the inbox has. Whether there was anything.
///
/// # Errors
/// When the importer cannot be started, or says what an importer does not say. Nothing is lost then: the watermark
/// stays, and the next pass reads on from there.
pub fn import(config: &Config, ledger: &mut dyn Ledger, clock: &dyn Clock) -> anyhow::Result<bool> {
    let watermark = ledger.watermark()?;
    let mut importer = ReceiverSide::start("hookspool-worker", &config.receiver.user, |command| {
        command.arg("import").arg("--config").arg(&config.file);
        if let Some((inbox, seq)) = &watermark {
            command.env(AFTER, format!("{inbox} {seq}"));
        }
    })?;
    let taken = take_over(config, ledger, watermark.as_ref(), importer.said(), clock);
    let succeeded = importer.succeeded()?;
    let taken = taken?;
    succeeded.map_err(|status| anyhow!("the importer failed ({status}); its own words stand above"))?;
    Ok(taken)
}

fn take_over(
    config: &Config,
    ledger: &mut dyn Ledger,
    watermark: Option<&(InboxIdentity, i64)>,
    mut lines: impl BufRead,
    clock: &dyn Clock,
) -> anyhow::Result<bool> {
    // No inbox yet, because the receiver has never run.
    let Some(preface) = read_line(&mut lines)? else { return Ok(false) };
    let Preface { inbox, after } = serde_json::from_str(&preface).context("the importer's first line is none of its")?;
    let known = watermark.filter(|(known, _)| *known == inbox).map_or(0, |(_, seq)| *seq);
    ensure!(after >= known, "the importer begins after {after}, and the ledger has taken over up to {known}");
    if after > known {
        // Whoever is the receiver's user can say so of anything, and hide with it what they could as well not have stored.
        ledger.skip_to(&inbox, after)?;
        tracing::warn!(
            deliveries = after - known,
            from = known + 1,
            to = after,
            "the ledger is older than what was taken over from the inbox, as after its restoration from a backup; what it does \
             not know is not run again: see it with `hookspool deliveries`, and run what is needed with `hookspool replay`"
        );
    }
    let mut last = after;
    let mut batch: Vec<Admission> = Vec::new();
    let mut bytes = 0;
    while let Some(line) = read_line(&mut lines)? {
        bytes += line.len();
        ensure!(bytes <= MAX_BATCH_BYTES, "the importer hands over more than {MAX_BATCH_BYTES} bytes");
        let record: Record = serde_json::from_str(&line).context("a line of the importer is no record")?;
        ensure!(record.seq > last, "the importer's records are out of order: {} after {last}", record.seq);
        ensure!(batch.len() < MAX_RECORDS, "the importer hands over more than {MAX_RECORDS} records");
        last = record.seq;
        batch.push(admission(config, record));
    }
    let admitted = ledger.admit(&inbox, &batch, clock.now())?;
    for one in &admitted {
        tracing::info!(run = %one.run, joined = one.joined, "admitted");
    }
    Ok(!batch.is_empty())
}

/// The child's side: `hookspool-worker import`.
///
/// # Errors
/// When it is root, or the spool cannot be read.
pub fn importer(config: &Config) -> anyhow::Result<()> {
    ensure!(!geteuid().is_root(), "the importer must not be root: SQLite would run what the receiver planted in its file");
    let spool = &config.paths.spool;
    let after = std::env::var(AFTER).unwrap_or_default();
    // Before the import: what comes during it makes the file anew.
    remove(&spool.join(WAKE_FILE)).with_context(|| format!("cannot remove the wake file in {}", spool.display()))?;
    let Some(file) = inbox::find_inbox(spool).context("cannot read the inbox")? else { return Ok(()) };
    // Nor would whoever opens a pipe in the mark's place ever come back.
    for name in [MARK_FILE.to_owned(), fresh_mark()] {
        let path = spool.join(name);
        let is_file = path.symlink_metadata().map_or(true, |found| found.is_file());
        ensure!(is_file, "{} is no file; remove it", path.display());
    }
    let mut reader = SqliteInboxReader::open(&file).with_context(|| file.display().to_string())?;
    // A ledger that was lost, or restored from a backup, must not run anything anew: the mark says how far the other had
    // come. It is written after the ledger's commit, so it never runs ahead of a ledger that was not replaced.
    let marked =
        inbox::taken_over(spool, reader.identity()).with_context(|| format!("cannot read the mark in {}", spool.display()))?;
    let seq = inbox::place_in(&after, reader.identity()).max(marked);
    mark(spool, reader.identity(), seq);
    hand_over(&mut reader, seq, io::BufWriter::new(io::stdout().lock()))
}

/// One delivery at a time: many large ones together would be more than there is memory for.
fn hand_over(reader: &mut impl InboxReader, mut seq: i64, mut out: impl Write) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string(&Preface { inbox: reader.identity().clone(), after: seq })?)?;
    let (mut records, mut bytes) = (0, 0);
    while records < MAX_RECORDS
        && bytes < ENOUGH_BYTES
        && let Some(record) = reader.read_after(seq, 1)?.pop()
    {
        let line = serde_json::to_string(&record)?;
        writeln!(out, "{line}")?;
        (seq, records, bytes) = (record.seq, records + 1, bytes + line.len());
    }
    out.flush().context("the pass does not listen")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the next mark is written before it takes the place of the last.
fn fresh_mark() -> String {
    format!("{MARK_FILE}.new")
}

/// Tells the receiver up to which place of this inbox the ledger has taken over, so that it may prune. It may well do
/// without.
fn mark(spool: &Path, inbox: &InboxIdentity, seq: i64) {
    let path = spool.join(MARK_FILE);
    let text = format!("{inbox} {seq}\n");
    if fs::read_to_string(&path).is_ok_and(|known| known == text) {
        return;
    }
    let fresh = spool.join(fresh_mark());
    if let Err(error) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)) {
        tracing::warn!(file = %path.display(), %error, "cannot write the mark");
    }
}

#[cfg(test)]
mod tests;
