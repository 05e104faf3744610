//! Starting a child: the only unsafe code of the worker, because between fork and exec Rust guarantees nothing.
//!
//! A child gets a clean environment, a session of its own, no open descriptor but its three, and, where an account is
//! named, that account's groups and ids for good.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{self, SigHandler, SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setsid, setuid};

use super::Account;

/// What is to be started, and how.
#[derive(Debug, Clone)]
pub struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    account: Option<Account>,
}

impl Launch {
    /// `program` with an empty environment, in `directory`, as this process's user.
    pub fn new(program: impl AsRef<OsStr>, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            directory: directory.into(),
            environment: Vec::new(),
            account: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it as `account`, which only root can do for another than itself.
    #[must_use]
    pub fn account(mut self, account: Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Starts it, output and errors into `output`. `admission` is a cgroup's `cgroup.procs`, which it joins first.
    ///
    /// # Errors
    /// What the system said about fork, the change of ids, or exec.
    pub(super) fn spawn(&self, output: &PipeWriter, admission: Option<&OwnedFd>) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output.try_clone()?);
        let admission = admission.map(AsRawFd::as_raw_fd);
        // Whoever is root drops to the account; anyone else is it already.
        let identity = self.account.clone().filter(|_| geteuid().is_root());
        let prepare = move || become_child(identity.as_ref(), admission);
        #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
        // SAFETY: the closure runs in the forked child of a process whose other threads may hold locks, so it must only
        // make async-signal-safe calls. `become_child` makes plain system calls, on data that was allocated before the
        // fork, and neither allocates, locks nor unwinds.
        unsafe {
            command.pre_exec(prepare);
        }
        command.spawn()
    }
}

/// Gives what `command` starts a session of its own, without the terminal of whoever is at work: on older kernels
/// (TIOCSTI), a child of another user could type there.
pub(crate) fn leave_the_terminal(command: &mut Command) {
    #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
    // SAFETY: as above; setsid(2) is async-signal-safe, and nothing else is done.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(io::Error::from));
    }
}

/// Ends what `command` starts with this process, however that ends.
pub(crate) fn end_with_this_process(command: &mut Command) {
    #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
    // SAFETY: as above; prctl(2) is async-signal-safe, and nothing else is done.
    unsafe {
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
}

/// Runs in the child, between fork and exec.
fn become_child(identity: Option<&Account>, admission: Option<RawFd>) -> io::Result<()> {
    setsid()?;
    reset_signals()?;
    if let Some(procs) = admission {
        join_cgroup(procs)?;
    }
    umask(Mode::from_bits_truncate(0o022));
    if let Some(account) = identity {
        become_account(account.uid, account.gid, &account.groups)?;
    }
    if !geteuid().is_root() {
        prctl::set_no_new_privs()?;
    }
    // After the change of ids, which would clear it: the runner's death ends the child.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    close_on_exec_from_3()
}

/// The supervisor blocks signals, and whoever started the worker may have ignored some; a step expects neither.
fn reset_signals() -> io::Result<()> {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGCHLD] {
        #[expect(unsafe_code, reason = "signal(2) is unsafe because a handler could be anything")]
        // SAFETY: the default action is no handler, and signal(2) is async-signal-safe.
        unsafe {
            signal::signal(signal, SigHandler::SigDfl)?;
        }
    }
    SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// The order matters: groups need root, and after `setuid` there is no way back.
fn become_account(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    setgroups(groups)?;
    setgid(gid)?;
    setuid(uid)?;
    Ok(())
}

fn join_cgroup(procs: RawFd) -> io::Result<()> {
    let own_process = b"0";
    #[expect(unsafe_code, reason = "the descriptor crosses the fork as a number")]
    // SAFETY: `procs` is open in the parent for as long as `spawn` runs, so it is open here; the buffer is 1 byte long.
    let written = unsafe { libc::write(procs, own_process.as_ptr().cast(), own_process.len()) };
    if written == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn close_on_exec_from_3() -> io::Result<()> {
    #[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
    // SAFETY: it only sets a flag on descriptors, and closes none before exec.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
