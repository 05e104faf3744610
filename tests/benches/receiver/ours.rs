//! Rounds of the real receiver. Whatever it answered 202 is counted in the inbox afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use hookspool_common::inbox::{Entry, INBOX_FILE, Inbox, SqliteInbox};
use hookspool_common::names::DeliveryId;
use hookspool_tests::programs::workspace;
use hookspool_tests::receiver::Installation;
use rusqlite::Connection;

use crate::limits::{KEEP_ALL, scattered_keys, stored_entries};
use crate::load::load;
use crate::processes::{Counter, cpu, memory};
use crate::pushes::requests;
use crate::rounds::Rounds;
use crate::slow_disk::SlowDisk;

/// How a round differs from a fresh receiver on the disk that there is.
#[derive(Default, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) slow: Option<&'a SlowDisk>,
    /// An inbox to start from.
    pub(crate) stored: Option<&'a Path>,
}

/// One round; gives the installation, whose inbox holds the rows.
pub(crate) fn round(way: Way<'_>, connections: usize, count: usize, rounds: &mut Rounds) -> Result<Installation> {
    let requests = requests(count);
    let installation = prepared(way)?;
    let inbox = installation.spool().join(INBOX_FILE);
    let before = if way.stored.is_some() { rows(&inbox)? } else { 0 };
    let mut command = installation.command()?;
    if let Some(slow) = way.slow {
        slow.slow_down(&mut command);
    }
    let receiver = installation.start_with(&mut command)?;
    rounds.idle.push(memory(receiver.pid(), "VmRSS")?);
    let used = cpu(receiver.pid())?;
    let load = load(receiver.address(), &requests, connections, 202)?;
    rounds.add(&load, cpu(receiver.pid())? - used, count);
    rounds.peak.push(memory(receiver.pid(), "VmHWM")?);
    receiver.stop()?;
    let stored = rows(&inbox)? - before;
    ensure!(stored == count, "{count} deliveries were answered 202 and {stored} are stored");
    Ok(installation)
}

/// System calls and fdatasyncs a delivery; none where nobody can count them.
pub(crate) fn counted(connections: usize, count: usize) -> Result<Option<(f64, f64)>> {
    let requests = requests(count);
    let installation = prepared(Way::default())?;
    let receiver = installation.start()?;
    let Some(counter) = Counter::start(receiver.pid()) else { return Ok(None) };
    load(receiver.address(), &requests, connections, 202)?;
    let (calls, syncs) = counter.stop()?;
    Ok(Some((calls / count as f64, syncs / count as f64)))
}

fn prepared(way: Way<'_>) -> Result<Installation> {
    let installation = Installation::new()?;
    installation.write_config("127.0.0.1:0", "spool_limit = \"64GiB\"\nretention = { size = \"63GiB\" }")?;
    if let Some(stored) = way.stored {
        let inbox = installation.spool().join(INBOX_FILE);
        fs::copy(stored, &inbox)?;
        // What was copied must not be written back while it is measured.
        fs::File::open(&inbox)?.sync_all()?;
        installation.give_to_user(&inbox)?;
    }
    Ok(installation)
}

fn rows(inbox: &Path) -> Result<usize> {
    let count: i64 = Connection::open(inbox)?.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}

/// Deliveries in the full inbox.
const FULL: u64 = 1_000_000;
/// Rows in a transaction that fills it.
const FILLING_BATCH: u64 = 5_000;

/// An inbox with a million deliveries like those in `rows_of`, made once and kept below `target`.
pub(crate) fn full_inbox(rows_of: &Path) -> Result<PathBuf> {
    let folder = workspace().join("target/bench");
    let full = folder.join("million-v2.db");
    if full.exists() {
        return Ok(full);
    }
    eprintln!("filling an inbox with a million deliveries, once");
    fs::create_dir_all(&folder)?;
    let unfinished = folder.join("unfinished.db");
    let _ = fs::remove_file(&unfinished);
    let patterns = stored_entries(rows_of)?;
    let mut inbox = SqliteInbox::open(&unfinished)?;
    for first in (0..FULL).step_by(usize::try_from(FILLING_BATCH)?) {
        let entry = |number: u64| {
            let pattern = &patterns[number as usize % patterns.len()];
            Entry { id: DeliveryId::generate(), seen_keys: scattered_keys((1 << 40) + number), ..pattern.clone() }
        };
        let batch: Vec<Entry> = (first..first + FILLING_BATCH).map(entry).collect();
        inbox.deliver(&batch)?;
        inbox.tidy(&KEEP_ALL)?;
    }
    drop(inbox);
    fs::rename(&unfinished, &full)?;
    Ok(full)
}
