//! Deliveries that were taken over before become runs once more, because a person asked for it.
//!
//! What is replayed at once is admitted as if it came at once: two tellings of one action are one run again. Earlier runs
//! are never joined.

use rusqlite::{OptionalExtension, Transaction};

use super::admission::{Asking, admit_request, insert_delivery};
use super::transitions::failing;
use super::{Admission, Admitted, Cause, LedgerError};
use crate::clock::Instant;
use crate::names::{DeliveryId, RunId};

/// One replay, of one delivery or many.
pub(super) struct Replay<'a> {
    transaction: &'a Transaction<'a>,
    watermark: i64,
    by: &'a str,
    newest: RunId,
}

impl<'a> Replay<'a> {
    /// `watermark` is the place up to which the inbox of the deliveries was taken over.
    pub(super) fn begin(transaction: &'a Transaction<'_>, watermark: i64, by: &'a str) -> rusqlite::Result<Self> {
        let newest: Option<i64> = transaction.query_row("SELECT max(id) FROM run", [], |row| row.get(0))?;
        Ok(Self { transaction, watermark, by, newest: RunId::new(newest.unwrap_or(0)) })
    }

    pub(super) fn replay(&self, admission: &Admission, now: Instant) -> Result<Vec<Admitted>, LedgerError> {
        let record = &admission.record;
        if !self.knows(record.id).map_err(failing)? {
            // A ledger that was lost began anew after this delivery. Before that place, its row would keep the import
            // from making its own runs.
            if record.seq > self.watermark {
                return Err(LedgerError::NotTakenOver(record.id));
            }
            insert_delivery(self.transaction, record, now).map_err(failing)?;
        }
        let asking = Asking::of_delivery(record, Cause::Replay { by: self.by.to_owned() }, self.newest);
        let admit = |request| admit_request(self.transaction, &asking, request, now);
        admission.requests.iter().map(admit).collect::<rusqlite::Result<_>>().map_err(failing)
    }

    fn knows(&self, delivery: DeliveryId) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM delivery WHERE id = ?1";
        Ok(self.transaction.query_row(sql, [delivery.as_bytes()], |_| Ok(())).optional()?.is_some())
    }
}
