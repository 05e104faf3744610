//! `lane`: what a job's runs must not overlap with, and which of several lanes goes first.

use super::problem::Report;
use super::table::Table;

/// Where lanes stand that say nothing.
pub const DEFAULT_PRIORITY: u8 = 50;

/// What a newcomer to a lane does to those already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNew {
    /// It waits its turn.
    Queue,
    /// It takes the place of those that have not started.
    #[default]
    ReplaceQueued,
    /// It also ends the one that runs.
    CancelRunning,
}

impl OnNew {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Queue, Self::ReplaceQueued, Self::CancelRunning];

    /// The choice, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::ReplaceQueued => "replace-queued",
            Self::CancelRunning => "cancel-running",
        }
    }
}

/// One run of a lane at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The lane's name; without it each job and ref is a lane of its own.
    pub group: Option<String>,
    /// What a newcomer does.
    pub on_new: OnNew,
    /// Of the runs that wait in different lanes, those with the larger number start first; 0 to 100.
    pub priority: u8,
}

impl Default for Lane {
    fn default() -> Self {
        Self { group: None, on_new: OnNew::default(), priority: DEFAULT_PRIORITY }
    }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Lane {
    let group = table.text("group", report).map(|text| text.value);
    let on_new = table.word("on_new", &OnNew::ALL.map(|word| (word.as_str(), word)), report).unwrap_or_default();
    let priority = table.number("priority", 0..=100, report).and_then(|number| u8::try_from(number).ok());
    table.finish(report);
    Lane { group, on_new, priority: priority.unwrap_or(DEFAULT_PRIORITY) }
}
