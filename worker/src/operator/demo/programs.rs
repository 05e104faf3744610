//! The receiver and the worker: the programs that lie beside this one, started as they would be on a server.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::installation::Installation;
use crate::operator::beside::{self, beside_this};

pub(super) struct Receiver {
    child: Child,
    pub(super) url: String,
}

impl Receiver {
    /// Starts the receiver and waits until it listens.
    pub(super) fn start(installation: &Installation) -> anyhow::Result<Self> {
        let path = beside_this("hookspool-receiver")?;
        // Opened here, because the receiver's user may not be able to look into the folder where it was built.
        let program = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let log_path = installation.folder.join("receiver.log");
        let log = File::create(&log_path).with_context(|| format!("cannot make {}", log_path.display()))?;
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command.arg0("hookspool-receiver").arg("--config").arg(&installation.config_file);
        command.current_dir("/").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        if let Some(user) = &installation.receiver_user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {}", path.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        let address = address.with_context(|| format!("the receiver does not listen; see {}", log_path.display()));
        let mut receiver = Self { child, url: String::new() };
        match address {
            Ok(address) => receiver.url = format!("http://{address}/hooks/github"),
            Err(error) => {
                receiver.stop();
                return Err(error);
            }
        }
        Ok(receiver)
    }

    /// Asks the receiver to end, and waits for it.
    pub(super) fn stop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// One pass of the worker, as cron would start it.
pub(super) fn run_pass(installation: &Installation) -> anyhow::Result<()> {
    beside::run_pass(&installation.config_file, &installation.folder.join("worker.log"))
}
