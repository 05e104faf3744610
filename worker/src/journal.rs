//! What a run did so far, on disk before it goes on: one JSON object a line in `runs/N/journal`.
//!
//! The ledger learns of a run's steps only with its outcome. Between the two, and when the runner dies, this is the
//! truth.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hookspool_common::clock::Instant;
use hookspool_common::ledger::{Outcome, ProcessResult, StepRecord};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Began { boot: String },
    Started { step: String, at: Instant, log_at: u64 },
    Ended { at: Instant, result: ProcessResult },
    Outcome(Outcome),
}

/// The writing side: a runner's.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

/// What a journal says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Told {
    /// The machine's boot in which the run was at work.
    pub boot: Option<String>,
    /// The steps so far. The last may not have ended.
    pub steps: Vec<StepRecord>,
    /// Where in the run's log the output of the last step begins.
    pub log_at: u64,
    /// The outcome, when the runner came that far.
    pub outcome: Option<Outcome>,
}

fn path(run_folder: &Path) -> PathBuf {
    run_folder.join("journal")
}

impl Journal {
    /// Begins the journal of a run.
    ///
    /// # Errors
    /// What the system said.
    pub fn begin(run_folder: &Path) -> io::Result<Self> {
        let mut journal = File::create(path(run_folder)).map(|file| Self { file })?;
        if let Some(boot) = present_boot() {
            // It is on disk with the next line; before that, there is nothing to tell of.
            journal.append(&Line::Began { boot })?;
        }
        Ok(journal)
    }

    /// A step begins, and its output at byte `log_at` of the run's log.
    ///
    /// # Errors
    /// What the system said; then the step must not begin.
    pub fn started(&mut self, step: &str, at: Instant, log_at: u64) -> io::Result<()> {
        self.write(&Line::Started { step: step.to_owned(), at, log_at })
    }

    /// The step that began last has ended.
    ///
    /// # Errors
    /// What the system said.
    pub fn ended(&mut self, at: Instant, result: &ProcessResult) -> io::Result<()> {
        self.write(&Line::Ended { at, result: result.clone() })
    }

    /// All steps are done; this came of it.
    ///
    /// # Errors
    /// What the system said.
    pub fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.write(&Line::Outcome(outcome.clone()))
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        self.append(line)?;
        self.file.sync_data()
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(text.as_bytes());
        if written.is_err() {
            // Half a line would swallow the next one. Should this fail too, the next is lost with it.
            let _ = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
        }
        written
    }
}

/// What the kernel calls its present boot (random(4)); it differs after each.
#[must_use]
pub fn present_boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// Reads a run's journal. A line that was cut off by a crash, and an absent journal, say nothing.
#[must_use]
pub fn read(run_folder: &Path) -> Told {
    let text = fs::read_to_string(path(run_folder)).unwrap_or_default();
    let mut told = Told::default();
    for line in text.lines().map_while(|line| serde_json::from_str::<Line>(line).ok()) {
        match line {
            Line::Began { boot } => told.boot = Some(boot),
            Line::Started { step, at, log_at } => {
                told.log_at = log_at;
                told.steps.push(StepRecord { name: step, started_at: at, ended_at: None, result: None })
            }
            Line::Ended { at, result } => {
                if let Some(step) = told.steps.last_mut() {
                    step.ended_at = Some(at);
                    step.result = Some(result);
                }
            }
            Line::Outcome(outcome) => told.outcome = Some(outcome),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1000);

    #[test]
    fn a_journal_says_what_was_going_on_when_it_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(folder.path()).unwrap();
        journal.started("build", NOW, 0).unwrap();
        journal.ended(NOW.plus_millis(5), &ProcessResult::Exited(0)).unwrap();
        journal.started("test", NOW, 70).unwrap();
        fs::OpenOptions::new().append(true).open(path(folder.path())).unwrap().write_all(b"{\"ended\":{\"at\"").unwrap();
        let told = read(folder.path());
        let names: Vec<_> = told.steps.iter().map(|step| (step.name.as_str(), step.ended_at.is_some())).collect();
        assert_eq!((names, told.outcome, told.log_at), (vec![("build", true), ("test", false)], None, 70));
        assert_eq!(told.boot, present_boot());
    }

    #[test]
    fn an_outcome_is_read_back_and_an_absent_journal_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Told::default());
        let outcome = Outcome::Failed("test exited with status 1".into());
        Journal::begin(folder.path()).unwrap().outcome(&outcome).unwrap();
        assert_eq!(read(folder.path()).outcome, Some(outcome));
    }
}
