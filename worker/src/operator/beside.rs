//! The programs that lie beside this one, started as they would be on a server.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// The path of a program of ours.
pub(super) fn beside_this(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "{} is absent; it belongs beside this program", path.display());
    Ok(path)
}

/// One pass of the worker, as cron would start it; what it says goes to the end of `log`.
pub(super) fn run_pass(config_file: &Path, log: &Path) -> anyhow::Result<()> {
    let path = beside_this("hookspool-worker")?;
    let output = File::options().append(true).create(true).mode(0o640).open(log);
    let output = output.with_context(|| format!("cannot open {}", log.display()))?;
    let mut command = Command::new(&path);
    command.arg("pass").arg("--config").arg(config_file).env_clear().current_dir("/");
    command.env("PATH", crate::environment::PATH).stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
    // Runners outlive the pass, and this program: an interrupt from the terminal is not meant for them.
    command.process_group(0);
    let status = command.status().with_context(|| format!("cannot start {}", path.display()))?;
    ensure!(status.success(), "the pass failed ({status}); see {}", log.display());
    Ok(())
}
