//! One attack: it is planted, the real worker passes over it, and what there is afterwards is held against what there may be.
//! Then the receiver's user puts an honest delivery in its place, which must run: else nothing was shown but a worker that
//! never runs anything.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hookspool_common::inbox::INBOX_FILE;
use hookspool_common::ledger::{Ledger, LedgerError, RunQuery, RunState, SqliteLedger};
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::attacks::{Attack, honest};
use super::child::{Deed, act};
use super::scratch::{Installation, JOB, REPOSITORY, Scratch};
use crate::environment;
use crate::operator::beside::beside_this;

/// How long the worker may take over one attack. A pass gives up on the receiver's side after thirty seconds.
const PATIENCE: Duration = Duration::from_secs(150);

/// What the worker may write into its ledger for one attack, in bytes.
const MAX_LEDGER_BYTES: u64 = 4 * 1024 * 1024;

/// The most that the job may write of what ran, in bytes: a line for each run.
const MAX_RAN_BYTES: u64 = 64 * 1024;

/// Most runs that one attack may leave.
const MAX_RUNS: usize = 2000;

/// Tries one attack; what came of it in a few words.
pub(super) fn run(scratch: &Scratch, attack: &Attack, number: usize) -> anyhow::Result<String> {
    let installation = scratch.installation(number)?;
    let trial = Trial { scratch, installation: &installation };
    let tried = trial.attack(attack).and_then(|()| trial.recover(attack));
    if tried.is_err() {
        trial.end_what_runs();
    }
    tried?;
    Ok(match attack.runs.len() {
        0 => "nothing ran".to_owned(),
        1 => "its job ran once".to_owned(),
        times => format!("its job ran {times} times"),
    })
}

struct Trial<'a> {
    scratch: &'a Scratch,
    installation: &'a Installation,
}

/// What nobody but its owner may change, as it was.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    canary: Vec<u8>,
    canary_is: (u64, u32, u32, i64, i64),
    inbox_is: Option<(u64, u32, u32, i64, i64)>,
}

