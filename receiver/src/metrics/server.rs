//! `GET /metrics`, on sockets of its own: never where strangers post to, and nothing else there.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookspool_common::clock::Clock;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::task::spawn_blocking;

use super::Metrics;
use super::exposition;
use super::spool::SpoolState;
use crate::listeners::{Connection, Listener, accept};
use crate::reply::Reply;

/// Connections at once; over it, new ones wait in the kernel. One Prometheus has one.
const MAX_CONNECTIONS: usize = 8;

/// How long a request's head may take, and how long a connection may wait for its next request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves `listeners` for ever.
pub(crate) async fn serve(
    mut listeners: Vec<Listener>,
    metrics: Arc<Metrics>,
    spool: PathBuf,
    clock: impl Clock + Clone + 'static,
) {
    let (slots, reading) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), Arc::default());
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let connection = accept(&mut listeners).await;
        let (metrics, reading) = (Arc::clone(&metrics), Arc::clone(&reading));
        let scraped = Scraped { metrics, spool: spool.clone(), clock: clock.clone(), reading };
        tokio::spawn(async move {
            match connection {
                Connection::Tcp(stream, _) => scraped.serve(stream).await,
                Connection::Unix(stream) => scraped.serve(stream).await,
            }
            drop(slot);
        });
    }
}

/// What a connection needs.
struct Scraped<C> {
    metrics: Arc<Metrics>,
    spool: PathBuf,
    clock: C,
    /// Held by whoever reads from the disk: with a thread each, scrapes would leave none to a reload.
    reading: Arc<Mutex<()>>,
}

impl<C: Clock> Scraped<C> {
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(|request: hyper::Request<_>| async move {
            Ok::<_, Infallible>(match (request.uri().path(), request.method()) {
                ("/metrics", &Method::GET) => self.response().await,
                ("/metrics", _) => Reply::WrongMethod("GET").response(),
                _ => Reply::NotFound.response(),
            })
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD_BYTES);
        if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection for metrics ended early");
        }
    }

    async fn response(&self) -> Response<Full<Bytes>> {
        let (spool, now) = (self.spool.clone(), self.clock.now());
        // It reads from the disk, which may be slow. The thread holds the turn, as whoever asked may go before it is done.
        let turn = Arc::clone(&self.reading).lock_owned().await;
        let look = move || {
            let _turn: OwnedMutexGuard<()> = turn;
            SpoolState::look(&spool, now)
        };
        let state = match spawn_blocking(look).await {
            Ok(Ok(state)) => Some(state),
            Ok(Err(error)) => {
                tracing::warn!(%error, "how much waits in the spool is not known, and not in the metrics");
                None
            }
            Err(_) => None,
        };
        let mut response = Response::new(Full::new(Bytes::from(self.metrics.exposition(state.as_ref()))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
        response
    }
}
