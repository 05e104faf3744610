//! The end of a run as it is written down, at once with what follows from it.

use super::{NewNotice, Outcome, StepRecord};
use crate::clock::Instant;
use crate::names::RunId;

/// The end of a run, as it is written down.
#[derive(Debug, Clone)]
pub struct Finish<'a> {
    /// How it ended.
    pub outcome: &'a Outcome,
    /// Its steps, in order.
    pub steps: &'a [StepRecord],
    /// Who is told.
    pub notices: &'a [NewNotice],
    /// What follows.
    pub sequel: Sequel,
}

impl<'a> Finish<'a> {
    /// An end of which nobody is told and from which nothing follows.
    #[must_use]
    pub const fn plain(outcome: &'a Outcome) -> Self {
        Self { outcome, steps: &[], notices: &[], sequel: Sequel::None }
    }
}

/// What follows from the end of a run, in its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sequel {
    /// The next of the lane has its turn.
    None,
    /// The same is tried again, in the same place.
    Retry {
        /// Not before this instant.
        not_before: Option<Instant>,
        /// The newest run that waited in the lane when this was decided; one that has come since may displace it.
        newest: Option<RunId>,
    },
    /// Nothing starts in the lane until a person lets it go on, for this reason.
    Hold(String),
}
