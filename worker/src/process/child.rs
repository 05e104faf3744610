//! A child between its birth and its program: the only unsafe code of the worker beside two single calls.
//!
//! It is born with clone(2) and `CLONE_VM`: it shares its parent's memory until it executes its program, and its parent
//! waits meanwhile. So a start costs the same however large the parent is, and what failed is simply written down for it. A
//! fork would copy the parent's page tables each time.
//!
//! posix_spawn(3) lets the kernel hold the parent (`CLONE_VFORK`), for as long as it takes. But here the child becomes
//! somebody else, whose other processes can stop it; so the parent waits by itself, and not for ever.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::{Gid, Pid, Uid};

/// The child's stack until it executes its program, in bytes. Its few calls need some KiB, without optimisation too.
const STACK_BYTES: usize = 128 * 1024;

/// How long a child may take to come to its program: a matter of microseconds, but for a busy disk.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// A birth: all that a child uses, and what it writes down. It lies in its parent's memory.
struct Birth<'a> {
    program: &'a Program,
    role: &'a Role<'a>,
    parent: libc::pid_t,
    words: Vec<*const c_char>,
    /// The words for the shell, if the program is a script for it.
    script: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    stage: AtomicI32,
    errno: AtomicI32,
}

/// Starts `program` in `role`.
///
/// # Errors
/// What the system said to the first thing that failed; then there is no child.
pub(super) fn start(program: &Program, role: &Role<'_>) -> io::Result<Pid> {
    start_within(PATIENCE, program, role)
}

fn start_within(patience: Duration, program: &Program, role: &Role<'_>) -> io::Result<Pid> {
    let words = pointers(&program.words);
    let mut birth = Birth {
        program,
        role,
        parent: std::process::id().cast_signed(),
        // As execvp(3) has it: what is executable and no program is a script for the shell.
        script: [c"/bin/sh".as_ptr(), ptr::null()].into_iter().chain(words.iter().skip(1).copied()).collect(),
        words,
        environment: pointers(&program.environment),
        stage: AtomicI32::new(0),
        errno: AtomicI32::new(0),
    };
    let mut stack = vec![0u8; STACK_BYTES];
    let (over, until_over) = io::pipe()?;
    if until_over.as_raw_fd() <= libc::STDERR_FILENO {
        // The child would close it with its own input and output, before it is over.
        return Err(io::Error::other("this process has no standard input, output or errors"));
    }
    // No handler may run in the child: it would run in the parent's memory.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let born = bear(&raw mut birth, &mut stack);
    drop(until_over);
    // From here until the child is out of this memory nothing may return, or free what it uses.
    let is_late = born.is_ok_and(|pid| !is_over(&over, patience) && end(pid));
    mask.thread_set_mask()?;
    let pid = born?;
    if is_late {
        let why = format!("it did not come to its program within {} s, and was killed", patience.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    match Stage::ALL.into_iter().find(|known| *known as i32 == birth.stage.load(Ordering::SeqCst)) {
        None => Ok(pid),
        Some(stage) => {
            // It has ended already, or is about to.
            let _ = nix::sys::wait::waitpid(pid, None);
            let error = io::Error::from_raw_os_error(birth.errno.load(Ordering::SeqCst));
            Err(if stage == Stage::Program { error } else { io::Error::new(error.kind(), format!("{}{error}", stage.as_str())) })
        }
    }
}

/// The child is born, and runs beside its parent.
fn bear(birth: *mut Birth<'_>, stack: &mut [u8]) -> nix::Result<Pid> {
    // A stack grows downwards, from an address that 16 divides.
    let top = stack.len() - (stack.as_ptr() as usize + stack.len()) % 16;
    let flags = CloneFlags::CLONE_VM.bits() | libc::SIGCHLD;
    #[expect(unsafe_code, reason = "the child shares its parent's memory")]
    // SAFETY: `birth` and the stack belong to the caller, who touches neither until the child has executed its program or
    // ended: it waits for the end of a pipe that the child alone holds then, and that the kernel closes only after the child
    // has left this memory (execve(2) changes it before it closes what is closed on exec, and a process that ends gives it
    // back before its descriptors); and should that take too long, for the end of a child that it has killed. All that
    // `birth` points to is borrowed for as long.
    // The child runs on a stack of its own, of a size that its bounded calls cannot fill. It makes system calls on data that
    // was made before, and neither allocates, locks nor unwinds. It has the thread-local memory of the calling thread, of
    // which it uses `errno`: that thread only waits meanwhile, with all signals held back, in a call that writes there only
    // when it fails; and then no more than the reason that the child gives would be wrong. Other threads never know of it.
    // Nobody can trace the child once it is another user and still in this memory: the change of ids makes memory undumpable
    // (ptrace(2)), unless fs.suid_dumpable is 1, where `Launch::spawn` refuses.
    let born = unsafe { libc::clone(be_born, stack.as_mut_ptr().add(top).cast(), flags, birth.cast()) };
    Errno::result(born).map(Pid::from_raw)
}

/// All of the child, up to its program.
extern "C" fn be_born(birth: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "clone(2) hands over an address")]
    // SAFETY: it is the address that `bear` was given, and its parent does not touch it meanwhile.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    let failure = become_child(birth.role, &birth.program.directory, birth.parent)
        .err()
        .unwrap_or_else(|| (Stage::Program, execute(&birth.program.places, &birth.words, &mut birth.script, &birth.environment)));
    birth.stage.store(failure.0 as i32, Ordering::SeqCst);
    birth.errno.store(failure.1 as i32, Ordering::SeqCst);
    127
}

