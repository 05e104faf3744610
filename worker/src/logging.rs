//! What the worker says while it works: to standard error, which is the journal under systemd. Never a secret.

use tracing_subscriber::EnvFilter;

/// Begins. `RUST_LOG` says how much; by default what happened to deliveries, runs and mails.
pub fn begin() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let plain =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(false);
    // systemd's journal writes its own time.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        plain.without_time().init();
    } else {
        plain.init();
    }
}
