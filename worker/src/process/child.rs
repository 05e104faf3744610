//! A child between its birth and its program: the only unsafe code of the worker beside two single calls.
//!
//! It is born as posix_spawn(3) does it, with clone(2) and `CLONE_VM | CLONE_VFORK`: it shares its parent's memory until it
//! executes its program, and its parent stands still meanwhile. So a start costs the same however large the parent is, and
//! what failed is simply written down for it. A fork would copy the parent's page tables each time.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::{Gid, Pid, Uid};

/// The child's stack until it executes its program, in bytes. Its few calls need some KiB, without optimisation too.
const STACK_BYTES: usize = 128 * 1024;

/// One more than the highest signal of Linux (signal(7)).
const SIGNALS_END: c_int = 65;

/// Identities are set by system calls on numbers of 32 bits, which have these names only where pointers have 64.
const _: () = assert!(size_of::<usize>() == 8, "on this machine the plain calls for user ids take 16 bits");

/// A program to be executed: where it may be, its words, and its environment. Everything that a child needs is made before
/// it is born, as it must not allocate.
#[derive(Debug)]
pub(super) struct Program {
    /// Tried in order; the first that exists is it.
    pub(super) places: Vec<CString>,
    /// The first of them is the name that it is called by.
    pub(super) words: Vec<CString>,
    pub(super) environment: Vec<CString>,
    pub(super) directory: CString,
}

/// What the child becomes before it executes its program.
#[derive(Debug)]
pub(super) struct Role<'a> {
    /// Groups that it joins: their `cgroup.procs`.
    pub(super) admissions: Vec<RawFd>,
    /// Resource limits (setrlimit(2)).
    pub(super) rlimits: Vec<(libc::__rlimit_resource_t, libc::rlimit)>,
    /// Whether it has the machine's network, or one of its own that leads nowhere.
    pub(super) network: bool,
    /// Whom it becomes, with which groups; absent where it stays who it is.
    pub(super) identity: Option<(Uid, Gid, &'a [Gid])>,
    /// Whether it stays root.
    pub(super) is_root: bool,
    pub(super) input: RawFd,
    pub(super) output: RawFd,
}

/// What a child was about to do when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Stage {
    Session = 1,
    Cgroup,
    Network,
    Limits,
    Account,
    Privileges,
    Directory,
    Descriptors,
    Program,
}

impl Stage {
    const ALL: [Self; 9] = [
        Self::Session,
        Self::Cgroup,
        Self::Network,
        Self::Limits,
        Self::Account,
        Self::Privileges,
        Self::Directory,
        Self::Descriptors,
        Self::Program,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "cannot begin a session: ",
            Self::Cgroup => "cannot join its cgroup: ",
            Self::Network => "network = false, and it cannot have a network of its own: ",
            Self::Limits => "cannot be limited: ",
            Self::Account => "cannot become its user: ",
            Self::Privileges => "cannot give up privileges: ",
            Self::Directory => "cannot enter its folder: ",
            Self::Descriptors => "cannot have its output: ",
            // What everybody knows from shells.
            Self::Program => "",
        }
    }
}

type Failure = (Stage, Errno);

