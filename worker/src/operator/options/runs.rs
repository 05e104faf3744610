//! The words of the commands that list runs, make them, end them, and hold their lanes.

use clap::Args;
use hookspool_common::ledger::RunState;
use hookspool_common::names::{JobName, RunId};
use hookspool_common::repository_name::RepositoryName;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  hookspool run deploy --repository github.com/owner/name --ref refs/tags/v1.2")]
pub(in super::super) struct Run {
    /// The job
    pub(in super::super) job: JobName,
    /// Its repository, such as github.com/owner/name
    #[arg(long, value_name = "NAME")]
    pub(in super::super) repository: String,
    /// The branch, or a full ref such as refs/tags/v1; the default branch otherwise
    #[arg(long = "ref", value_name = "REF")]
    pub(in super::super) reference: Option<String>,
    /// Deploys also what is older than what the job deployed last
    #[arg(long)]
    pub(in super::super) allow_older: bool,
    /// Prints JSON
    #[arg(long)]
    pub(in super::super) json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The run is matched anew with the present configuration. In its lane it takes the place that the first had, and displaces
nothing. A lane that is held because the first's runner died goes on."
)]
pub(in super::super) struct Rerun {
    /// The run's number
    pub(in super::super) run: RunId,
    /// Deploys also what is older than what the job deployed last
    #[arg(long)]
    pub(in super::super) allow_older: bool,
    /// Prints JSON
    #[arg(long)]
    pub(in super::super) json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A run that waits is cancelled at once. One that runs is asked to end: its step is ended, then `always` runs."
)]
pub(in super::super) struct Cancel {
    /// The runs' numbers
    #[arg(required = true, value_name = "RUN")]
    pub(in super::super) runs: Vec<RunId>,
    /// Returns before runs that run have ended
    #[arg(long)]
    pub(in super::super) no_wait: bool,
    /// Prints JSON
    #[arg(long)]
    pub(in super::super) json: bool,
}

/// A lane, by one of its runs or by its key.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in super::super) struct LaneOf {
    /// A run whose lane it is
    pub(in super::super) run: Option<RunId>,
    /// The lane's key, as `hookspool show RUN` has it
    #[arg(long, value_name = "KEY")]
    pub(in super::super) lane: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "What runs goes on. What waits, and what comes, waits until `hookspool release`.")]
pub(in super::super) struct Hold {
    #[command(flatten)]
    pub(in super::super) what: LaneOf,
    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT")]
    pub(in super::super) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(in super::super) struct Release {
    #[command(flatten)]
    pub(in super::super) what: LaneOf,
}

#[derive(Debug, Args)]
pub(in super::super) struct Holds {
    /// Prints JSON
    #[arg(long)]
    pub(in super::super) json: bool,
}

#[derive(Debug, Args)]
pub(in super::super) struct Runs {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub(in super::super) limit: usize,
    /// Only runs in this state
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub(in super::super) state: Option<RunState>,
    /// Only runs of this repository, such as github.com/owner/name
    #[arg(long, value_name = "NAME")]
    pub(in super::super) repository: Option<RepositoryName>,
    /// Only runs of jobs with this name
    #[arg(long, value_name = "NAME")]
    pub(in super::super) job: Option<JobName>,
    /// Prints JSON
    #[arg(long)]
    pub(in super::super) json: bool,
}

fn parse_state(text: &str) -> Result<RunState, String> {
    let state = RunState::ALL.into_iter().find(|state| state.as_str() == text);
    state.ok_or_else(|| format!("the states are: {}", RunState::ALL.map(RunState::as_str).join(", ")))
}
