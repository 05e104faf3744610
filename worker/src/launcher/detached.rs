//! A runner as a process in a session of its own, where systemd does not run it: under cron, in a container, for whoever
//! is not root.
//!
//! What ends the pass, its process group or its session does not reach it. Root also moves it out of the pass's
//! cgroup, as some supervisors kill all that is left in one. It is the child of nobody who waits for it, so how one ended
//! that died is not known.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use hookspool_common::config::Config;
use hookspool_common::names::RunId;
use nix::unistd::{geteuid, setsid};

use super::{End, Launcher, Order, Program, cgroup_mount, environment_of_runner, words_of, words_of_runner};
use crate::alive::Alive;
use crate::logging::worker_log;
use crate::runner::CLAIMED;

/// The cgroup of all such runners, below the mount of cgroup v2. It stays: nobody leaves it before their end.
const GROUP: &str = "hookspool/runners";

/// The variable by which one knows that standard error is systemd's journal (systemd.exec(5)).
const JOURNAL: &str = "JOURNAL_STREAM";

/// What a runner does first, so that nothing that is done to the pass, its process group, its session or its cgroup
/// reaches it.
pub(crate) fn leave_the_pass() {
    // It fails where that is so already.
    let _ = setsid();
    if geteuid().is_root()
        && let Some(mount) = cgroup_mount()
    {
        let group = mount.join(GROUP);
        // Whoever may not make one stays where they are: a container's own group ends with the container.
        if let Err(error) = fs::create_dir_all(&group).and_then(|()| fs::write(group.join("cgroup.procs"), "0")) {
            tracing::debug!(group = %group.display(), %error, "the runner stays in the pass's cgroup");
        }
    }
}

/// Starts runners as processes.
#[derive(Debug)]
pub struct Detached {
    program: Program,
    config_file: PathBuf,
    logs: PathBuf,
    credentials: Option<PathBuf>,
}

impl Detached {
    /// The launcher of this installation.
    #[must_use]
    pub fn new(config: &Config, program: &Program, credentials: Option<PathBuf>) -> Self {
        Self { program: program.clone(), config_file: config.file.clone(), logs: config.paths.logs.clone(), credentials }
    }

    fn command(&self, words: &[OsString]) -> anyhow::Result<Command> {
        let mut command = Command::new(self.program.installed());
        command.arg0("hookspool-worker").args(words).current_dir("/");
        command.env_clear().envs(environment_of_runner()).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(folder) = &self.credentials {
            command.env("CREDENTIALS_DIRECTORY", folder);
        }
        // It must not hold open the pipe on which cron waits for the pass's end, nor write to a terminal.
        match std::env::var_os(JOURNAL) {
            Some(stream) => command.env(JOURNAL, stream),
            None => command.stderr(worker_log(&self.logs)?),
        };
        Ok(command)
    }
}

impl Launcher for Detached {
    fn start(&self, order: &Order) -> anyhow::Result<()> {
        let mut command = self.command(&words_of_runner(order.run, &self.config_file))?;
        let runner = command.stdout(Stdio::piped()).spawn();
        let mut runner = runner.with_context(|| format!("cannot start the runner of run {}", order.run))?;
        // It says so, or closes the pipe without a word.
        let mut said = vec![0; CLAIMED.len()];
        let _ = runner.stdout.take().map(|mut stdout| stdout.read_exact(&mut said));
        Ok(())
    }

    fn start_aside(&self, command: &'static str) -> anyhow::Result<()> {
        let mut started = self.command(&words_of(command, &self.config_file))?;
        started.spawn().map(drop).with_context(|| format!("cannot start hookspool-worker {command}"))
    }

    fn bury(&self, _lock: &Alive) -> anyhow::Result<Option<End>> {
        Ok(None)
    }

    fn remembered(&self) -> io::Result<Vec<RunId>> {
        Ok(Vec::new())
    }

    fn forget(&self, _run: RunId) -> anyhow::Result<()> {
        Ok(())
    }
}
