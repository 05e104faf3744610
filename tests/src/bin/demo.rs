//! `cargo demo`: builds the programs, then becomes `hookspool demo`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use hookspool_tests::programs;

fn main() -> ExitCode {
    let hookspool = programs::program("hookspool");
    let error = Command::new(&hookspool).arg("demo").args(std::env::args_os().skip(1)).exec();
    eprintln!("cannot start {}: {error}", hookspool.display());
    ExitCode::FAILURE
}