/// Whether the child has executed its program or ended, which closes its end of the pipe. Other processes of the user whom
/// it becomes can stop it before, and must not stop its parent with it.
fn is_over(over: &PipeReader, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = PollTimeout::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(over.as_fd(), PollFlags::POLLIN)], left) {
            Err(Errno::EINTR) => {}
            other => return matches!(other, Ok(1..)),
        }
    }
}

/// Kills the child, and waits until it is gone.
fn end(pid: Pid) -> bool {
    let _ = kill(pid, Signal::SIGKILL);
    while nix::sys::wait::waitpid(pid, None) == Err(Errno::EINTR) {}
    true
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
    // SAFETY: the parent holds `procs` open while it waits; the buffer is as long as said. By a plain call, as that of the C
    // library notes in its thread's memory that it may be cancelled, as the parent's own call does meanwhile.
    let written = unsafe { libc::syscall(libc::SYS_write, procs, own_process.as_ptr(), own_process.len()) };
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
        libc::syscall(libc::SYS_close, socket);
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
    // SAFETY: the parent holds both open while it waits, and the child's table is its own (no CLONE_FILES).
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
        // which waits.
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    #[test]
    fn a_child_that_does_not_come_to_its_program_is_killed_and_not_waited_for() {
        let text = |text: &str| CString::new(text).unwrap();
        let program =
            Program { places: vec![text("/bin/true")], words: vec![text("true")], environment: Vec::new(), directory: text("/") };
        // To join this group is to write to a pipe that is full.
        let (_reader, mut writer) = io::pipe().unwrap();
        let room = usize::try_from(fcntl(&writer, FcntlArg::F_GETPIPE_SZ).unwrap()).unwrap();
        writer.write_all(&vec![0; room]).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let role = Role {
            admissions: vec![writer.as_raw_fd()],
            rlimits: Vec::new(),
            network: true,
            identity: None,
            is_root: false,
            input: null.as_raw_fd(),
            output: null.as_raw_fd(),
        };
        let error = start_within(Duration::from_millis(100), &program, &role).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let pid = start_within(PATIENCE, &program, &Role { admissions: Vec::new(), ..role }).unwrap();
        assert!(nix::sys::wait::waitpid(pid, None).is_ok());
    }
}
