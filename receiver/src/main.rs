//! `hookspool-receiver`: maps what [`hookspool_receiver::run`] says to an exit code, and does nothing else.

use std::process::ExitCode;

use clap::Parser;
use hookspool_receiver::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hookspool-receiver: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
