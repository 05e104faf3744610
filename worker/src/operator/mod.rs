//! `hookspool`: the operator's program. It looks and explains. What it changes of the worker's is in the ledger, as whoever
//! calls it: `replay`, `rerun` and `run` add runs, `cancel` ends them, `hold` and `release` stop lanes and let them go on.

mod options; // the command line
mod stored; // the ledger, opened to look into it
mod writing; // the ledger, opened to change it
mod view; // runs, deliveries and mails as JSON and as text
mod check;
mod explain;
mod send;
mod post; // one HTTP request
mod inbox; // deliveries as they came, through a child without privileges
mod asked; // what a stored delivery asks for
mod deliveries;
mod delivery; // one of them
mod beside; // our other programs
mod passing; // who makes the pass after a change
mod replay;
mod rehearsal; // a replay that runs nothing
mod run; // a job by hand
mod rerun;
mod cancel;
mod hold; // and release, and what is held
mod runs;
mod schedule;
mod show;
mod log;
mod trace;
mod demo;
mod selftest;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hookspool_common::clock::SystemClock;
use hookspool_common::config::{Config, Problems};
use hookspool_common::secrets::SecretStore;
use nix::unistd::User;

use options::{Command, Options};

/// How a command ended, for whoever called it. `--help` documents these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is so.
    Success = 0,
    /// It is not so: the answer was no, or something failed.
    Failure = 1,
    /// There is no such run or delivery.
    NotFound = 3,
    /// The configuration has errors.
    Configuration = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Reads the command line, does what it says, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Whoever closes the pipe early, as `head` does, has seen enough.
            if is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            if error.is::<Problems>() {
                eprintln!("{error}");
                return Exit::Configuration.into();
            }
            eprintln!("hookspool: {error:#}");
            Exit::Failure.into()
        }
    }
}

fn run(options: Options) -> anyhow::Result<Exit> {
    let config = || Config::load(&options.config);
    match options.command {
        Command::Demo(demo) => demo::demo(&demo),
        Command::Check(check) => check::check(&options.config, &check),
        Command::Explain(explain) => explain::explain(&options.config, &explain),
        Command::Send(send) => send::send(&config()?, &send),
        Command::Deliveries(deliveries) => deliveries::deliveries(&config()?, &deliveries),
        Command::Replay(replay) => replay::replay(&config()?, &replay),
        Command::Run(run) => run::run(&config()?, &run),
        Command::Rerun(rerun) => rerun::rerun(&config()?, &rerun),
        Command::Cancel(cancel) => cancel::cancel(&config()?, &cancel),
        Command::Hold(hold) => hold::hold(&config()?, &hold),
        Command::Release(release) => hold::release(&config()?, &release),
        Command::Holds(holds) => hold::holds(&config()?, &holds),
        Command::Runs(runs) => runs::runs(&config()?, &runs),
        Command::Schedule(schedule) => schedule::schedule(&config()?, &schedule, &SystemClock),
        Command::Show(show) => show::show(&config()?, &show),
        Command::Log(log) => log::log(&config()?, &log),
        Command::Trace(trace) => trace::trace(&config()?, &trace),
        Command::Selftest { test: options::Selftest::Privsep(privsep) } => selftest::privsep(&config()?, &privsep),
        Command::SelftestChild => selftest::child().map(|()| Exit::Success),
        Command::ReadInbox { spool, query } => inbox::reader(&spool, &query).map(|()| Exit::Success),
    }
}

/// The receiver's secrets, as the receiver takes them: its own user may have written them.
fn secrets_of_receiver(config: &Config) -> SecretStore {
    let store = SecretStore::of_receiver(config.directory(), credentials());
    match User::from_name(&config.receiver.user) {
        Ok(Some(user)) => store.trusting(user.uid),
        _ => store,
    }
}

fn secrets_of_worker(config: &Config) -> SecretStore {
    SecretStore::of_worker(config.directory(), credentials())
}

fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
