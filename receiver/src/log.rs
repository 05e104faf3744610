//! What the receiver says, and in which form: fields of systemd's journal where that listens, else lines on standard
//! error. Never a secret, a signature, a token or a body: nobody may put one into an event.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::str::FromStr;

use nix::sys::stat::fstat;
use tracing::Level;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::options::LogFormat;

/// The name that messages bear in the journal.
const IDENTIFIER: &str = "hookspool-receiver";

/// Fields that their event's message holds as well, so that lines for people need not say them twice.
const IN_MESSAGES: [&str; 8] = ["client", "method", "path", "answer", "config", "line", "column", "key"];

type Sink = Box<dyn Layer<Registry> + Send + Sync>;

/// Begins to log, in the `chosen` form if there is one.
pub(crate) fn start(chosen: Option<LogFormat>) {
    let (filter, unparsable) = filter(env::var_os("RUST_LOG").as_deref());
    let (sink, no_journal) = match chosen {
        Some(LogFormat::Text) => (text(), None),
        Some(LogFormat::Json) => (json(), None),
        None if stderr_is_the_journal() => match journal() {
            Ok(sink) => (sink, None),
            Err(error) => (text(), Some(error)),
        },
        None => (text(), None),
    };
    tracing_subscriber::registry().with(sink).with(filter).init();
    if let Some(reason) = unparsable {
        tracing::warn!("RUST_LOG is not understood and passed over: {reason}; write it like warn or hookspool_receiver=debug");
    }
    if let Some(error) = no_journal {
        tracing::warn!(%error, "the journal does not take fields, so they stand in the lines");
    }
}

/// What `RUST_LOG` lets through, and what is wrong with it.
fn filter(wanted: Option<&OsStr>) -> (Targets, Option<String>) {
    let usual = Targets::new().with_default(Level::INFO);
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return (usual, None) };
    let parsed = wanted.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
    match parsed.and_then(|text| Targets::from_str(text).map_err(|error| format!("{text:?}: {error}"))) {
        Ok(targets) => (targets, None),
        Err(reason) => (usual, Some(reason)),
    }
}

fn text() -> Sink {
    let fields = debug_fn(|to: &mut Writer<'_>, field, value| match field.name() {
        "message" => write!(to, "{value:?}"),
        name if IN_MESSAGES.contains(&name) => Ok(()),
        name => write!(to, " {name}={value:?}"),
    });
    tracing_subscriber::fmt::layer().fmt_fields(fields).with_writer(io::stderr).with_target(false).with_ansi(false).boxed()
}

fn json() -> Sink {
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr).with_target(false).boxed()
}

fn journal() -> io::Result<Sink> {
    // The usual mapping makes every request a notice, which is for what is significant.
    let mappings = PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    let journal = tracing_journald::layer()?;
    Ok(journal.with_field_prefix(None).with_syslog_identifier(IDENTIFIER.to_owned()).with_priority_mappings(mappings).boxed())
}

fn stderr_is_the_journal() -> bool {
    let Ok(stderr) = fstat(io::stderr()) else { return false };
    env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(&stream, stderr.st_dev, stderr.st_ino))
}

/// Whether `JOURNAL_STREAM` means the file with this device and inode. The variable outlives a redirection, so it alone
/// says nothing (systemd.exec(5), "$JOURNAL_STREAM").
fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_file_that_systemd_named_is_the_journal() {
        let file = tempfile::tempfile().unwrap();
        let stat = fstat(&file).unwrap();
        let is = |stream: &str| is_stream(stream, stat.st_dev, stat.st_ino);
        assert!(is(&format!("{}:{}", stat.st_dev, stat.st_ino)));
        assert!(!is(&format!("{}:{}", stat.st_dev, stat.st_ino + 1)));
        assert!(!is(&format!("{}:{}", stat.st_dev + 1, stat.st_ino)));
        for odd in ["", ":", "8", "8:", &format!("{}", stat.st_ino), &format!("{}:{}:1", stat.st_dev, stat.st_ino)] {
            assert!(!is(odd), "{odd:?}");
        }
    }

    #[test]
    fn rust_log_is_a_level_or_a_level_for_a_part_and_else_it_is_said() {
        let lets_through = |wanted: &str, target: &str, level: Level| {
            let (targets, unparsable) = filter(Some(OsStr::new(wanted)));
            assert_eq!(unparsable, None, "{wanted}");
            targets.would_enable(target, &level)
        };
        assert!(lets_through("", "hookspool_receiver::intake", Level::INFO));
        assert!(!lets_through("", "hookspool_receiver::intake", Level::DEBUG));
        assert!(!lets_through("warn", "hookspool_receiver", Level::INFO));
        assert!(lets_through("hookspool_receiver=debug", "hookspool_receiver::server", Level::DEBUG));
        let (targets, unparsable) = filter(Some(OsStr::new("hookspool_receiver=loud")));
        assert!(unparsable.unwrap().contains("hookspool_receiver=loud"));
        assert!(targets.would_enable("hookspool_receiver", &Level::INFO));
    }
}
