//! `hookspool selftest privsep`: shows on this very machine that whoever takes the receiver over gains nothing but runs of
//! configured jobs, on commits that their refs have.
//!
//! In a scratch installation with the machine's real users, a child that has become the receiver's user attacks the spool in
//! every way that we know, and the real worker passes over it. Then the rights are looked at on which the real installation
//! rests. Nothing of the real installation is changed, and no hook, mail or forge of it is used.

mod attacks; // what is tried, and what may come of it
mod child; // what gives up root, and acts as another user
mod plant; // what the receiver's user puts into its spool
mod rights; // who may do what in the real installation
mod scratch; // an installation that is made to be attacked
mod trial; // one attack, and what came of it

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::{Context, ensure};
use hookspool_common::config::Config;
use nix::unistd::geteuid;
use serde_json::json;

use super::view::{print_json, shown};
use super::{Exit, options};
use crate::process::Account;
use attacks::{Attack, attacks};
use scratch::Scratch;

pub(super) use child::{CHILD, child};

/// Attacks at once. Each is a handful of short processes.
const MAX_AT_ONCE: usize = 4;

/// What was seen.
struct Finding {
    /// What was tried or looked at.
    what: String,
    /// What came of it, where that is to be told; or what is wrong.
    found: Result<String, String>,
}

pub(super) fn privsep(config: &Config, options: &options::Privsep) -> anyhow::Result<Exit> {
    ensure!(geteuid().is_root(), "the self-test becomes the receiver's user and root's worker; run it as root");
    let receiver = Account::named(&config.receiver.user).context("[receiver] user")?;
    let builder = Account::named(&config.worker.user).context("[worker] user")?;
    let mut out = Output { is_json: options.json, findings: Vec::new() };
    ensure!(!receiver.is_root(), "[receiver] user is root, so there is nothing that keeps them apart; name another");
    ensure!(!builder.is_root(), "[worker] user is root, so there is nothing that keeps them apart; name another");
    let scratch = Scratch::make(options.within.as_deref(), &receiver, &builder)?;
    let mut attacks = attacks(&scratch.commits);
    attacks.retain(|attack| options.only.as_ref().is_none_or(|text| attack.what.contains(text)));
    ensure!(!attacks.is_empty(), "no attack is described by {:?}", options.only.as_deref().unwrap_or_default());
    out.heading(&format!("Attacks by {}, in {}", receiver.name, scratch.folder().display()))?;
    try_all(&scratch, &attacks, &mut out)?;
    out.heading(&format!("Rights in the installation of {}", config.file.display()))?;
    for finding in rights::look(config, &receiver, &builder)? {
        out.take(finding)?;
    }
    // Before the last word: a test that leaves something behind is not over.
    scratch.remove()?;
    out.finish()
}

/// Tries every attack, several at once, and tells of them in their order.
fn try_all(scratch: &Scratch, attacks: &[Attack], out: &mut Output) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let (sender, findings) = mpsc::channel();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_AT_ONCE);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(attack) = attacks.get(number)
                {
                    let found = trial::run(scratch, attack, number);
                    let finding = Finding { what: attack.what.clone(), found: found.map_err(|error| format!("{error:#}")) };
                    // Nobody listens any more when the output is closed.
                    let _ = sender.send((number, finding));
                }
            });
        }
        drop(sender);
        let mut early: Vec<Option<Finding>> = attacks.iter().map(|_| None).collect();
        let mut told = 0;
        for (number, finding) in findings {
            early[number] = Some(finding);
            while let Some(finding) = early.get_mut(told).and_then(Option::take) {
                out.take(finding)?;
                told += 1;
            }
        }
        Ok(())
    })
}

/// What is told, a line a finding, or everything at the end as JSON.
struct Output {
    is_json: bool,
    findings: Vec<Finding>,
}

impl Output {
    fn heading(&self, text: &str) -> io::Result<()> {
        if self.is_json { Ok(()) } else { writeln!(io::stdout().lock(), "{text}") }
    }

    fn take(&mut self, finding: Finding) -> io::Result<()> {
        if !self.is_json {
            let mut out = io::stdout().lock();
            match &finding.found {
                Ok(found) if found.is_empty() => writeln!(out, "  ok      {}", finding.what)?,
                Ok(found) => writeln!(out, "  ok      {}: {}", finding.what, shown(found))?,
                Err(found) => writeln!(out, "  FAILED  {}: {}", finding.what, shown(found))?,
            }
            out.flush()?;
        }
        self.findings.push(finding);
        Ok(())
    }

    fn finish(self) -> anyhow::Result<Exit> {
        let failed = self.findings.iter().filter(|finding| finding.found.is_err()).count();
        let mut out = io::stdout().lock();
        if self.is_json {
            let one = |finding: &Finding| {
                let (Ok(found) | Err(found)) = &finding.found;
                json!({ "what": finding.what, "ok": finding.found.is_ok(), "found": found })
            };
            let findings: Vec<_> = self.findings.iter().map(one).collect();
            print_json(&mut out, &json!({ "ok": failed == 0, "failed": failed, "findings": findings }))?;
        } else if failed == 0 {
            writeln!(out, "All of {} hold.", self.findings.len())?;
        } else {
            writeln!(out, "{failed} of {} FAILED.", self.findings.len())?;
        }
        Ok(if failed == 0 { Exit::Success } else { Exit::Failure })
    }
}
