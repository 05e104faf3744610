//! The keys under which deliveries are known again: exactly, and without a random write for any of them.
//!
//! New keys are appended to `seen_lately` in their delivery's own transaction, and known in memory. Once there are
//! [`RUN_KEYS`] of them they become a run: rows of `seen_earlier`, in which keys lie together by their first byte, and a
//! [`Filter`] that stays in memory, so that hardly a question reaches the disk. The oldest of more than [`MAX_RUNS`]
//! runs is forgotten. Keys outlive their deliveries: a replay must not pass because the first one was pruned.
//!
//! Memory is as of a transaction. Whoever owns this loads it anew when one failed, or when somebody else wrote.

use std::collections::{HashMap, VecDeque};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::filter::Filter;
use super::sqlite::PAGE_BYTES;
use crate::delivery::SeenKey;
use crate::names::DeliveryId;

/// Keys in a run, of 14,000 deliveries with two each. In memory they take a megabyte; writing the run takes milliseconds.
pub(super) const RUN_KEYS: usize = 28_000;

/// Runs that are kept: of a million deliveries, in 4 MiB of memory and 70 MiB on disk.
pub(super) const MAX_RUNS: usize = 72;

/// Places of a run, one for each first byte of a key.
const PLACES: usize = 256;

/// What a run takes on disk: its 109 entries a place fill a little less than half a page, and its filter seven.
const RUN_BYTES: usize = (PLACES / 2 + 8) * PAGE_BYTES as usize;

const KEY_BYTES: usize = size_of::<SeenKey>();
/// A key, and the id of its delivery.
const ENTRY_BYTES: usize = KEY_BYTES + 16;

/// What of the keys is in memory.
#[derive(Debug, Default)]
pub(super) struct Seen {
    lately: HashMap<SeenKey, DeliveryId>,
    /// The numbers and filters of the runs, the oldest first.
    runs: VecDeque<(i64, Filter)>,
}

impl Seen {
    /// Reads all of what is to be in memory.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut seen = Self::default();
        let mut runs = connection.prepare_cached("SELECT run, filter FROM seen_run ORDER BY run")?;
        let mut runs = runs.query([])?;
        while let Some(row) = runs.next()? {
            let filter = Filter::from_bytes(row.get(1)?).ok_or_else(|| malformed(1, "is no filter"))?;
            seen.runs.push_back((row.get(0)?, filter));
        }
        let mut rows = connection.prepare_cached("SELECT id, keys FROM seen_lately ORDER BY number")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let id = DeliveryId::from_bytes(row.get(0)?);
            let keys = row.get_ref(1)?.as_blob()?.as_chunks::<KEY_BYTES>().0;
            seen.lately.extend(keys.iter().map(|key| (*key, id)));
        }
        Ok(seen)
    }

    /// The delivery that was seen under `key`.
    pub(super) fn find(&self, connection: &Connection, key: &SeenKey) -> rusqlite::Result<Option<DeliveryId>> {
        if let Some(id) = self.lately.get(key) {
            return Ok(Some(*id));
        }
        for (run, _) in self.runs.iter().rev().filter(|(_, filter)| filter.may_hold(key)) {
            let mut select = connection.prepare_cached("SELECT entries FROM seen_earlier WHERE place = ?1")?;
            let entries: Option<Vec<u8>> = select.query_row([place(*run, key[0])], |row| row.get(0)).optional()?;
            let entries = entries.unwrap_or_default();
            if let Some(entry) = entries.as_chunks::<ENTRY_BYTES>().0.iter().find(|entry| entry.starts_with(key)) {
                let id = entry.last_chunk().ok_or_else(|| malformed(0, "is no entry"))?;
                return Ok(Some(DeliveryId::from_bytes(*id)));
            }
        }
        Ok(None)
    }

    /// Adds the keys of a delivery.
    pub(super) fn add(&mut self, transaction: &Transaction<'_>, id: DeliveryId, keys: &[SeenKey]) -> rusqlite::Result<()> {
        // A row without keys would never fill a run, and rows go only when a run is made.
        if keys.is_empty() {
            return Ok(());
        }
        let mut insert = transaction.prepare_cached("INSERT INTO seen_lately (id, keys) VALUES (?1, ?2)")?;
        insert.execute(params![id.as_bytes(), keys.concat()])?;
        self.lately.extend(keys.iter().map(|key| (*key, id)));
        Ok(())
    }

    /// What the keys take on disk, within a few pages a run. They are not counted as what the inbox uses: nothing that
    /// its limits lead to would make them fewer.
    pub(super) fn disk_bytes(&self) -> u64 {
        (self.lately.len() * ENTRY_BYTES + self.runs.len() * RUN_BYTES) as u64
    }

    /// Whether the new keys are enough for a run.
    pub(super) fn is_full(&self) -> bool {
        self.lately.len() >= RUN_KEYS
    }

    /// Makes a run of the new keys, and forgets the oldest of too many.
    pub(super) fn make_run(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let (mut filter, mut places) = (Filter::for_keys(self.lately.len()), vec![Vec::new(); PLACES]);
        for (key, id) in &self.lately {
            filter.add(key);
            places[usize::from(key[0])].extend_from_slice(key);
            places[usize::from(key[0])].extend_from_slice(id.as_bytes());
        }
        let run = self.runs.back().map_or(1, |(newest, _)| newest + 1);
        transaction.execute("INSERT INTO seen_run (run, filter) VALUES (?1, ?2)", params![run, filter.bytes()])?;
        let mut insert = transaction.prepare_cached("INSERT INTO seen_earlier (place, entries) VALUES (?1, ?2)")?;
        for (first, entries) in (0..=u8::MAX).zip(&places).filter(|(_, entries)| !entries.is_empty()) {
            insert.execute(params![place(run, first), entries])?;
        }
        // All of it is in the run now. Without a condition SQLite drops whole pages, not row after row.
        transaction.execute("DELETE FROM seen_lately", [])?;
        self.lately = HashMap::new();
        self.runs.push_back((run, filter));
        while self.runs.len() > MAX_RUNS
            && let Some((oldest, _)) = self.runs.pop_front()
        {
            let all = params![place(oldest, 0), place(oldest, u8::MAX)];
            transaction.execute("DELETE FROM seen_earlier WHERE place BETWEEN ?1 AND ?2", all)?;
            transaction.execute("DELETE FROM seen_run WHERE run = ?1", [oldest])?;
        }
        Ok(())
    }
}

/// Where the keys of a run with this first byte lie.
fn place(run: i64, first: u8) -> i64 {
    run * PLACES as i64 + i64::from(first)
}

fn malformed(column: usize, problem: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, problem.into())
}