/// Starts `program` in `role`.
///
/// # Errors
/// What the system said to the first thing that failed; then there is no child.
pub(super) fn start(program: &Program, role: &Role<'_>) -> io::Result<Pid> {
    let (words, environment) = (pointers(&program.words), pointers(&program.environment));
    // As execvp(3) has it: what is executable and no program is a script for the shell.
    let mut script: Vec<*const c_char> =
        [c"/bin/sh".as_ptr(), ptr::null()].into_iter().chain(words.iter().skip(1).copied()).collect();
    let parent = std::process::id().cast_signed();
    let (stage, errno) = (AtomicI32::new(0), AtomicI32::new(0));
    let mut stack = vec![0; STACK_BYTES];
    let child = || {
        let failure = become_child(role, &program.directory, parent)
            .err()
            .unwrap_or_else(|| (Stage::Program, execute(&program.places, &words, &mut script, &environment)));
        stage.store(failure.0 as i32, Ordering::SeqCst);
        errno.store(failure.1 as i32, Ordering::SeqCst);
        127
    };
    // No handler may run in the child: it would run in the parent's memory.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    #[expect(unsafe_code, reason = "the child shares its parent's memory")]
    // SAFETY: the calling thread stands still until the child has executed its program or ended (CLONE_VFORK), so nothing
    // of what the child uses is used twice or goes away; other threads never know of it. The child runs on a stack of its
    // own, of a size that its bounded calls cannot fill. It makes system calls on data that was made before, and neither
    // allocates, locks nor unwinds; `errno` is the calling thread's, which stands still. Nobody can trace the child once
    // it is another user and still in this memory: the change of ids makes memory undumpable (ptrace(2)).
    let born = unsafe { clone(Box::new(child), &mut stack, CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK, Some(libc::SIGCHLD)) };
    mask.thread_set_mask()?;
    let pid = born?;
    let stage = Stage::ALL.into_iter().find(|known| *known as i32 == stage.load(Ordering::SeqCst));
    match stage {
        None => Ok(pid),
        Some(stage) => {
            // It has ended already, or is about to.
            let _ = nix::sys::wait::waitpid(pid, None);
            let error = io::Error::from_raw_os_error(errno.load(Ordering::SeqCst));
            Err(if stage == Stage::Program { error } else { io::Error::new(error.kind(), format!("{}{error}", stage.as_str())) })
        }
    }
}

/// As execve(2) wants them: addresses, then none.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// Runs in the child. The order matters: each thing needs rights that a later one gives up.
fn become_child(role: &Role<'_>, directory: &CStr, parent: libc::pid_t) -> Result<(), Failure> {
    nix::unistd::setsid().map_err(|errno| (Stage::Session, errno))?;
    reset_signals();
    for procs in &role.admissions {
        join_cgroup(*procs).map_err(|errno| (Stage::Cgroup, errno))?;
    }
    if !role.network {
        leave_the_network().map_err(|errno| (Stage::Network, errno))?;
    }
    for (resource, limit) in &role.rlimits {
        set_limit(*resource, limit).map_err(|errno| (Stage::Limits, errno))?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    change_directory(directory).map_err(|errno| (Stage::Directory, errno))?;
    if let Some((uid, gid, groups)) = role.identity {
        become_account(uid, gid, groups).map_err(|errno| (Stage::Account, errno))?;
    }
    let privileges = |errno| (Stage::Privileges, errno);
    if !role.is_root {
        nix::sys::prctl::set_no_new_privs().map_err(privileges)?;
    }
    // After the change of ids, which would clear it: the runner's death ends the child.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(privileges)?;
    if nix::unistd::getppid().as_raw() != parent {
        // It died before it could be told of; nobody reads this.
        return Err((Stage::Privileges, Errno::ESRCH));
    }
    take_descriptors(role.input, role.output).map_err(|errno| (Stage::Descriptors, errno))?;
    // Last, as it lets in what was held back.
    SigSet::empty().thread_set_mask().map_err(|errno| (Stage::Session, errno))
}

/// The supervisor blocks signals, Rust ignores SIGPIPE, and whoever started the worker may have ignored some; a step
/// expects none of that.
fn reset_signals() {
    // The kernel's own structure: a handler, flags, a restorer and a mask (rt_sigaction(2)). All zeros is the default action.
    let default = [0u64; 4];
    for number in 1..SIGNALS_END {
        #[expect(unsafe_code, reason = "a handler could be anything")]
        // SAFETY: the default action is no handler, and the table of handlers is the child's own (no CLONE_SIGHAND). The
        // kernel reads no more than the structure. The two signals that cannot be reset refuse, and need not be. By a plain
        // call, as the C library keeps two of them to itself.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), ptr::null::<u64>(), size_of::<u64>());
        }
    }
}

fn join_cgroup(procs: RawFd) -> nix::Result<()> {
    let own_process = b"0";
    #[expect(unsafe_code, reason = "the descriptor crosses into the child as a number")]
    // SAFETY: the parent holds `procs` open while it stands still; the buffer is as long as said.
    let written = unsafe { libc::write(procs, own_process.as_ptr().cast(), own_process.len()) };
    Errno::result(written).map(drop)
}

