//! A run, its states, and what became of its steps.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::event::Event;
use crate::git_name::{RefName, Sha};
use crate::names::{DeliveryId, JobName, RunId, SourceName};
use crate::repository_name::RepositoryName;

use super::ProcessResult;

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Admitted. A runner moves it on when it claims it; a newer run of its lane may supersede it. A crash here
    /// changes nothing: the next pass starts it.
    Queued,
    /// A runner holds its lock. The runner moves it on; when the lock is free, a pass does, from the run's journal.
    Running,
    /// Every step succeeded. Final.
    Succeeded,
    /// A step failed. Final.
    Failed,
    /// A step took too long and was ended. Final.
    TimedOut,
    /// Somebody, or a newer run of its lane, ended it. Final.
    Cancelled,
    /// Its runner died before it could write down an outcome. Final.
    Interrupted,
    /// A newer run of its lane took its place before it started. Final.
    Superseded,
    /// It must not run: the reason says why. Final.
    Refused,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Interrupted,
        Self::Superseded,
        Self::Refused,
    ];

    /// The state's name, in the ledger and wherever it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
        }
    }

    /// Whether nothing moves it on any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a run that ran ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum Outcome {
    /// Every step succeeded.
    Succeeded,
    /// This step failed.
    Failed(String),
    /// This step took too long.
    TimedOut(String),
    /// Who or what ended it.
    Cancelled(String),
    /// What was going on when its runner died.
    Interrupted(String),
    /// Why it must not run.
    Refused(String),
}

impl Outcome {
    /// The state that it leaves the run in.
    #[must_use]
    pub const fn state(&self) -> RunState {
        match self {
            Self::Succeeded => RunState::Succeeded,
            Self::Failed(_) => RunState::Failed,
            Self::TimedOut(_) => RunState::TimedOut,
            Self::Cancelled(_) => RunState::Cancelled,
            Self::Interrupted(_) => RunState::Interrupted,
            Self::Refused(_) => RunState::Refused,
        }
    }

    /// Why, in one sentence: `test exited with status 1`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Succeeded => None,
            Self::Failed(why) | Self::TimedOut(why) | Self::Cancelled(why) | Self::Interrupted(why) | Self::Refused(why) => {
                Some(why)
            }
        }
    }
}

/// One step of a run: `checkout`, `build`, `test`, `deploy` or `always`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its name.
    pub name: String,
    /// When it began.
    pub started_at: Instant,
    /// When it ended; absent while it runs, and when its runner died in it.
    pub ended_at: Option<Instant>,
    /// How it ended.
    pub result: Option<ProcessResult>,
}

/// Why there is a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A delivery arrived.
    Delivery,
    /// Somebody had a delivery's jobs run once more.
    Replay {
        /// Who.
        by: String,
    },
    /// Somebody had the job run.
    Manual {
        /// Who.
        by: String,
    },
    /// Somebody had a run made anew.
    Rerun {
        /// The run.
        of: RunId,
        /// Who.
        by: String,
    },
    /// A run failed, or its runner died, and its job says that it is made anew.
    Retry {
        /// The run.
        of: RunId,
    },
    /// It was time.
    Schedule,
    /// The forge had on a ref what no delivery had told of.
    Reconcile,
}

impl Cause {
    /// The cause's name, in the ledger and wherever it is shown.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Replay { .. } => "replay",
            Self::Manual { .. } => "manual",
            Self::Rerun { .. } => "rerun",
            Self::Retry { .. } => "retry",
            Self::Schedule => "schedule",
            Self::Reconcile => "reconcile",
        }
    }

    /// Who asked for the run, where it was a person.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        match self {
            Self::Replay { by } | Self::Manual { by } | Self::Rerun { by, .. } => Some(by),
            Self::Delivery | Self::Retry { .. } | Self::Schedule | Self::Reconcile => None,
        }
    }

    /// The cause in words, as in "run 7: …"; nothing where a delivery arrived, which goes without saying.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        match self {
            Self::Delivery => None,
            Self::Replay { by } => Some(format!("replayed by {by}")),
            Self::Manual { by } => Some(format!("asked for by user {by}")),
            Self::Rerun { of, by } => Some(format!("run {of} again, asked for by user {by}")),
            Self::Retry { of } => Some(format!("another attempt at run {of}")),
            Self::Schedule => Some("scheduled".to_owned()),
            Self::Reconcile => Some("found on the forge; no delivery had told of it".to_owned()),
        }
    }

    /// The run that this one is made from.
    #[must_use]
    pub const fn origin(&self) -> Option<RunId> {
        match self {
            Self::Rerun { of, .. } | Self::Retry { of } => Some(*of),
            Self::Delivery | Self::Replay { .. } | Self::Manual { .. } | Self::Schedule | Self::Reconcile => None,
        }
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Why it is there.
    pub cause: Cause,
    /// The delivery that asked for it first, or for the run that it was made from; absent where none did.
    pub delivery: Option<DeliveryId>,
    /// The source of that delivery, or one of its repository's.
    pub source: SourceName,
    /// The repository.
    pub repository: RepositoryName,
    /// The job.
    pub job: JobName,
    /// The event.
    pub event: Event,
    /// The ref.
    pub reference: Option<RefName>,
    /// The commit; absent until a runner resolved it when the forge did not say it.
    pub sha: Option<Sha>,
    /// Its lane's key.
    pub lane: String,
    /// Of the runs that wait in different lanes, those with the larger number start first.
    pub priority: u8,
    /// Which attempt it is; from 1.
    pub attempt: u32,
    /// It does not start before this instant.
    pub not_before: Option<Instant>,
    /// Whether it may deploy what is older than what is deployed.
    pub allow_older: bool,
    /// Where it is in its life.
    pub state: RunState,
    /// Why it is in this state, where that needs saying.
    pub reason: Option<String>,
    /// When it was admitted.
    pub queued_at: Instant,
    /// When a runner claimed it.
    pub started_at: Option<Instant>,
    /// When it came to its final state.
    pub ended_at: Option<Instant>,
}
