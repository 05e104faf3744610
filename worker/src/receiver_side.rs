//! The receiver's side of this machine, read through a child that has given up root for good.
//!
//! SQLite runs what was planted in a file inside whoever opens it, so root never opens the inbox. The same program is
//! executed anew as the receiver's user, and what it writes to its standard output is read here as hostile input: in
//! bounded lines, until a deadline.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hookspool_common::record::MAX_LINE_BYTES;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;

use crate::process::{Account, leave_the_terminal};

/// How long the child may take, or take for one more delivery. Whoever is the receiver's user can stop it, and must not
/// stop its reader with it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The child, and what it says. It ends with its reader.
#[derive(Debug)]
pub(crate) struct ReceiverSide {
    child: Child,
    said: BufReader<Patient<ChildStdout>>,
}

impl ReceiverSide {
    /// Executes this program anew as `name` with what `prepare` adds: when this is root, as `user` for good.
    pub(crate) fn start(name: &str, user: &str, prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(name).env_clear();
        // Its working folder is nobody's business, and root's may be closed to it.
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped());
        leave_the_terminal(&mut command);
        prepare(&mut command);
        if geteuid().is_root() {
            let account = Account::named(user).context("cannot read the inbox as the receiver's user")?;
            ensure!(!account.is_root(), "[receiver] user is root; reading the inbox needs a user without privileges");
            // Setting a user also empties the supplementary groups, in the right order.
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        let mut child = command.spawn().context("cannot start a child that reads the inbox")?;
        let stdout = child.stdout.take().context("the child that reads the inbox has no standard output")?;
        Ok(Self { child, said: BufReader::new(Patient::until(stdout, PATIENCE)) })
    }

    /// What the child says.
    pub(crate) const fn said(&mut self) -> &mut BufReader<Patient<ChildStdout>> {
        &mut self.said
    }

    /// Ends the child, and says whether it failed. Its output ends when it does, so an honest one is gone by now, with its
    /// status.
    pub(crate) fn succeeded(mut self) -> anyhow::Result<Result<(), String>> {
        let _ = self.child.kill();
        let status = self.child.wait().context("cannot wait for the child that reads the inbox")?;
        Ok(if status.success() { Ok(()) } else { Err(status.to_string()) })
    }
}

impl Drop for ReceiverSide {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe that is read until a deadline.
#[derive(Debug)]
pub(crate) struct Patient<P> {
    pipe: P,
    deadline: Instant,
}

impl<P> Patient<P> {
    pub(crate) fn until(pipe: P, patience: Duration) -> Self {
        Self { pipe, deadline: Instant::now() + patience }
    }

    /// Gives the whole time again.
    pub(crate) fn begin_anew(&mut self) {
        self.deadline = Instant::now() + PATIENCE;
    }
}

impl<P: Read + AsFd> Read for Patient<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut watched = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))? {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, "it says nothing more")),
            _ => self.pipe.read(buffer),
        }
    }
}

/// One line, if there is one, within the limit.
pub(crate) fn read_line(said: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut line = Vec::new();
    let bounded = said.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
    bounded.context("cannot hear the child that reads the inbox")?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => String::from_utf8(line).map(Some).context("a line of the child that reads the inbox is not UTF-8"),
        Some(_) => bail!("a line of the child that reads the inbox is cut off, or longer than {MAX_LINE_BYTES} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_child_that_says_nothing_more_is_not_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"{\"inbox\"").unwrap();
        let mut said = BufReader::new(Patient::until(reader, Duration::from_millis(20)));
        let error = format!("{:#}", read_line(&mut said).unwrap_err());
        assert!(error.contains("it says nothing more"), "{error}");
    }
}
