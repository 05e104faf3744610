//! `hookspool-worker`: the pass, the importer and the runner. Started by cron, systemd, a pass or a runner; by a person
//! only to try something.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hookspool_common::clock::SystemClock;
use hookspool_common::config::{Config, DEFAULT_PATH};
use hookspool_common::names::RunId;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};

use hookspool_worker::launcher::{self, Program};
use hookspool_worker::{git, import, logging, pass, process, reconcile, runner};

const EXIT_STATUS: &str = "Exit status:
  0  done
  1  failed; the message says why
  2  the command line is wrong
  4  the configuration has errors";

/// Runs the jobs that the receiver has accepted.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Options {
    #[command(subcommand)]
    command: Command,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Looks once at everything: takes deliveries over, starts runs, sends mail. For cron and systemd.
    Pass,
    /// Reads the inbox for a pass, without privileges.
    #[command(hide = true)]
    Import,
    /// Asks the forges for what no delivery told of, for a pass.
    #[command(hide = true)]
    Reconcile,
    /// Runs one run, for a pass.
    #[command(hide = true)]
    Runner {
        /// The run's number.
        run: RunId,
    },
    /// Gives git a token, for its own host alone.
    #[command(hide = true)]
    Credential {
        #[command(flatten)]
        helper: git::Helper,
        /// What git wants: `get`, `store` or `erase`.
        operation: String,
    },
}

fn main() -> ExitCode {
    process::close_inherited_descriptors();
    // Before anybody can replace it.
    let program = Program::own();
    let options = Options::parse();
    logging::begin();
    // What the worker makes is nobody else's, but for a group that an operator gave to a folder, such as that of the logs.
    umask(Mode::from_bits_truncate(0o027));
    // Started anew by itself it would be called `exe` in lists of processes. They show 15 characters.
    let _ = prctl::set_name(c"hookspool-worker");
    if let Command::Credential { helper, operation } = &options.command {
        return ended(helper.answer(operation, std::io::stdin().lock(), std::io::stdout().lock()));
    }
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(4);
        }
    };
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let done = match options.command {
        Command::Pass => {
            let launcher = launcher::of(&config, &program, credentials.as_deref());
            pass::pass(&config, credentials, &*launcher, &SystemClock)
        }
        Command::Import => import::importer(&config),
        // What was found is for a pass to start.
        Command::Reconcile => match reconcile::reconcile(&config, credentials, &SystemClock) {
            Ok(true) => runner::become_pass(&config, &program),
            other => other.map(drop),
        },
        // A runner that had nothing to run has changed nothing that a pass should look at: it would only wake the one
        // that started it, which would start it again.
        Command::Runner { run } => match runner::run(&config, run, credentials, &SystemClock) {
            Ok(true) => runner::hand_over_to_a_pass(&config, &program),
            Ok(false) => return ExitCode::from(runner::NOT_MINE),
            Err(error) => Err(error),
        },
        // Answered above, without any configuration.
        Command::Credential { .. } => Ok(()),
    };
    ended(done)
}

fn ended(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
