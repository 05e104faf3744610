//! Deliveries a second of the real receiver, against what its disk allows and against peers, in one run.
//!
//! Absolute figures drift from hour to hour, so everything is run in turn, several rounds, and printed as medians and
//! ratios with their aims. The bodies are 10 KiB GitHub pushes that all differ, signed before the clock starts; the
//! delivery ids are in no order. Whatever was answered 202 is counted in the inbox afterwards.
//!
//! `cargo bench -p hookspool-tests --bench receiver` builds the release programs first, and takes a few minutes; the
//! first time also fills an inbox with a million deliveries, below `target`. `-- ROUNDS` makes it more or fewer rounds.

mod pushes; // what is sent
mod load; // how it is sent
mod processes; // what the kernel says of a process
mod slow_disk; // a disk that syncs slowly
mod limits; // what the machine allows
mod ours; // the receiver
mod peers; // programs of others
mod rounds; // medians and ratios

use std::env;

use anyhow::Result;
use hookspool_common::inbox::INBOX_FILE;

use limits::{bare_round, disk_round};
use ours::{Way, counted, full_inbox, round};
use peers::{is_there, json2file_round, webhook_round};
use rounds::{Rounds, median, ratio};
use slow_disk::SlowDisk;

const DEFAULT_ROUNDS: usize = 5;
/// Deliveries in a round at 32 and 256 connections.
const MANY: usize = 12_000;
/// Deliveries in a round with a single connection, or of a slower program.
const FEW: usize = 3_000;
/// Deliveries in a round on the slow disk: at one connection, and many at once.
const SLOW_FEW: usize = 300;
const SLOW_MANY: usize = 6_000;

