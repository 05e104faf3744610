//! Where everything lies below the state and log folders. All of it is root's, or that of whoever runs the worker.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hookspool_common::config::Paths;
use hookspool_common::ledger::LEDGER_FILE;
use hookspool_common::names::RunId;
use hookspool_common::repository_name::RepositoryName;

pub(crate) use removal::remove_tree;

mod removal; // of what a step may have filled

/// The folders of one installation.
#[derive(Debug, Clone)]
pub struct Folders {
    state: PathBuf,
    logs: PathBuf,
}

impl Folders {
    /// The folders that the configuration names.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self { state: paths.state.clone(), logs: paths.logs.clone() }
    }

    /// Makes those that are absent.
    ///
    /// # Errors
    /// Which folder could not be made, and why.
    pub fn make(&self) -> anyhow::Result<()> {
        // Steps run as other users in `work/N`, so that they must be able to pass through; they can list nothing.
        for (folder, mode) in [
            (self.state.clone(), 0o711),
            (self.state.join("runs"), 0o700),
            (self.state.join("repos"), 0o700),
            (self.state.join("modules"), 0o700),
            (self.state.join("cache"), 0o700),
            (self.state.join("kept"), 0o700),
            (self.state.join("work"), 0o711),
            (self.logs.join("runs"), 0o750),
        ] {
            make_folder(&folder, mode).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(())
    }

    /// The state folder itself.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.state.join(LEDGER_FILE)
    }

    /// The lock that a pass holds.
    #[must_use]
    pub fn pass_lock(&self) -> PathBuf {
        self.state.join("pass.lock")
    }

    /// The lock of the one pass that waits for the other.
    #[must_use]
    pub fn next_pass_lock(&self) -> PathBuf {
        self.state.join("pass.next")
    }

    /// The mark that a pass leaves which found the lock held.
    #[must_use]
    pub fn pass_mark(&self) -> PathBuf {
        self.state.join("pass.again")
    }

    /// The lock of whoever asks the forges what no delivery told of.
    #[must_use]
    pub fn reconcile_lock(&self) -> PathBuf {
        self.state.join("reconcile.lock")
    }

    /// What is kept of one run while it lives: its lock and its journal.
    #[must_use]
    pub fn run(&self, run: RunId) -> PathBuf {
        self.state.join("runs").join(run.to_string())
    }

    /// The mark that a pass leaves for a runner before it asks it to end for a newer run.
    #[must_use]
    pub fn cancel_mark(&self, run: RunId) -> PathBuf {
        self.run(run).join("cancel")
    }

    /// One run's workspace, home and temporary folder.
    #[must_use]
    pub fn work(&self, run: RunId) -> PathBuf {
        self.state.join("work").join(run.to_string())
    }

    /// The file that `$HOOKSPOOL_EVENT` names.
    #[must_use]
    pub fn event_file(&self, run: RunId) -> PathBuf {
        self.work(run).join("event.json")
    }

    /// The secrets that a run's step gets as files, while it runs.
    #[must_use]
    pub fn secrets(&self, run: RunId) -> PathBuf {
        self.work(run).join("secrets")
    }

    /// A repository's mirror. Its components were checked when the name was made.
    #[must_use]
    pub fn mirror(&self, repository: &RepositoryName) -> PathBuf {
        self.state.join("repos").join(format!("{repository}.git"))
    }

    /// The folder of all mirrors.
    #[must_use]
    pub fn repos(&self) -> PathBuf {
        self.state.join("repos")
    }

    /// The mirrors of a repository's submodules, which the lock of its own mirror guards.
    #[must_use]
    pub fn modules(&self, repository: &RepositoryName) -> PathBuf {
        self.state.join("modules").join(repository.as_str())
    }

    /// One run's log.
    #[must_use]
    pub fn log(&self, run: RunId) -> PathBuf {
        self.logs.join("runs").join(format!("{run}.log"))
    }

    /// One run's log when it is over.
    #[must_use]
    pub fn packed_log(&self, run: RunId) -> PathBuf {
        self.logs.join("runs").join(format!("{run}.log.zst"))
    }

    /// The folder of all logs of runs.
    #[must_use]
    pub fn run_logs(&self) -> PathBuf {
        self.logs.join("runs")
    }

    /// The workspaces that stay.
    #[must_use]
    pub fn kept(&self) -> PathBuf {
        self.state.join("kept")
    }

    /// What jobs find again.
    #[must_use]
    pub fn caches(&self) -> PathBuf {
        self.state.join("cache")
    }

    /// When everything was last looked through for what may go.
    #[must_use]
    pub fn tidied(&self) -> PathBuf {
        self.state.join("tidied")
    }

    /// The numbers of the runs that have a folder in `work/` or `runs/`.
    ///
    /// # Errors
    /// What the system said.
    pub fn runs_with_folders(&self) -> io::Result<Vec<RunId>> {
        let mut runs = Vec::new();
        for folder in ["work", "runs"] {
            for entry in fs::read_dir(self.state.join(folder))? {
                runs.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()));
            }
        }
        runs.sort_unstable();
        runs.dedup();
        Ok(runs)
    }
}

/// Makes a folder with exactly this mode, whatever the umask; one that exists is left as it is.
pub(crate) fn make_folder(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(mode).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}
