//! How a runner is started so that it outlives the pass, and what is known of the end of one that died.
//!
//! A run must go on when its pass is killed, stopped or replaced by a newer version, and when the job installs Hookspool
//! itself. Where systemd is PID 1 and this is root, a runner is a transient unit of its own; elsewhere it is a process in
//! a session of its own. Whether a runner lives is never asked here: its lock says so.

mod detached; // a session of its own
mod end; // how a runner ended
mod program; // the program as it is installed now
mod transient; // a unit of systemd's
mod unit; // what the unit is called, and what systemd says of it

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use hookspool_common::config::{Config, Job};
use hookspool_common::ledger::Run;
use hookspool_common::names::RunId;
use nix::unistd::{User, geteuid};

use crate::alive::Alive;
use crate::environment;

pub use detached::Detached;
pub use end::End;
pub use program::Program;
pub use transient::Transient;

/// What a runner does first. Its own unit is no part of a pass in any way.
pub(crate) fn leave_the_pass() {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        detached::leave_the_pass();
    }
}

/// The variable by which a pass learns that systemd makes it, and by which unit; `hookspool-worker.service` sets it.
pub const PASS_UNIT: &str = "HOOKSPOOL_PASS_UNIT";

/// Where the system was booted with systemd, this folder is there (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Variables of a pass that a runner keeps: they concern how the worker talks, and what its clock shows.
const KEPT_VARIABLES: [&str; 2] = ["RUST_LOG", "TZ"];

/// Starts runners, and knows of those that died.
pub trait Launcher: Debug {
    /// Starts the runner of a run. When it returns, the runner has its run or will not get it; the ledger says which.
    ///
    /// # Errors
    /// When there is no runner.
    fn start(&self, order: &Order) -> anyhow::Result<()>;

    /// How the runner of a run ended that somebody else's lock does not protect any more, if somebody saw it. What is left
    /// of the runner is ended, and nothing is kept of it.
    ///
    /// # Errors
    /// When what is left cannot be ended. The run must not be concluded then.
    fn bury(&self, lock: &Alive) -> anyhow::Result<Option<End>>;

    /// Runs of whose runners something is kept. There are none but those that run, and those that ended badly.
    ///
    /// # Errors
    /// What the system said.
    fn remembered(&self) -> io::Result<Vec<RunId>>;

    /// Starts another of the worker's commands, which outlives the pass and which nobody waits for.
    ///
    /// # Errors
    /// When it cannot be started.
    fn start_aside(&self, command: &'static str) -> anyhow::Result<()>;

    /// Keeps nothing more of the runner of a run that is over. One that is still about to end is left alone.
    ///
    /// # Errors
    /// What the system said.
    fn forget(&self, run: RunId) -> anyhow::Result<()>;
}

/// A runner that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The run.
    pub run: RunId,
    /// What it is, for people.
    pub title: String,
    /// Whether a step of it runs as root.
    pub has_root: bool,
    /// Its share of the processor beside others (`CPUWeight`), where one is configured.
    pub cpu_weight: Option<u64>,
}

impl Order {
    /// The order for a queued run. A job that is gone from the configuration has no steps; its runner refuses it.
    #[must_use]
    pub fn new(config: &Config, run: &Run) -> Self {
        let job = config.repository(&run.source, &run.repository).and_then(|repository| repository.job(&run.job));
        let title = format!("Hookspool's run {}: job {} of {}", run.id, run.job, run.repository);
        let has_root = job.is_some_and(|job| has_root(job, &config.worker.user));
        let cpu_weight = job.and_then(|job| job.limits.or(config.worker.limits).cpu_weight);
        Self { run: run.id, title, has_root, cpu_weight }
    }
}

fn has_root(job: &Job, usual: &str) -> bool {
    let of_job = job.user.as_deref().unwrap_or(usual);
    let mut users = job.steps.iter().map(|step| step.user.as_deref().unwrap_or(of_job));
    // Root may have several names. A name that cannot be looked up now is looked up again before the step.
    users.any(|user| user == "root" || User::from_name(user).is_ok_and(|user| user.is_some_and(|user| user.uid.is_root())))
}

/// The launcher of this installation on this machine. `credentials` is the pass's own folder of systemd's credentials.
#[must_use]
pub fn of(config: &Config, program: &Program, credentials: Option<&Path>) -> Box<dyn Launcher> {
    if is_booted_with_systemd() && geteuid().is_root() {
        Box::new(Transient::new(config, program, credentials.map(Path::to_owned), pass_unit()))
    } else {
        Box::new(Detached::new(config, program, credentials.map(Path::to_owned)))
    }
}

/// Whether PID 1 is systemd.
pub(crate) fn is_booted_with_systemd() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Where cgroup v2 is mounted, from `/proc/self/mountinfo` (proc(5)).
fn cgroup_mount() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let unified = mounts.lines().find(|line| line.split_once(" - ").is_some_and(|(_, after)| after.starts_with("cgroup2 ")))?;
    unified.split(' ').nth(4).map(PathBuf::from)
}

/// The unit that makes this installation's passes, where one does.
#[must_use]
pub fn pass_unit() -> Option<String> {
    std::env::var(PASS_UNIT).ok().filter(|unit| unit.ends_with(".service"))
}

/// The whole environment of a runner, but for what systemd adds.
fn environment_of_runner() -> Vec<(&'static str, OsString)> {
    let kept = KEPT_VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    [("PATH", environment::PATH.into())].into_iter().chain(kept).collect()
}

/// The words of a runner's command line after the program.
fn words_of_runner(run: RunId, config_file: &Path) -> [OsString; 4] {
    ["runner".into(), run.to_string().into(), "--config".into(), PathBuf::from(config_file).into_os_string()]
}

/// The words of another command's line.
fn words_of(command: &str, config_file: &Path) -> [OsString; 3] {
    [command.into(), "--config".into(), PathBuf::from(config_file).into_os_string()]
}
