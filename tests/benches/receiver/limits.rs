//! What the machine itself allows: its disk, and the inbox without HTTP.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hookspool_common::clock;
use hookspool_common::delivery::SeenKey;
use hookspool_common::inbox::{Entry, INBOX_FILE, Inbox, Prunable, SqliteInbox};
use hookspool_common::names::DeliveryId;
use hookspool_common::record::Answer;

use crate::slow_disk::SlowDisk;

/// How long the disk alone is measured in a round.
const DISK_TIME: Duration = Duration::from_millis(500);

/// 12 KiB overwritten and synced, times a second.
pub(crate) fn disk_round() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = File::create(folder.path().join("file"))?;
    let block = vec![7; 12 * 1024];
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed() < DISK_TIME {
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        times += 1;
    }
    Ok(f64::from(times) / started.elapsed().as_secs_f64())
}

/// The very rows that the receiver wrote, to be written again without it, under keys that look like its own.
pub(crate) fn stored_entries(inbox: &Path) -> Result<Vec<Entry>> {
    let connection = rusqlite::Connection::open(inbox)?;
    let mut rows = connection
        .prepare("SELECT provider_id, received_at, proposals, headers, zstd FROM delivery JOIN body USING (seq) ORDER BY seq")?;
    let mut rows = rows.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let provider_id: Option<String> = row.get(0)?;
        entries.push(Entry {
            id: DeliveryId::generate(),
            source: "github".parse()?,
            seen_keys: scattered_keys(entries.len() as u64),
            provider_id,
            received_at: clock::Instant::from_millis(row.get(1)?),
            answer: Answer::Accepted,
            reason: None,
            proposals: row.get(2)?,
            headers: row.get(3)?,
            body: row.get(4)?,
        });
    }
    Ok(entries)
}

/// Two keys that look as random as those of SHA-256.
pub(crate) fn scattered_keys(number: u64) -> Vec<SeenKey> {
    let key = |part: u64| {
        let halves = [crate::pushes::scattered(number * 4 + part), crate::pushes::scattered(number * 4 + part + 1)];
        let mut key = [0; 16];
        key[..8].copy_from_slice(&halves[0].to_le_bytes());
        key[8..].copy_from_slice(&halves[1].to_le_bytes());
        key
    };
    vec![key(0), key(2)]
}

/// Nothing is pruned.
pub(crate) const KEEP_ALL: Prunable =
    Prunable { taken_over: 0, received_before: clock::Instant::from_millis(0), above_bytes: u64::MAX };

/// Rows a second when nothing but the inbox works, in transactions of `batch` rows, in a process of its own, so that its
/// disk can be slowed down.
pub(crate) fn bare_round(rows_of: &Path, batch: usize, count: usize, slow: Option<&SlowDisk>) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare").arg(rows_of).arg(batch.to_string()).arg(count.to_string());
    if let Some(slow) = slow {
        slow.slow_down(&mut command);
    }
    let output = command.output()?;
    ensure!(output.status.success(), "the bare inbox failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.trim().parse().context("no rate")
}

/// The process's side: prints its rate.
pub(crate) fn bare(arguments: &[String]) -> Result<()> {
    let [rows_of, batch, count] = arguments else { anyhow::bail!("bare INBOX BATCH COUNT") };
    let mut entries = stored_entries(Path::new(rows_of))?;
    entries.truncate(count.parse()?);
    let folder = tempfile::tempdir()?;
    let mut inbox = SqliteInbox::open(&folder.path().join(INBOX_FILE))?;
    let started = Instant::now();
    for batch in entries.chunks(batch.parse()?) {
        inbox.deliver(batch)?;
        if inbox.has_keys_to_tidy() {
            inbox.tidy(&KEEP_ALL)?;
        }
    }
    println!("{}", entries.len() as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
