//! The real receiver, driven over its socket: what it answers, what it refuses, what it survives, and how it starts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers; // every row of the table of answers
mod hostile; // input that nobody well-behaved would send
mod recorded; // what GitHub really sent
mod durability; // what was answered 2xx is on disk
mod room; // a spool without room, or that nobody may write to
mod start; // what it needs to start, and what it says otherwise

/// Says that a test did not run, and why.
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
