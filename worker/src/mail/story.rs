//! What there is to tell of a run that ended. Borrowed facts, no decisions.

use std::path::Path;

use hookspool_common::clock::Instant;
use hookspool_common::ledger::{Outcome, Run, StepRecord};

/// How the last run of the same job and ref before this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// There was none.
    None,
    /// Every step succeeded.
    Succeeded,
    /// It failed in any way.
    Broken,
}

/// A lane in which nothing more starts because of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    /// Why.
    pub reason: &'a str,
    /// The person who had held it before, and why. Only a release lets go of that.
    pub person: Option<(&'a str, &'a str)>,
    /// Whether the configuration would have the same run once more.
    pub can_rerun: bool,
}

/// A run that ended, with all that its mail says.
#[derive(Debug, Clone, Copy)]
pub struct Story<'a> {
    /// The run.
    pub run: &'a Run,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// Its steps, in order.
    pub steps: &'a [StepRecord],
    /// The job's phases that were not run, in order.
    pub not_run: &'a [&'a str],
    /// When it ended; the mail's date.
    pub ended_at: Instant,
    /// The end of the failing step's output, in which secrets are masked already.
    pub output_end: &'a str,
    /// How the run before it ended.
    pub before: Before,
    /// Where its workspace stays, if it does.
    pub kept: Option<&'a Path>,
    /// How its lane is held because of it, if it is.
    pub held: Option<Held<'a>>,
    /// Whether it was refused because something newer is deployed.
    pub is_older: bool,
    /// The configuration's file, unless it is the default one.
    pub config_path: Option<&'a Path>,
}
