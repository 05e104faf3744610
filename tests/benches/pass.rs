//! How long a pass with nothing to do takes, beside the start of a program that does nothing at all.
//!
//! `cargo bench -p hookspool-tests --bench pass`. It builds the release programs itself. Absolute figures drift with the
//! machine; the ratio of one run holds.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hookspool_tests::server::{Delivery, Server};

/// Rounds of both, in turn.
const ROUNDS: usize = 200;

const JOB: &str = "[[job]]\nname = \"tests\"\nwhen = [{ event = \"push\" }]\nbuild = \"true\"\n";

fn time(command: &mut Command) -> Duration {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
    started.elapsed()
}

/// The median and the 99th of a hundred, in milliseconds.
fn milliseconds(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    (at(50), at(99))
}

fn main() {
    let server = Server::new(JOB);
    // A ledger and an inbox with something in them, all of it done.
    server.deliver_and_settle(&Delivery::push("master", &server.laptop.head()));
    let (mut pass, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        pass.push(time(&mut server.pass_command()));
        nothing.push(time(&mut Command::new("/bin/true")));
    }
    let (pass, nothing) = (milliseconds(pass), milliseconds(nothing));
    println!("a pass with nothing to do   p50 {:5.2} ms  p99 {:5.2} ms (aim: under 15 ms)", pass.0, pass.1);
    println!("/bin/true                   p50 {:5.2} ms  p99 {:5.2} ms", nothing.0, nothing.1);
    println!("pass / /bin/true:           {:5.1} (aim later: 2.7)", pass.0 / nothing.0);
}
