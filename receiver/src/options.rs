//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use hookspool_common::config::DEFAULT_PATH;

/// The form of the lines on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Takes webhook deliveries in: checks their signatures, writes them to the spool, and only then answers.
#[derive(Debug, Parser)]
#[command(name = "hookspool-receiver", version, after_help = AFTER_HELP)]
pub struct Options {
    /// The configuration; repositories/ and secrets/receiver/ lie beside it
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,

    /// How to write the log on standard error [default: to systemd's journal with fields where that listens, else text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

const AFTER_HELP: &str = "\
It listens on the sockets that systemd passes to it (LISTEN_FDS), else where [receiver] listen says, and prints \
`listening on ADDRESS` on standard output for each. Sockets with the name `metrics`, else [receiver] metrics, serve \
GET /metrics; for these it prints `metrics on ADDRESS`.

SIGHUP makes it read its configuration and its secrets anew. If anything is wrong with them, the former ones stay in \
force, and the log says what. SIGTERM or SIGINT ends it after the requests in flight.

Environment:
  CREDENTIALS_DIRECTORY  secrets found there win over secrets/receiver/
  RUST_LOG               what to log, such as warn or hookspool_receiver=debug; the default is info

Exit status:
  0  ended after SIGTERM or SIGINT
  1  failed; the message says why and what to do
  2  the command line is wrong
  4  the configuration is wrong; every error is shown with its place";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_exit_status_is_documented() {
        Options::command().debug_assert();
        let help = Options::command().render_long_help().to_string();
        for code in ["0", "1", "2", "4"] {
            assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))), "{code} in {help}");
        }
    }

    #[test]
    fn without_options_the_packages_file_is_read() {
        let options = Options::try_parse_from(["hookspool-receiver"]).unwrap();
        assert_eq!((options.config.to_str(), options.log_format), (Some(DEFAULT_PATH), None));
    }
}
