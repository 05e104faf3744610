//! `hookspool log N [-f]`: a run's log, and with `-f` what is still to come.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::Context;
use hookspool_common::config::Config;
use hookspool_common::ledger::Ledger;
use hookspool_common::names::RunId;

use super::show::no_such_run;
use super::{Exit, options, stored};
use crate::folders::Folders;

/// How often a run that goes on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn log(config: &Config, options: &options::Log) -> anyhow::Result<Exit> {
    let folders = Folders::new(&config.paths);
    let Some(ledger) = stored::ledger(config)? else { return Ok(no_such_run(options.run)) };
    let Some(run) = ledger.run(options.run)? else { return Ok(no_such_run(options.run)) };
    let path = folders.log(run.id);
    let mut out = io::stdout().lock();
    let mut file: Option<File> = None;
    loop {
        // Asked before the log is read: what was written before the end is then read after it.
        let is_over = is_over(&*ledger, run.id)?;
        if file.is_none() {
            file = File::open(&path).map(Some).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                _ => Err(error).with_context(|| format!("cannot read {}", path.display())),
            })?;
        }
        if let Some(file) = &mut file {
            copy(file, &mut out)?;
        }
        if !options.follow || is_over {
            break;
        }
        // There is nothing to wait on across processes but time; a person does not see a tenth of a second.
        std::thread::sleep(LOOK_EVERY);
    }
    if file.is_none() {
        eprintln!("hookspool: run {} is {} and has no log{}", run.id, run.state, if run.state.is_final() { "" } else { " yet" });
    }
    Ok(Exit::Success)
}

fn is_over(ledger: &dyn Ledger, run: RunId) -> anyhow::Result<bool> {
    Ok(ledger.run(run)?.is_none_or(|run| run.state.is_final()))
}

/// What is new in the file, without the control characters that a terminal would obey.
fn copy(file: &mut File, out: &mut impl Write) -> anyhow::Result<()> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    text.retain(|byte| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\t'));
    out.write_all(&text)?;
    out.flush()?;
    Ok(())
}