impl Trial<'_> {
    fn attack(&self, attack: &Attack) -> anyhow::Result<()> {
        let plants = attack.plants.clone();
        act(&self.scratch.receiver, Deed::Plant { spool: self.spool(), plants }).context("cannot plant it")?;
        let before = self.seen()?;
        self.settle()?;
        ensure!(self.seen()? == before, "root changed what it must not touch: {before:?} has become {:?}", self.seen()?);
        self.judge(&attack.runs)
    }

    /// Whatever the attack was, an honest delivery after it runs.
    fn recover(&self, attack: &Attack) -> anyhow::Result<()> {
        let plants = honest(&self.scratch.commits.tip);
        act(&self.scratch.receiver, Deed::Plant { spool: self.spool(), plants }).context("cannot take it away again")?;
        self.settle()?;
        let runs: Vec<String> = attack.runs.iter().cloned().chain([self.scratch.commits.tip.clone()]).collect();
        self.judge(&runs).context("with an honest delivery after it")
    }

    fn spool(&self) -> PathBuf {
        self.installation.config.paths.spool.clone()
    }

    fn seen(&self) -> anyhow::Result<Seen> {
        let canary = self.installation.canary();
        let of = |path: &Path| fs::symlink_metadata(path).map(|found| identity(&found));
        let inbox = self.spool().join(INBOX_FILE);
        Ok(Seen { canary: fs::read(&canary)?, canary_is: of(&canary)?, inbox_is: of(&inbox).ok() })
    }

    /// Passes, as cron would make them, until nothing is left to do.
    fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.pass(deadline)?;
            if self.is_settled()? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the worker does not come to rest within {} s", PATIENCE.as_secs());
            // A run goes on by itself; cron would look after a minute.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the pass succeeds is not the question: an inbox that cannot be read is the receiver's own loss.
    fn pass(&self, deadline: Instant) -> anyhow::Result<()> {
        let log = fs::File::options().append(true).create(true).open(self.installation.at("worker.log"))?;
        let mut command = Command::new(beside_this("hookspool-worker")?);
        command.arg("pass").arg("--config").arg(&self.installation.config.file).env_clear().current_dir("/");
        command.env("PATH", environment::PATH).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let mut pass = command.spawn().context("cannot start the worker")?;
        while pass.try_wait()?.is_none() {
            if Instant::now() > deadline {
                let _ = killpg(Pid::from_raw(pass.id().cast_signed()), Signal::SIGKILL);
                let _ = pass.wait();
                bail!("the pass does not end within {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn is_settled(&self) -> anyhow::Result<bool> {
        let runs = self.runs()?;
        let is_over = runs.iter().all(|run| run.state.is_final());
        // A runner whose run is over becomes a pass, which has to be over too.
        let file = self.installation.config.file.as_os_str().as_encoded_bytes();
        Ok(is_over && self.installation.folders.runs_with_folders()?.is_empty() && !is_at_work(file)?)
    }

    fn runs(&self) -> anyhow::Result<Vec<hookspool_common::ledger::Run>> {
        let path = self.installation.folders.ledger();
        let read = || -> Result<_, LedgerError> { SqliteLedger::open_to_read(&path)?.runs(&RunQuery::newest(MAX_RUNS)) };
        read().context("the worker made no ledger that can be read")
    }

    /// Whether there is nothing but what may be: these runs, each of the configured job at a commit of its ref.
    fn judge(&self, commits: &[String]) -> anyhow::Result<()> {
        let ran = written(&self.installation.at("out/ran"))?;
        let expected: String = commits.iter().map(|commit| format!("{REPOSITORY} {JOB} {commit}\n")).collect();
        ensure!(ran == expected, "{:?} ran, and {:?} was to run; see {}", ran, expected, self.log());
        for run in self.runs()?.iter().filter(|run| run.state != RunState::Refused) {
            let is_ours = run.repository.as_str() == REPOSITORY && run.job.as_str() == JOB;
            ensure!(is_ours, "run {} is of {} {}, which nobody configured", run.id, run.repository, run.job);
        }
        let ledger = fs::metadata(self.installation.folders.ledger())?.len();
        ensure!(ledger <= MAX_LEDGER_BYTES, "the ledger has {ledger} bytes");
        self.is_everything_whose_it_was()?;
        for folder in ["state", "logs", "out", "worker.log"] {
            if let Some(file) = holder_of(&self.installation.at(folder), self.installation.secret.as_bytes())? {
                bail!("what only root may read is in {}", file.display());
            }
        }
        Ok(())
    }

    /// Nothing in the spool is root's, and nothing of root's is the receiver's.
    fn is_everything_whose_it_was(&self) -> anyhow::Result<()> {
        let receiver = self.scratch.receiver.uid.as_raw();
        for (folder, is_the_receivers) in [("spool", true), ("etc", false), ("state", false), ("logs", false)] {
            for path in all_below(&self.installation.at(folder))? {
                let owner = fs::symlink_metadata(&path)?.uid();
                ensure!((owner == receiver) == is_the_receivers, "{} belongs to user {owner}", path.display());
            }
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.installation.at("worker.log")).unwrap_or_default().trim().replace('\n', "; ")
    }

    /// A run that goes on although the attack has failed would hold the folder's removal up. The next pass reaps what is
    /// left when its runner is dead.
    fn end_what_runs(&self) {
        for run in self.installation.folders.runs_with_folders().unwrap_or_default() {
            let lock = self.installation.folders.run(run).join("alive");
            let is_held = crate::alive::try_lock(&lock).is_ok_and(|lock| lock.is_none());
            let pid = fs::read_to_string(&lock).ok().and_then(|pid| pid.trim().parse::<i32>().ok()).filter(|pid| *pid > 1);
            if let Some(pid) = pid.filter(|_| is_held) {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = self.pass(Instant::now() + PATIENCE);
    }
}

/// Whether a process has this in its command line.
fn is_at_work(word: &[u8]) -> io::Result<bool> {
    for entry in fs::read_dir("/proc")? {
        // What ended meanwhile has none.
        let line = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        if line.windows(word.len()).any(|window| window == word) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a job wrote, which could have put anything in the file's place.
fn written(path: &Path) -> anyhow::Result<String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = match fs::File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file.with_context(|| format!("cannot open {}", path.display()))?,
    };
    ensure!(file.metadata()?.is_file(), "{} is no file", path.display());
    let mut text = String::new();
    file.take(MAX_RAN_BYTES + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= MAX_RAN_BYTES, "{} has more than {MAX_RAN_BYTES} bytes", path.display());
    Ok(text)
}

/// What changes when somebody writes to a file, or puts another in its place.
fn identity(found: &fs::Metadata) -> (u64, u32, u32, i64, i64) {
    (found.ino(), found.mode(), found.uid(), found.mtime(), found.mtime_nsec())
}

/// The first file at or below `path` in which these bytes are.
fn holder_of(path: &Path, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
    for file in all_below(path)?.into_iter().chain([path.to_owned()]) {
        if fs::symlink_metadata(&file).is_ok_and(|found| found.is_file())
            && fs::read(&file)?.windows(bytes.len()).any(|window| window == bytes)
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Everything below a folder, without following links.
fn all_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir()) {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            found.extend(all_below(&path)?);
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_put_in_place_of_its_file_is_neither_followed_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(written(&at("absent")).unwrap(), "");
        fs::write(at("ran"), "one\n").unwrap();
        assert_eq!(written(&at("ran")).unwrap(), "one\n");
        std::os::unix::fs::symlink(at("ran"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(at("long"), vec![b'x'; 64 * 1024 + 1]).unwrap();
        for name in ["link", "pipe", "long"] {
            assert!(written(&at(name)).is_err(), "{name}");
        }
    }
}
