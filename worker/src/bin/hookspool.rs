//! `hookspool`: the operator's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookspool_worker::operator::main()
}
