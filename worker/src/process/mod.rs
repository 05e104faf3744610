//! Child processes: started with nothing they were not given, ended with everything they started.

mod account; // who a child runs as
mod cgroup; // groups of processes, as the kernel has them
mod containment; // the groups of one run
mod workspace; // how much a folder holds
mod rlimits; // limits of each process by itself
mod descendants; // who lives below this process, from /proc
mod child; // from its birth to its program: nearly all of the unsafe code
mod spawn; // what is to be started, and how
mod supervise; // waits, reads, ends
#[cfg(test)]
mod alone; // a test in a process of its own

pub use account::{Account, AccountError};
pub use containment::{Containment, GroupLimit};
pub use descendants::kill_marked;
pub use rlimits::Rlimits;
pub use spawn::{Launch, close_inherited_descriptors};
pub(crate) use spawn::{end_with_this_process, leave_the_terminal};
pub use supervise::{Cancel, Ended, Supervisor, hold_signals, release_signals};
pub use workspace::{Allowance, Measure};
