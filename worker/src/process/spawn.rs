//! Starting a child: with a clean environment, a session of its own, no open descriptor but its three, and, where an
//! account is named, that account's groups and ids for good.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, geteuid, setsid};

use super::Account;
use super::child::{self, Program, Role};
use super::rlimits::Rlimits;
use super::workspace::Allowance;

/// Where a program without a folder is looked for when the environment has no PATH; execvp(3) does the same.
const DEFAULT_SEARCH_PATH: &str = "/bin:/usr/bin";

/// Whether the memory of a process that changed its user can be dumped, and the process traced (proc_sys_fs(5)).
const SUID_DUMPABLE: &str = "/proc/sys/fs/suid_dumpable";

/// What is to be started, and how.
#[derive(Debug, Clone)]
pub struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    account: Option<Account>,
    rlimits: Rlimits,
    has_network: bool,
    pub(super) allowance: Option<Allowance>,
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
            rlimits: Rlimits::default(),
            has_network: true,
            allowance: None,
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

    /// Limits each of its processes.
    #[must_use]
    pub const fn rlimits(mut self, rlimits: Rlimits) -> Self {
        self.rlimits = rlimits;
        self
    }

    /// Bounds what it may leave on disk.
    #[must_use]
    pub fn allowance(mut self, allowance: Option<Allowance>) -> Self {
        self.allowance = allowance;
        self
    }

    /// Says whether it may use the network. Without, it has a loopback device of its own and nothing else, or does not
    /// start.
    #[must_use]
    pub const fn network(mut self, has_network: bool) -> Self {
        self.has_network = has_network;
        self
    }

    /// Starts it, output and errors into `output`. Each of `admissions` is a cgroup's `cgroup.procs`, which it joins first.
    ///
    /// # Errors
    /// What the system said about its birth, the change of ids, or its program.
    pub fn spawn(&self, output: &PipeWriter, admissions: &[OwnedFd]) -> io::Result<Pid> {
        if !self.has_network && !geteuid().is_root() {
            // A user namespace would do, but then nothing seems to belong to anybody else, root included.
            let message = "network = false needs a worker that runs as root; run it as root, or leave that out";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let input = File::open("/dev/null")?;
        // Whoever is root drops to the account; anyone else is it already.
        let account = self.account.as_ref().filter(|_| geteuid().is_root());
        if account.is_some_and(|account| !account.is_root()) {
            refuse_traceable(&std::fs::read_to_string(SUID_DUMPABLE)?)?;
        }
        let role = Role {
            admissions: admissions.iter().map(AsRawFd::as_raw_fd).collect(),
            rlimits: self.rlimits.to_set()?,
            network: self.has_network,
            identity: account.map(|account| (account.uid, account.gid, account.groups.as_slice())),
            is_root: account.map_or_else(|| geteuid().is_root(), Account::is_root),
            input: input.as_raw_fd(),
            output: output.as_raw_fd(),
        };
        child::start(&self.program()?, &role)
    }

    fn program(&self) -> io::Result<Program> {
        let variable = |(name, value): &(OsString, OsString)| c_text(&[name.as_bytes(), b"=", value.as_bytes()].concat());
        let words = std::iter::once(&self.program).chain(&self.arguments).map(|word| c_text(word.as_bytes()));
        Ok(Program {
            places: self.places()?,
            words: words.collect::<io::Result<_>>()?,
            environment: self.environment.iter().map(variable).collect::<io::Result<_>>()?,
            directory: c_text(self.directory.as_os_str().as_bytes())?,
        })
    }

    /// Where the program may be: a name without a folder is searched for as a shell would, with the child's own PATH.
    fn places(&self) -> io::Result<Vec<CString>> {
        let name = self.program.as_bytes();
        if name.contains(&b'/') {
            return Ok(vec![c_text(name)?]);
        }
        let path = self.environment.iter().rfind(|(variable, _)| variable == "PATH").map(|(_, value)| value.as_os_str());
        let folders = path.unwrap_or(OsStr::new(DEFAULT_SEARCH_PATH)).as_bytes().split(|byte| *byte == b':');
        folders
            .map(|folder| c_text(Path::new(OsStr::from_bytes(folder)).join(OsStr::from_bytes(name)).as_os_str().as_bytes()))
            .collect()
    }
}

/// Whoever a child becomes could trace it while it shares this process's memory, where that stays dumpable (ptrace(2)).
fn refuse_traceable(suid_dumpable: &str) -> io::Result<()> {
    if suid_dumpable.trim() == "1" {
        let why = "fs.suid_dumpable is 1, so a step's user could trace what root starts; set it to 0 or 2 with sysctl(8)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

fn c_text(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a word, variable or path holds a NUL character"))
}

/// Gives what `command` starts a session of its own, without the terminal of whoever is at work: on older kernels
/// (TIOCSTI), a child of another user could type there.
pub(crate) fn leave_the_terminal(command: &mut Command) {
    #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
    // SAFETY: the closure runs in the forked child of a process whose other threads may hold locks; setsid(2) is
    // async-signal-safe, and nothing else is done.
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

/// Closes whatever was open when this program was started, but for the three that everybody has: what it starts in its turn
/// must not hold it, and a lock or pipe of somebody else's would stay held for as long as a run takes.
///
/// The first thing that a program does; whatever it opens itself would be closed too.
pub fn close_inherited_descriptors() {
    #[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
    // SAFETY: nothing of this program has a descriptor yet, so none is closed that somebody owns. It fails on no machine
    // that this runs on (Linux 5.9), and without it children are none the worse: theirs are closed again.
    unsafe {
        nix::libc::syscall(nix::libc::SYS_close_range, 3, nix::libc::c_uint::MAX, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_another_user_where_that_user_could_trace_it() {
        assert!(refuse_traceable("0\n").is_ok() && refuse_traceable("2\n").is_ok());
        assert!(refuse_traceable("1\n").unwrap_err().to_string().contains("fs.suid_dumpable is 1"));
    }
}
