//! The program's flow: configuration, user, secrets, spool, sockets, and then serving until a signal ends it.
//!
//! It trusts its configuration, which root owns. It refuses to start rather than to serve with half of what it needs.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::{Config, Problems};
use hookspool_common::inbox::{self, InboxError, SpoolError, SqliteInbox};
use hookspool_common::secrets::SecretError;
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::listeners::{ListenError, Listener, Sockets};
use crate::live::{InForce, Live};
use crate::metrics::{self, Measured, Metrics};
use crate::options::Options;
use crate::reload::Reloader;
use crate::server::{ServeError, serve};
use crate::{log, systemd};

/// Threads that read files for the one that serves: one for a reload, one for who asks for metrics.
const READING_THREADS: usize = 2;

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
    /// Secrets cannot be had.
    #[error("{}", Lines(.0))]
    Secrets(Vec<SecretError>),
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

/// What is shown one below the other.
struct Lines<'a>(&'a [SecretError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Runs the receiver until SIGTERM or SIGINT.
///
/// # Errors
/// [`Failure`] when it cannot start, or when the inbox's writer dies.
pub fn run(options: &Options) -> Result<(), Failure> {
    log::start(options.log_format);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(READING_THREADS).build().map_err(Failure::Runtime)?;
    runtime.block_on(receive(options))
}

async fn receive(options: &Options) -> Result<(), Failure> {
    // Before anything else, so that a signal that comes early is not lost, and a hangup does not end the process.
    let signals = Signals::catch().map_err(Failure::Runtime)?;
    let config = Config::load(&options.config).map_err(Failure::Config)?;
    if Uid::effective().is_root() {
        return Err(Failure::Root { user: config.receiver.user, config: config.file });
    }
    umask(Mode::from_bits_truncate(0o077));
    let clock = SystemClock;
    let metrics = Arc::new(Metrics::new(&config, clock.now()));
    let live = Live::of(config).map_err(Failure::Secrets)?;
    let inbox = Measured::new(open_inbox(&live.config)?, Arc::clone(&metrics));
    let sockets = Sockets::open(&live.config.receiver)?;
    announce(&sockets);
    let (file, spool) = (live.config.file.clone(), live.config.paths.spool.clone());
    let in_force = Arc::new(InForce::new(live));
    tokio::spawn(metrics::serve(sockets.metrics, Arc::clone(&metrics), spool, clock));
    let reloader = Reloader { file, in_force: Arc::clone(&in_force), metrics: Arc::clone(&metrics), clock };
    tokio::spawn(reloader.run(signals.hangup));
    let stopped = until(signals.terminate, signals.interrupt);
    serve(in_force, metrics, Box::new(inbox), Arc::new(clock), sockets.deliveries, stopped).await?;
    tracing::info!("ended");
    Ok(())
}

fn open_inbox(config: &Config) -> Result<SqliteInbox, Failure> {
    let spool = &config.paths.spool;
    inbox::check_folder(spool)?;
    let path = spool.join(inbox::INBOX_FILE);
    SqliteInbox::open(&path).map_err(|error| Failure::Inbox { path, error })
}

/// Says where it listens: to people in the log, to a parent on standard output, to systemd that it is ready.
fn announce(sockets: &Sockets) {
    let say = |what: &str, listener: &Listener| {
        tracing::info!("{what} on {listener}");
        let mut stdout = io::stdout().lock();
        // A parent that has closed the pipe does not want to know.
        let _ = writeln!(stdout, "{what} on {listener}").and_then(|()| stdout.flush());
    };
    sockets.deliveries.iter().for_each(|listener| say("listening", listener));
    sockets.metrics.iter().for_each(|listener| say("metrics", listener));
    systemd::ready("the configuration of the start is in force");
}

/// The signals that mean something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: signal(SignalKind::hangup())? })
    }
}

async fn until(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending after the requests in flight");
    systemd::stopping();
}