/// A network namespace of its own (network_namespaces(7)), in which only the loopback device is, and is up.
fn leave_the_network() -> nix::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
    #[expect(unsafe_code, reason = "netdevice(7) has no safe wrapper")]
    // SAFETY: an all-zero `ifreq` is one without a name, and the name that is written is shorter than its field and ends
    // with the zeros that follow it. Both calls get a descriptor that is open and a structure of the size that they use.
    unsafe {
        let socket = Errno::result(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
            *place = byte.cast_signed();
        }
        Errno::result(libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        Errno::result(libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request))?;
        libc::close(socket);
    }
    Ok(())
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: &libc::rlimit) -> nix::Result<()> {
    #[expect(unsafe_code, reason = "nix's wrapper has no type for a value from a table")]
    // SAFETY: the structure outlives the call, which only reads it.
    let result = unsafe { libc::setrlimit(resource, limit) };
    Errno::result(result).map(drop)
}

fn change_directory(directory: &CStr) -> nix::Result<()> {
    #[expect(unsafe_code, reason = "nix's wrapper may copy the path, and a child must not allocate")]
    // SAFETY: the text ends with a zero and outlives the call.
    let result = unsafe { libc::chdir(directory.as_ptr()) };
    Errno::result(result).map(drop)
}

/// The order matters: groups need root, and after `setuid` there is no way back.
///
/// By plain system calls. Those of the C library change every thread of the process, and would wait for the parent's.
fn become_account(uid: Uid, gid: Gid, groups: &[Gid]) -> nix::Result<()> {
    #[expect(unsafe_code, reason = "the safe wrappers would change the parent's threads too")]
    // SAFETY: `Gid` is a `gid_t` (it is `repr(transparent)`), of which there are as many as said; the others take numbers.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        Errno::result(libc::syscall(libc::SYS_setgid, gid.as_raw()))?;
        Errno::result(libc::syscall(libc::SYS_setuid, uid.as_raw()))?;
    }
    Ok(())
}

/// Standard input and both outputs; every other is closed by the program's execution.
fn take_descriptors(input: RawFd, output: RawFd) -> nix::Result<()> {
    #[expect(unsafe_code, reason = "descriptors cross into the child as numbers, and close_range(2) has no safe wrapper")]
    // SAFETY: the parent holds both open while it stands still, and the child's table is its own (no CLONE_FILES).
    // close_range only sets a flag, and closes none before the program is executed.
    unsafe {
        Errno::result(libc::dup2(input, libc::STDIN_FILENO))?;
        Errno::result(libc::dup2(output, libc::STDOUT_FILENO))?;
        Errno::result(libc::dup2(output, libc::STDERR_FILENO))?;
        Errno::result(libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC))?;
    }
    Ok(())
}

/// Executes the first of these that is there; returns only when none can be executed, with the reason.
fn execute(places: &[CString], words: &[*const c_char], script: &mut [*const c_char], environment: &[*const c_char]) -> Errno {
    let mut reason = Errno::ENOENT;
    for place in places {
        #[expect(unsafe_code, reason = "execve(2) takes addresses")]
        // SAFETY: both lists end with a null, and hold addresses of texts that end with a zero and live in the parent,
        // which stands still.
        unsafe {
            libc::execve(place.as_ptr(), words.as_ptr(), environment.as_ptr());
        }
        match Errno::last() {
            Errno::ENOEXEC => {
                if let Some(second) = script.get_mut(1) {
                    *second = place.as_ptr();
                }
                #[expect(unsafe_code, reason = "execve(2) takes addresses")]
                // SAFETY: as above.
                unsafe {
                    libc::execve(c"/bin/sh".as_ptr(), script.as_ptr(), environment.as_ptr());
                }
                return Errno::last();
            }
            // There may be another further on.
            Errno::EACCES => reason = Errno::EACCES,
            Errno::ENOENT | Errno::ENOTDIR => {}
            other => return other,
        }
    }
    reason
}
