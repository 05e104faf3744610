//! Connections: how many there may be, how long they may take, and how they end.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hookspool_common::clock::Clock;
use hookspool_common::config::Config;
use hookspool_common::inbox::Inbox;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout_at};

use crate::body::BodyRoom;
use crate::bounds::Bounds;
use crate::client::Peer;
use crate::intake::Intake;
use crate::lingering::Lingering;
use crate::listeners::{Connection, Listener};
use crate::sources::Sources;
use crate::verdict::Compressor;
use crate::writer::Writer;

/// Connections at once; over it, new ones wait in the kernel. A forge has a few, and each costs memory.
const MAX_CONNECTIONS: usize = 512;

/// How long a request's head may take, and how long a connection may wait for its next request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Largest head of a request, in bytes; a forge's has two thousand.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long requests in flight may take to end once the receiver is to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    config: Config,
    sources: Sources,
    inbox: Box<dyn Inbox + Send>,
    clock: Arc<dyn Clock>,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let bounds = Bounds::new(config.paths.spool.clone(), config.receiver.spool, Arc::clone(&clock));
    let (writer, mut writer_end) = Writer::start(inbox, bounds).map_err(ServeError::Start)?;
    let compressor = Compressor::new().map_err(ServeError::Start)?;
    let intake = Arc::new(Intake { config, sources, clock, writer, room: BodyRoom::new(), compressor });
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = &mut writer_end => return Err(ServeError::WriterDied),
            (connection, slot) = next_connection(&listeners, &slots) => {
                tokio::spawn(serve_connection(connection, Arc::clone(&intake), graceful.watcher(), slot));
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

/// The next connection of any listener, once there is a slot for it.
async fn next_connection(listeners: &[Listener], slots: &Arc<Semaphore>) -> (Connection, Option<OwnedSemaphorePermit>) {
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        let any = poll_fn(|context| {
            let ready = listeners.iter().find_map(|listener| match listener.poll_accept(context) {
                Poll::Ready(accepted) => Some(accepted),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        });
        match any.await {
            Ok(connection) => return (connection, slot),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(connection: Connection, intake: Arc<Intake>, watcher: Watcher, _slot: Option<OwnedSemaphorePermit>) {
    match connection {
        Connection::Tcp(stream, address) => {
            // Answers are small and whole; waiting to fill a packet would only delay them.
            let _ = stream.set_nodelay(true);
            serve_stream(stream, Peer::Tcp(address.ip()), intake, watcher).await;
        }
        Connection::Unix(stream) => serve_stream(stream, Peer::Unix, intake, watcher).await,
    }
}

async fn serve_stream<S>(stream: S, peer: Peer, intake: Arc<Intake>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let intake = Arc::clone(&intake);
        async move { intake.answer(request, peer).await }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(Lingering::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
