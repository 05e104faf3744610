//! `hookspool log N [-f] [--tail LINES]`: a run's log, packed or not, and with `-f` what is still to come.

mod news; // waits for what is new

use std::io::{self, Read, Write};

use anyhow::Context;
use hookspool_common::config::Config;
use hookspool_common::ledger::{Ledger, Run};
use hookspool_common::names::RunId;

use super::stored::{no_run, no_such_run};
use super::{Exit, options, stored};
use crate::folders::Folders;
use crate::packed_log::{self, LogReader};
use news::News;

pub(super) fn log(config: &Config, options: &options::Log) -> anyhow::Result<Exit> {
    let folders = Folders::new(&config.paths);
    let Some(ledger) = stored::ledger(config)? else { return Ok(no_such_run(options.run)) };
    let Some(run) = ledger.run(options.run)? else { return no_run(&*ledger, options.run) };
    let path = folders.log(run.id);
    let mut out = io::stdout().lock();
    let mut reader: Option<LogReader> = None;
    let mut tail = options.tail;
    // Begun before the first look, so that nothing comes in between.
    let news = options.follow.then(|| News::of(&folders, run.id));
    loop {
        // Asked before the log is read: what was written before the end is then read after it.
        let is_over = is_over(&*ledger, run.id)?;
        if reader.is_none() {
            reader = packed_log::open(&folders, run.id).with_context(|| format!("cannot read {}", path.display()))?;
        }
        if let Some(reader) = &mut reader {
            copy(reader, tail.take(), &mut out)?;
        }
        match &news {
            Some(news) if !is_over => news.wait(),
            _ => break,
        }
    }
    if reader.is_some() {
        return Ok(Exit::Success);
    }
    // It may have waited when it was first looked at, and be over by now.
    let Some(run) = ledger.run(run.id)? else { return no_run(&*ledger, run.id) };
    eprintln!("hookspool: run {} is {} and {}", run.id, run.state, why_without(&run));
    Ok(Exit::Failure)
}

fn why_without(run: &Run) -> &'static str {
    match (run.state.is_final(), run.started_at) {
        (false, _) => "has no log yet",
        (true, None) => "has no log, as it never started",
        (true, Some(_)) => "has no log any more; logs go when their time is over ([worker.retention])",
    }
}

fn is_over(ledger: &dyn Ledger, run: RunId) -> anyhow::Result<bool> {
    Ok(ledger.run(run)?.is_none_or(|run| run.state.is_final()))
}

/// What is new, or of it the last lines, without the control characters that a terminal would obey.
fn copy(reader: &mut LogReader, tail: Option<usize>, out: &mut impl Write) -> anyhow::Result<()> {
    let mut text = Vec::new();
    reader.read_to_end(&mut text)?;
    let from = tail.map_or(0, |lines| last_lines(&text, lines));
    let mut text = text.split_off(from);
    text.retain(|byte| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\t'));
    out.write_all(&text)?;
    out.flush()?;
    Ok(())
}

/// Where the last so many lines begin; one that is not ended yet is a line.
fn last_lines(text: &[u8], lines: usize) -> usize {
    let Some(last) = text.len().checked_sub(1).filter(|_| lines > 0) else { return text.len() };
    let mut ends = text[..last].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.nth(lines - 1).map_or(0, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\n\n", 1, "\n"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\nb\n", 0, ""),
            ("", 3, ""),
        ] {
            assert_eq!(&text[last_lines(text.as_bytes(), lines)..], expected, "{text:?} {lines}");
        }
    }
}
