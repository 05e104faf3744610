//! Runs that a person asks for, without a delivery.

use rusqlite::{OptionalExtension, Transaction, params};

use super::admission::{Asking, admit_request};
use super::transitions::{failing, link_as};
use super::{Admitted, Cause, LedgerError, Request, holds};
use crate::clock::Instant;
use crate::config::OnNew;
use crate::names::{DeliveryId, RunId, SourceName};

/// A new run of nobody's making but this person's, in its lane by the usual rules.
pub(super) fn start(
    transaction: &Transaction<'_>,
    source: &SourceName,
    request: &Request,
    by: &str,
    allow_older: bool,
    now: Instant,
) -> rusqlite::Result<Admitted> {
    let asking = Asking { allow_older, ..Asking::of(Cause::Manual { by: by.to_owned() }, source) };
    admit_request(transaction, &asking, request, now)
}

/// The same as run `of` once more, at its commit. It takes the place in its lane that the first had and displaces nobody: what
/// came later is to run later. A lane that is held because the first's runner died goes on.
pub(super) fn rerun(
    transaction: &Transaction<'_>,
    of: RunId,
    request: &Request,
    by: &str,
    allow_older: bool,
    now: Instant,
) -> Result<Admitted, LedgerError> {
    let sql = "SELECT delivery, source, state IN ('queued', 'running') FROM run WHERE id = ?1";
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<[u8; 16]>>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?));
    let found = transaction.query_row(sql, [of.number()], read).optional().map_err(failing)?;
    let Some((delivery, source, false)) = found else { return Err(LedgerError::Unexpected { run: of, expected: "over" }) };
    let source: SourceName = source.parse().map_err(|error| LedgerError::Failing(format!("run {of}: {error}")))?;
    // It joins no run, whatever waits.
    let newest: i64 = transaction.query_row("SELECT max(id) FROM run", [], |row| row.get(0)).map_err(failing)?;
    let asking = Asking {
        delivery: delivery.map(DeliveryId::from_bytes),
        joins_after: RunId::new(newest),
        allow_older,
        ..Asking::of(Cause::Rerun { of, by: by.to_owned() }, &source)
    };
    let request = Request { on_new: OnNew::Queue, ..request.clone() };
    let admitted = admit_request(transaction, &asking, &request, now).map_err(failing)?;
    let sql =
        "UPDATE run SET sha = (SELECT sha FROM run WHERE id = ?2), place = (SELECT coalesce(place, id) FROM run WHERE id = ?2)
               WHERE id = ?1 AND state = 'queued'";
    transaction.execute(sql, params![admitted.run.number(), of.number()]).map_err(failing)?;
    link_as(transaction, admitted.run, of).map_err(failing)?;
    holds::remove_for(transaction, of).map_err(failing)?;
    super::turns::pass_turn(transaction, &request.lane).map_err(failing)?;
    Ok(admitted)
}
