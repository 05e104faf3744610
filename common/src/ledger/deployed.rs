//! What each job put last where it is used. It is written down with the outcome of the run that did it, and outlives that
//! run, so that an old commit is known as old however long ago the newer one was deployed.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::StepRecord;
use crate::clock::Instant;
use crate::config::Phase;
use crate::git_name::{RefName, Sha};
use crate::names::{JobName, RunId};
use crate::repository_name::RepositoryName;

/// What a job deployed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The commit.
    pub sha: Sha,
    /// The run that did it.
    pub run: RunId,
}

/// The first step of every run.
const CHECKOUT: &str = "checkout";

/// Along what a job goes forward: a ref, all tags together, or all that has no ref.
fn line(reference: Option<&str>) -> &str {
    match reference {
        Some(reference) if reference.starts_with("refs/tags/") => "refs/tags/*",
        Some(reference) => reference,
        None => "",
    }
}

/// Writes down that a run deployed, if its `deploy` succeeded. A branch that a run found gone is nobody's past any more: one of
/// the same name may begin anywhere.
pub(super) fn remember(transaction: &Transaction<'_>, run: RunId, steps: &[StepRecord], now: Instant) -> rusqlite::Result<()> {
    let succeeded = |name: &str| {
        steps.iter().any(|step| step.name == name && step.result.as_ref().is_some_and(super::ProcessResult::is_success))
    };
    if !succeeded(CHECKOUT) {
        return Ok(());
    }
    let sql = "SELECT repository, job, ref, sha, kind IN ('branch_deleted', 'tag_deleted') FROM run WHERE id = ?1";
    let (repository, job, reference, sha, is_gone) = transaction.prepare_cached(sql)?.query_row([run.number()], |row| {
        let texts: (String, String, Option<String>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((texts.0, texts.1, texts.2, texts.3, row.get::<_, bool>(4)?))
    })?;
    let line = line(reference.as_deref());
    if is_gone {
        // One of many tags says nothing of what the others deployed.
        let sql = "DELETE FROM deployed WHERE repository = ?1 AND line = ?2 AND line <> 'refs/tags/*'";
        return transaction.prepare_cached(sql)?.execute(params![repository, line]).map(drop);
    }
    if !succeeded(Phase::Deploy.as_str()) {
        return Ok(());
    }
    let Some(sha) = sha else { return Ok(()) };
    let sql = "INSERT INTO deployed (repository, job, line, sha, run, deployed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (repository, job, line) DO UPDATE SET sha = ?4, run = ?5, deployed_at = ?6";
    transaction.prepare_cached(sql)?.execute(params![repository, job, line, sha, run.number(), now.millis()]).map(drop)
}

pub(super) fn last(
    connection: &Connection,
    repository: &RepositoryName,
    job: &JobName,
    reference: Option<&RefName>,
) -> rusqlite::Result<Option<Deployed>> {
    let sql = "SELECT sha, run FROM deployed WHERE repository = ?1 AND job = ?2 AND line = ?3";
    let values = params![repository.as_str(), job.as_str(), line(reference.map(RefName::as_str))];
    connection.prepare_cached(sql)?.query_row(values, super::rows::deployed).optional()
}
