//! The program's flow: configuration, user, secrets, spool, sockets, and then serving until a signal ends it.
//!
//! It trusts its configuration, which root owns. It refuses to start rather than to serve with half of what it needs.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use hookspool_common::clock::SystemClock;
use hookspool_common::config::{Config, Problems};
use hookspool_common::inbox::{self, InboxError, SpoolError, SqliteInbox};
use hookspool_common::secrets::{SecretError, SecretStore};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::listeners::{ListenError, Listener, listeners};
use crate::options::{LogFormat, Options};
use crate::server::{ServeError, serve};
use crate::sources::Sources;

/// Why the receiver did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Problems),
    /// It was started as root.
    #[error(
        "refusing to run as root, because everybody may talk to the receiver; run it as user {user}, such as with: runuser -u {user} -- hookspool-receiver --config {}",
        config.display()
    )]
    Root {
        /// The user it is to run as.
        user: String,
        /// The configuration it was started with.
        config: PathBuf,
    },
    /// A secret cannot be had.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// The spool folder cannot be written to.
    #[error("{0}")]
    Spool(#[from] SpoolError),
    /// The inbox cannot be opened.
    #[error("{}: {error}", path.display())]
    Inbox {
        /// The inbox's file.
        path: PathBuf,
        /// What is wrong with it.
        error: InboxError,
    },
    /// There is no socket to listen on.
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// The system refuses what every program needs.
    #[error("cannot prepare the runtime: {0}")]
    Runtime(io::Error),
    /// Serving ended before anybody asked for it.
    #[error("{0}")]
    Serve(#[from] ServeError),
}

impl Failure {
    /// The exit code, as `--help` documents it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 4,
            _ => 1,
        }
    }
}

/// Runs the receiver until SIGTERM or SIGINT.
///
/// # Errors
/// [`Failure`] when it cannot start, or when the inbox's writer dies.
pub fn run(options: &Options) -> Result<(), Failure> {
    start_log(options.log_format);
    let config = Config::load(&options.config).map_err(Failure::Config)?;
    if Uid::effective().is_root() {
        return Err(Failure::Root { user: config.receiver.user, config: config.file });
    }
    umask(Mode::from_bits_truncate(0o077));
    let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let store = SecretStore::of_receiver(config.directory(), credentials);
    let sources = Sources::read(&config, &store)?;
    let inbox = open_inbox(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    runtime.block_on(async {
        // Before the first socket is open, so that a signal that comes early is not lost.
        let stop = stop_signals().map_err(Failure::Runtime)?;
        let listeners = listeners(&config.receiver.listen)?;
        announce(&listeners);
        serve(config, sources, Box::new(inbox), Arc::new(SystemClock), listeners, until(stop)).await?;
        tracing::info!("ended");
        Ok(())
    })
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

fn open_inbox(config: &Config) -> Result<SqliteInbox, Failure> {
    let spool = &config.paths.spool;
    inbox::check_folder(spool)?;
    let path = spool.join(inbox::INBOX_FILE);
    SqliteInbox::open(&path).map_err(|error| Failure::Inbox { path, error })
}

/// Says where it listens: to people in the log, to a parent on standard output, to systemd that it is ready.
fn announce(listeners: &[Listener]) {
    let mut stdout = io::stdout().lock();
    for listener in listeners {
        tracing::info!("listening on {listener}");
        // A parent that has closed the pipe does not want to know.
        let _ = writeln!(stdout, "listening on {listener}").and_then(|()| stdout.flush());
    }
    tell_systemd(NotifyState::Ready);
}

fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told of the receiver's state");
    }
}

fn stop_signals() -> io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?])
}

async fn until([mut terminate, mut interrupt]: [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending after the requests in flight");
    tell_systemd(NotifyState::Stopping);
}
