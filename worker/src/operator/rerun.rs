//! `hookspool rerun N`: the same once more, at the same commit, because a person wants it.
//!
//! Nothing of the first run is believed but its event, which is matched anew with the present configuration.

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::Config;
use hookspool_common::ledger::Ledger;

use super::run::{Made, made};
use super::stored::no_run;
use super::view::shown;
use super::{Exit, options, writing};
use crate::admission::again;

pub(super) fn rerun(config: &Config, options: &options::Rerun) -> anyhow::Result<Exit> {
    let mut ledger = writing::existing_ledger(config)?;
    let Some(run) = ledger.run(options.run)? else { return no_run(&ledger, options.run) };
    if !run.state.is_final() {
        eprintln!("hookspool: run {} is {} and not over; to end it: hookspool cancel {}", run.id, run.state, run.id);
        return Ok(Exit::Failure);
    }
    let request = match again(config, &run) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("hookspool: run {} cannot run again: {}", run.id, shown(&why));
            return Ok(Exit::Failure);
        }
    };
    let admitted = ledger.rerun(run.id, &request, &writing::who(), options.allow_older, SystemClock.now())?;
    made(config, &ledger, &Made { run: admitted.run, json: options.json })
}
