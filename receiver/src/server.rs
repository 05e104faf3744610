//! Connections: how many there may be, how long they may take, and how they end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookspool_common::clock::Clock;
use hookspool_common::inbox::Inbox;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;

use crate::body::BodyRoom;
use crate::bounds::Bounds;
use crate::client::Peer;
use crate::intake::Intake;
use crate::lingering::Lingering;
use crate::listeners::{Connection, Listener, accept};
use crate::live::InForce;
use crate::metrics::Metrics;
use crate::places::{MAX_CONNECTIONS, Place, Places};
use crate::refusals::Refusals;
use crate::verdict::Compressor;
use crate::writer::Writer;

/// How long a request's head may take, and how long a connection may wait for its next request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Largest head of a request, and most that is read ahead of a body, in bytes. A forge's head has two thousand, nginx
/// passes on no line over 8 KiB, and every connection may have this much in memory twice.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long requests in flight may take to end once the receiver is to end.
const GRACE: Duration = Duration::from_secs(10);

/// Why serving ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The thread or the memory that serving needs cannot be had.
    #[error("cannot start to serve: {0}")]
    Start(io::Error),
    /// The inbox's writer is dead, so nothing could be accepted any more.
    #[error("the thread that writes the inbox has died; nothing that was answered 2xx is lost, and a restart goes on")]
    WriterDied,
}

/// Serves `listeners` until `shutdown`, and then until the requests in flight are answered, or [`GRACE`] is over.
pub(crate) async fn serve(
    in_force: Arc<InForce>,
    metrics: Arc<Metrics>,
    inbox: Box<dyn Inbox + Send>,
    clock: Arc<dyn Clock>,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let spool = in_force.now().config.paths.spool.clone();
    let (limits, at) = (Arc::clone(&in_force), Arc::clone(&clock));
    let bounds = Bounds::new(spool, move || limits.now().config.receiver.spool, at);
    let (writer, mut writer_end) = Writer::start(inbox, bounds).map_err(ServeError::Start)?;
    let compressor = Compressor::new().map_err(ServeError::Start)?;
    let (room, refusals) = (BodyRoom::new(), Refusals::new(Instant::now()));
    let intake = Arc::new(Intake { in_force, metrics, clock, writer, room, compressor, refusals });
    let graceful = GracefulShutdown::new();
    let places = Places::new(MAX_CONNECTIONS);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = &mut writer_end => return Err(ServeError::WriterDied),
            (connection, place) = next_connection(&listeners, &places) => {
                place.spawn(|place| serve_connection(connection, Arc::clone(&intake), graceful.watcher(), place));
            }
        }
    }
    drop(listeners);
    drop(intake);
    let deadline = tokio::time::Instant::now() + GRACE;
    if timeout_at(deadline, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = GRACE.as_secs(), "requests in flight did not end; they get no answer");
        return Ok(());
    }
    // With the last request its way to the writer is gone, so the writer closes the inbox and ends.
    let _ = timeout_at(deadline, writer_end).await;
    Ok(())
}

/// The next connection of any listener, and a place for it.
async fn next_connection(listeners: &[Listener], places: &Arc<Places>) -> (Connection, Place) {
    let connection = accept(listeners).await;
    (connection, places.take().await)
}

async fn serve_connection(connection: Connection, intake: Arc<Intake>, watcher: Watcher, place: Place) {
    let _counted = intake.metrics.connection();
    match connection {
        Connection::Tcp(stream, address) => {
            // Answers are small and whole; waiting to fill a packet would only delay them.
            let _ = stream.set_nodelay(true);
            serve_stream(stream, Peer::Tcp(address.ip()), intake, watcher, place).await;
        }
        Connection::Unix(stream) => serve_stream(stream, Peer::Unix, intake, watcher, place).await,
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve_stream<S>(stream: S, peer: Peer, intake: Arc<Intake>, watcher: Watcher, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let held = Arc::new((intake, place));
    let service = service_fn(|request| {
        let held = Arc::clone(&held);
        async move { held.0.answer(request, peer, &held.1).await }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(Lingering::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
        let (intake, place) = &*held;
        // One that waits for its next request in vain has done nothing wrong; one that never got to its first has.
        if error.is_parse() || error.is_incomplete_message() || (error.is_timeout() && !place.was_asked()) {
            intake.no_request(peer);
        }
    }
}

#[cfg(test)]
mod tests;