#[derive(Default)]
struct Measured {
    disk: Vec<f64>,
    bare_32: Vec<f64>,
    bare_1: Vec<f64>,
    slow_bare_1: Vec<f64>,
    at_1: Rounds,
    at_32: Rounds,
    at_256: Rounds,
    full: Rounds,
    slow_at_1: Rounds,
    slow_at_32: Rounds,
    webhook: Rounds,
    webhook_signature: Rounds,
    json2file: Rounds,
    json2file_kept: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(("bare", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return limits::bare(rest);
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(DEFAULT_ROUNDS);
    let (webhook, json2file, slow) = (is_there("webhook"), is_there("json2file-go"), SlowDisk::build());
    let mut measured = Measured::default();
    for number in 1..=rounds {
        eprintln!("round {number} of {rounds}");
        measured.our_round(slow.as_ref())?;
        if webhook {
            webhook_round(true, 32, FEW, &mut measured.webhook)?;
            webhook_round(false, 32, MANY, &mut measured.webhook_signature)?;
        }
        if json2file {
            measured.json2file_kept.push(json2file_round(32, FEW, &mut measured.json2file)?);
        }
    }
    println!("10 KiB pushes that differ, medians of {rounds} rounds; every 202 was found in the inbox");
    measured.print();
    measured.print_ratios();
    print_counters()
}

impl Measured {
    /// The receiver and its limits, in turn.
    fn our_round(&mut self, slow: Option<&SlowDisk>) -> Result<()> {
        self.disk.push(disk_round()?);
        let installation = round(Way::default(), 32, MANY, &mut self.at_32)?;
        let rows = installation.spool().join(INBOX_FILE);
        self.bare_32.push(bare_round(&rows, 32, MANY, None)?);
        let full = full_inbox(&rows)?;
        round(Way { stored: Some(&full), ..Way::default() }, 32, MANY, &mut self.full)?;
        round(Way::default(), 1, FEW, &mut self.at_1)?;
        self.bare_1.push(bare_round(&rows, 1, FEW, None)?);
        round(Way::default(), 256, MANY, &mut self.at_256)?;
        if let Some(slow) = slow {
            let way = Way { slow: Some(slow), ..Way::default() };
            round(way, 1, SLOW_FEW, &mut self.slow_at_1)?;
            round(way, 32, SLOW_MANY, &mut self.slow_at_32)?;
            self.slow_bare_1.push(bare_round(&rows, 1, SLOW_FEW, Some(slow))?);
        }
        Ok(())
    }

    fn print(&self) {
        for (name, values) in [
            ("F: 12 KiB overwritten and synced", &self.disk),
            ("bare inbox, 32 rows a transaction", &self.bare_32),
            ("bare inbox, 1 row a transaction", &self.bare_1),
            ("the same, syncs 2 ms slower", &self.slow_bare_1),
        ] {
            println!("{name:46} {:>8.0}/s", median(values.clone()));
        }
        self.at_1.print("receiver, 1 connection");
        self.at_32.print("receiver, 32 connections");
        self.at_256.print("receiver, 256 connections");
        self.full.print("receiver, 32, a million deliveries stored");
        self.slow_at_1.print("receiver, 1, syncs 2 ms slower");
        self.slow_at_32.print("receiver, 32, syncs 2 ms slower");
        self.webhook.print("webhook with /bin/true, 32 connections");
        self.webhook_signature.print("webhook, signature only, 32 connections");
        self.json2file.print("json2file-go, 32 connections");
        if !self.json2file_kept.is_empty() {
            println!("json2file-go kept {:.0} % of what it answered 200", median(self.json2file_kept.clone()) * 100.0);
        }
    }

    fn print_ratios(&self) {
        let [disk, bare_32, slow_bare_1] = [&self.disk, &self.bare_32, &self.slow_bare_1].map(|values| median(values.clone()));
        ratio("at 1 / F", self.at_1.rate() / disk, "≥ 0.25");
        // With 2 ms more, F is one over the time of an F and 2 ms.
        ratio("at 1, syncs 2 ms slower / F with that", self.slow_at_1.rate() * (1.0 / disk + 0.002), "≥ 0.75");
        ratio("at 32 / F", self.at_32.rate() / disk, "≥ 1.05");
        ratio("at 32 / bare inbox with 32 rows a transaction", self.at_32.rate() / bare_32, "≥ 0.75");
        ratio("at 32 / one transaction a delivery, syncs 2 ms slower", self.slow_at_32.rate() / slow_bare_1, "≥ 10");
        ratio("at 32, a million stored / empty", self.full.rate() / self.at_32.rate(), "≥ 0.7");
        ratio("at 32 / webhook with /bin/true", self.at_32.rate() / self.webhook.rate(), "≥ 3.5");
        ratio("its p99 / webhook's", self.at_32.p99() / self.webhook.p99(), "≤ 0.1");
        ratio("its CPU / webhook's", self.at_32.cpu() / self.webhook.cpu(), "≤ 0.17");
        ratio("its peak memory / webhook's", self.at_32.peak() / self.webhook.peak(), "≤ 0.05");
        let signature = self.webhook_signature.rate();
        ratio("at 32 / webhook, signature only", self.at_32.rate() / signature, "≥ 1; without the disk ≥ 5");
        ratio("at 32 / json2file-go", self.at_32.rate() / self.json2file.rate(), "≥ 1");
        ratio("memory idle, MiB", median(self.at_32.idle.clone()), "≤ 6");
        ratio("memory at 256 connections, MiB", self.at_256.peak(), "≤ 32");
    }
}

fn print_counters() -> Result<()> {
    for (connections, count, aims) in [(1, FEW, ["≤ 30", "≤ 1.1"]), (32, MANY, ["≤ 10", "≤ 0.15"])] {
        let Some((calls, syncs)) = counted(connections, count)? else {
            println!("skipped: perf cannot count system calls here");
            return Ok(());
        };
        ratio(&format!("system calls a delivery at {connections}"), calls, aims[0]);
        ratio(&format!("fdatasyncs a delivery at {connections}"), syncs, aims[1]);
    }
    Ok(())
}
