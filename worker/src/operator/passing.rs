//! Who makes the pass that starts a replay's runs. The worker's own unit has credentials and a journal, and its runners
//! wake it again. So systemd is asked to start that, where there is one; else the pass is a child of this program.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use hookspool_common::config::{Config, DEFAULT_PATH};
use nix::unistd::geteuid;

use super::beside;
use crate::environment;
use crate::folders::Folders;
use crate::launcher::is_booted_with_systemd;

/// What starts a pass where systemd runs the worker.
const UNIT: &str = "hookspool-worker.service";

/// Who makes a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// systemd, by [`UNIT`].
    Unit,
    /// A child of this program.
    Child,
}

impl Passing {
    /// Who makes the passes of this configuration on this machine.
    pub(super) fn of(config: &Config) -> Self {
        let is_booted = is_booted_with_systemd();
        Self::choose(is_booted, geteuid().is_root(), &config.file, || systemctl(&["cat"]).is_ok())
    }

    /// The unit reads the default configuration, whatever was asked of this program.
    fn choose(is_booted: bool, is_root: bool, config: &Path, has_unit: impl FnOnce() -> bool) -> Self {
        if is_booted && is_root && config == Path::new(DEFAULT_PATH) && has_unit() { Self::Unit } else { Self::Child }
    }

    /// Makes a pass, and returns when it is over.
    pub(super) fn make(self, config: &Config) -> anyhow::Result<()> {
        self.run(config, &["start"])
    }

    /// Has a pass start what is to run. systemd's goes on by itself.
    pub(super) fn start(self, config: &Config) -> anyhow::Result<()> {
        self.run(config, &["start", "--no-block"])
    }

    fn run(self, config: &Config, words: &[&str]) -> anyhow::Result<()> {
        let folders = Folders::new(&config.paths);
        folders.make()?;
        match self {
            Self::Unit => {
                // A unit that is at work is not started again. Its pass looks once more when it finds the mark.
                File::create(folders.pass_mark()).context("cannot leave a mark for the pass")?;
                systemctl(words)
            }
            Self::Child => beside::run_pass(&config.file, &config.paths.logs.join("worker.log")),
        }
    }

    /// What was started, for people.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unit => UNIT,
            Self::Child => "hookspool-worker pass",
        }
    }
}

/// Has systemctl(1) do this with the unit.
fn systemctl(words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("systemctl");
    command.args(words).arg(UNIT).env_clear().env("PATH", environment::PATH);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().context("cannot start systemctl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "systemctl {} {UNIT} failed ({}): {}", words.join(" "), output.status, said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_passes_where_it_runs_the_worker_for_root_with_the_configuration_that_the_unit_reads() {
        let default = Path::new(DEFAULT_PATH);
        assert_eq!(Passing::choose(true, true, default, || true), Passing::Unit);
        for passing in [
            Passing::choose(false, true, default, || panic!("nobody asks systemctl where systemd does not run")),
            Passing::choose(true, false, default, || true),
            Passing::choose(true, true, Path::new("/srv/ci/hookspool.toml"), || true),
            Passing::choose(true, true, default, || false),
        ] {
            assert_eq!(passing, Passing::Child);
        }
    }
}
