//! Sends the mails that are due. A mail never fails, delays or repeats a run.

use std::time::Duration;

use hookspool_common::clock::{Clock, Instant};
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, Notice, NoticeState};
use hookspool_common::secrets::SecretStore;

use crate::mail::{GIVE_UP_AFTER, Mailer, retry_after};

/// Mails that one pass looks at.
const MAX_MAILS: usize = 100;

/// Sends what is due. Whether anything left.
///
/// # Errors
/// When the ledger cannot be used. A mail that does not leave is no error: it is due again later.
pub fn send_due(config: &Config, ledger: &mut dyn Ledger, secrets: &SecretStore, clock: &dyn Clock) -> anyhow::Result<bool> {
    let due = ledger.due_notices(clock.now(), MAX_MAILS)?;
    let (Some(mail), false) = (&config.mail, due.is_empty()) else { return Ok(false) };
    let password = mail.password.as_ref().map(|name| secrets.read(name)).transpose();
    let mailer = password.map_err(anyhow::Error::new).and_then(|password| Ok(Mailer::new(mail, password.as_ref())?));
    // A ledger that cannot be written to would not know that a mail has left, and every pass would send it again.
    ledger.attempting(&due.iter().map(|notice| notice.id).collect::<Vec<_>>(), clock.now())?;
    let mut sent = false;
    // Where the server itself cannot be reached, asking it again for each mail would hold up the next run.
    let mut unreachable: Option<String> = mailer.as_ref().err().map(|error| format!("{error:#}"));
    for notice in &due {
        let state = match (&mailer, &unreachable) {
            (Ok(mailer), None) => match mailer.send(&notice.mail) {
                Ok(()) => NoticeState::Sent(clock.now()),
                Err(error) if error.is_permanent() => NoticeState::GivenUp(error.to_string()),
                Err(error) => {
                    if error.concerns_all() {
                        unreachable = Some(error.to_string());
                    }
                    later(notice, error.to_string(), clock.now())
                }
            },
            (_, why) => later(notice, why.clone().unwrap_or_default(), clock.now()),
        };
        log(notice, &state);
        sent |= matches!(state, NoticeState::Sent(_));
        ledger.attempted(notice.id, &state, clock.now())?;
    }
    Ok(sent)
}

/// Due again after the back-off, or given up when that has gone on for too long.
fn later(notice: &Notice, error: String, now: Instant) -> NoticeState {
    let attempts = match notice.state {
        NoticeState::Due { attempts, .. } => attempts + 1,
        _ => 1,
    };
    if Duration::from_millis(now.since(notice.created_at)) > GIVE_UP_AFTER {
        return NoticeState::GivenUp(format!("after {attempts} attempts: {error}"));
    }
    let wait = retry_after(attempts, notice.run.number().unsigned_abs());
    NoticeState::Due { at: now.plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)), attempts, error: Some(error) }
}

fn log(notice: &Notice, state: &NoticeState) {
    let (run, recipient, message_id) = (notice.run, &notice.mail.recipient, &notice.mail.message_id);
    match state {
        NoticeState::Sent(_) => tracing::info!(%run, recipient, message_id, "mail sent"),
        NoticeState::Due { at, attempts, error } => {
            tracing::warn!(%run, recipient, attempts, again = %at, error = error.as_deref(), "mail waits");
        }
        NoticeState::GivenUp(error) => tracing::error!(%run, recipient, error, "mail given up"),
    }
}
