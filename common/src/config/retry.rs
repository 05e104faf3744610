//! `retry` and `on_crash`: when a run that did not come to its end, or came to a bad one, is made anew.

use std::time::Duration;

use super::problem::Report;
use super::table::Table;

/// Most attempts that may be configured.
const MAX_ATTEMPTS: u64 = 20;

/// How long a further attempt waits where nothing is said.
const DEFAULT_DELAY: Duration = Duration::from_secs(60);

/// What must have failed for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// git, or the way to the forge.
    Checkout,
    /// A step that took too long.
    TimedOut,
    /// The step `build`.
    Build,
    /// The step `test`.
    Test,
    /// The step `deploy`.
    Deploy,
}

impl RetryOn {
    /// Every choice.
    pub const ALL: [Self; 5] = [Self::Checkout, Self::TimedOut, Self::Build, Self::Test, Self::Deploy];

    /// The choice, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::TimedOut => "timed_out",
            Self::Build => "build",
            Self::Test => "test",
            Self::Deploy => "deploy",
        }
    }
}

/// Further attempts after a run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first one too; at least 2.
    pub attempts: u32,
    /// After what.
    pub on: Vec<RetryOn>,
    /// How long each waits.
    pub delay: Duration,
}

/// What becomes of a run whose runner died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCrash {
    /// It is `interrupted`, and made anew.
    Retry,
    /// It is `interrupted`.
    Fail,
    /// It is `interrupted`, and its lane is held until a person lets it go on.
    Hold,
}

impl OnCrash {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Retry, Self::Fail, Self::Hold];

    /// The choice, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Hold => "hold",
        }
    }
}

pub(super) fn read(mut table: Table<'_, '_>, report: &mut Report) -> Option<Retry> {
    let attempts = match table.get("attempts") {
        Some(_) => table.number("attempts", 2..=MAX_ATTEMPTS, report),
        None => {
            table.absent("attempts", "attempts = 3", report);
            None
        }
    };
    let on = match table.get("on") {
        Some(_) => table.texts("on", report).map(|texts| {
            let words = RetryOn::ALL.map(|word| (word.as_str(), word));
            texts.iter().filter_map(|text| table.word_of("on", text, &words, report)).collect()
        }),
        None => Some(vec![RetryOn::Checkout, RetryOn::TimedOut]),
    };
    let delay = if table.get("delay").is_some() { table.duration("delay", report) } else { Some(DEFAULT_DELAY) };
    table.finish(report);
    Some(Retry { attempts: u32::try_from(attempts?).ok()?, on: on?, delay: delay? })
}

pub(super) fn read_on_crash(table: &mut Table<'_, '_>, has_deploy: bool, report: &mut Report) -> OnCrash {
    let said = table.word("on_crash", &OnCrash::ALL.map(|word| (word.as_str(), word)), report);
    said.unwrap_or(if has_deploy { OnCrash::Hold } else { OnCrash::Retry })
}
