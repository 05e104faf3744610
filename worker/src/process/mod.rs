//! Child processes: started with nothing they were not given, ended with everything they started.

mod account; // who a child runs as
mod containment; // a cgroup that nothing leaves
mod descendants; // who lives below this process, from /proc
mod spawn; // the one place with unsafe code: between fork and exec
mod supervise; // waits, reads, ends

pub use account::{Account, AccountError};
pub use containment::Containment;
pub use descendants::kill_marked;
pub use spawn::Launch;
pub(crate) use spawn::{end_with_this_process, leave_the_terminal};
pub use supervise::{Cancel, Ended, Supervisor, hold_signals, release_signals};
