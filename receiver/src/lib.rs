//! Hookspool's receiver: it authenticates deliveries, writes them to the inbox, and only then answers.
//!
//! It runs without privileges and is trusted by nobody: what it writes is a proposal that root checks again. It never
//! starts a process, never reads root's files, and never answers 2xx for what is not on disk.

mod options; // the command line
mod program; // from the command line to the exit code
mod log; // fields of the journal, or lines
mod systemd; // what systemd is told
mod live; // the configuration and the secrets that are in force
mod reload; // reading them anew at SIGHUP
mod listeners; // sockets that were passed or bound
mod server; // connections: how many, how long, and how they end
mod places; // how many connections, and which of them gives way
mod lingering; // closing without throwing the answer away
mod client; // who sent a request, as far as proxies can be believed
mod intake; // one request, from its head to its answer
mod refusals; // how often a client may be refused
mod routing; // which path and method mean what
mod sources; // paths, providers and secrets
mod body; // bytes, within limits of size, time and memory
mod verdict; // from a delivery to what is stored and answered
mod writer; // the one thread that owns the inbox
mod bounds; // whether the spool has room, and what may go from it
mod reply; // what clients read
mod access_log; // one line a request
mod metrics; // what is counted, and where that is told
#[cfg(fuzzing)]
pub mod fuzzing; // the path of a request, without sockets and disk
#[cfg(test)]
mod fixture; // a configuration, a signed push and inboxes for the tests

pub use listeners::ListenError;
pub use options::{LogFormat, Options};
pub use program::{Failure, run};
pub use server::ServeError;
