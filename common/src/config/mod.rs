//! The configuration: what the operator wrote in TOML becomes a [`Config`], or every error at once with its place.
//!
//! It decides what root runs, so each file of it must be one that nobody else could have written. It holds no secrets, only
//! their names.

mod address; // where the receiver listens, and networks
mod duration;
mod job;
mod step; // what a job executes
mod scheduled; // when a job runs by itself
mod lane; // what a job must not overlap with
mod limits; // what a job may use
mod retry; // when a run is made anew
mod workspace; // what a job finds in its workspace, and leaves there
mod notify; // who learns of it
mod mail;
mod main_file; // hookspool.toml
mod problem; // an error with file, line, column and a suggestion
mod receiver; // [receiver]
mod retention; // how long runs are kept
mod repository_file; // repositories/*.toml
mod size;
mod source; // [[source]]
mod source_path; // a path that may have a parameter
mod generic; // a source that the configuration describes
mod pacticipants; // whose repository a Pact Broker speaks of
mod spool; // how much the receiver's spool may hold
mod table; // reading TOML without losing the place
mod when; // the conditions of a job

use std::path::{Path, PathBuf};

pub use address::{Listen, Network};
pub use duration::parse_duration;
pub use job::{Job, JobSecret, SecretForm};
pub use lane::{DEFAULT_PRIORITY, Lane, OnNew};
pub use limits::{DEFAULT_OUTPUT_BYTES, Limits};
pub use mail::{Mail, MailAddress, SmtpSecurity, Transport};
pub use main_file::{Paths, Worker};
pub use notify::{Notify, NotifyOn, Recipient};
pub use pacticipants::Pacticipants;
pub use problem::{Problem, Problems};
pub use receiver::{ProxyHeader, Receiver};
pub use repository_file::Repository;
pub use retention::Retention;
pub use retry::{OnCrash, Retry, RetryOn};
pub use scheduled::Scheduled;
pub use size::size_text;
pub use source::Source;
pub use source_path::SourcePath;
pub use spool::Spool;
pub use step::{Commands, DEFAULT_STEP_TIMEOUT, Phase, Step};
pub use when::{Condition, Conditions};
pub use workspace::{Cache, Keep, Workspace};

use crate::names::SourceName;
use crate::repository_name::RepositoryName;
use problem::Report;

/// Where the packages put the configuration.
pub const DEFAULT_PATH: &str = "/etc/hookspool/hookspool.toml";

/// Largest configuration file, in bytes; a file that is larger was not meant.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A configuration that holds: every reference in it resolves and every value was checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `hookspool.toml` itself, as an absolute path.
    pub file: PathBuf,
    /// The folders that Hookspool writes to.
    pub paths: Paths,
    /// The receiver's part.
    pub receiver: Receiver,
    /// The sources, in the order of the file.
    pub sources: Vec<Source>,
    /// The worker's part.
    pub worker: Worker,
    /// How mail is sent; without it none is.
    pub mail: Option<Mail>,
    /// The repositories, in the order of their files' names.
    pub repositories: Vec<Repository>,
}

impl Config {
    /// Reads `hookspool.toml` at `path` and `repositories/*.toml` beside it.
    ///
    /// # Errors
    /// [`Problems`], which holds every error that was found, each with its place.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let mut report = Report::default();
        let config = Self::read(path, &mut report);
        let problems = report.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    fn read(path: &Path, report: &mut Report) -> Option<Self> {
        let file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let main = main_file::read(&file, report);
        let folder = file.parent().unwrap_or(Path::new("/")).join("repositories");
        let known_sources = main.as_ref().map(|main| main.source_names.as_slice());
        let repositories = repository_file::read_all(&folder, known_sources, report);
        let main = main?;
        Some(Self {
            file,
            paths: main.paths?,
            receiver: main.receiver?,
            sources: main.sources,
            worker: main.worker?,
            mail: main.mail,
            repositories,
        })
    }

    /// The folder in which `hookspool.toml`, `repositories/` and `secrets/` lie.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    /// The source with this name.
    #[must_use]
    pub fn source(&self, name: &SourceName) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == *name)
    }

    /// The repository with this name, as this source may speak of it.
    #[must_use]
    pub fn repository(&self, source: &SourceName, name: &RepositoryName) -> Option<&Repository> {
        self.repositories.iter().find(|repository| repository.name == *name && repository.sources.contains(source))
    }
}

#[cfg(test)]
mod tests;
