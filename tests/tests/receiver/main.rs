//! The real receiver, driven over its socket: what it answers, what it refuses, what it survives, and how it starts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers; // every row of the table of answers
mod clients; // who is let in, and who has to wait
mod flood; // more connections and bytes than there is room for
mod hostile; // input that nobody well-behaved would send
mod property; // whatever bytes come
mod recorded; // what GitHub really sent
mod durability; // what was answered 2xx is on disk
mod room; // a spool without room, or that nobody may write to
mod start; // what it needs to start, and what it says otherwise
mod sockets; // where it listens
mod metrics; // what it counts
mod reload; // SIGHUP
mod log; // what it says, and what it never says

/// Says that a test did not run, and why.
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Text that does not compress to much less, from a small generator (xorshift64).
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + u8::try_from((state >> 32) % 90).unwrap())
    };
    (0..bytes).map(|_| digit()).filter(|digit| !['"', '\\'].contains(digit)).collect()
}
