//! The path of a request for the fuzz targets: everything between a socket and the disk, in one process. It is compiled
//! for them alone.

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a fuzz target that cannot go on has found something")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::config::Config;
use hookspool_common::inbox::{Entry, Inbox, InboxError, Prunable, Receipt, Tidied};
use hookspool_common::names::DeliveryId;
use hookspool_common::record::InboxIdentity;
use hookspool_common::secrets::Secret;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::BodyRoom;
use crate::bounds::Bounds;
use crate::client::Peer;
use crate::intake::Intake;
use crate::live::{InForce, Live};
use crate::metrics::Metrics;
use crate::places::Places;
use crate::refusals::Refusals;
use crate::server::serve_stream;
use crate::sources::Sources;
use crate::verdict::Compressor;
use crate::writer::Writer;

/// Says that it has stored everything.
#[derive(Debug)]
struct Forgetful(InboxIdentity);

impl Inbox for Forgetful {
    fn deliver(&mut self, batch: &[Entry]) -> Result<Vec<Receipt>, InboxError> {
        Ok(vec![Receipt::Stored; batch.len()])
    }

    fn check(&mut self) -> Result<(), InboxError> {
        Ok(())
    }

    fn find_earlier(&mut self, _: &Entry) -> Result<Option<DeliveryId>, InboxError> {
        Ok(None)
    }

    fn tidy(&mut self, _: &Prunable) -> Result<Tidied, InboxError> {
        Ok(Tidied::default())
    }

    fn has_keys_to_tidy(&self) -> bool {
        false
    }

    fn used_bytes(&self) -> u64 {
        0
    }

    fn identity(&self) -> &InboxIdentity {
        &self.0
    }
}

/// A receiver without sockets and disk.
pub struct InProcess {
    runtime: tokio::runtime::Runtime,
    intake: Arc<Intake>,
    places: Arc<Places>,
    graceful: GracefulShutdown,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InProcess")
    }
}

impl InProcess {
    /// With these sources, each of which has this secret.
    #[must_use]
    pub fn new(config: &Config, secret: &Secret) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let limits = config.receiver.spool;
        let bounds = Bounds::new(std::env::temp_dir(), move || limits, Arc::clone(&clock));
        let inbox = Box::new(Forgetful(InboxIdentity::generate()));
        let (writer, _) = Writer::start(inbox, bounds).expect("a thread can be started");
        let metrics = Arc::new(Metrics::new(config, clock.now()));
        let sources = Sources::with_secrets(config, std::slice::from_ref(secret));
        let in_force = Arc::new(InForce::new(Live { config: config.clone(), sources }));
        let compressor = Compressor::new().expect("a compressor can be made");
        let (room, refusals) = (BodyRoom::new(), Refusals::new(Instant::now()));
        let intake = Arc::new(Intake { in_force, metrics, clock, writer, room, compressor, refusals });
        Self { runtime, intake, places: Places::new(16), graceful: GracefulShutdown::new() }
    }

    /// What is answered to a client that sends these bytes, and nothing after them.
    pub fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1024 * 1024);
            let place = self.places.take().await;
            let (intake, watcher) = (Arc::clone(&self.intake), self.graceful.watcher());
            let peer = Peer::Tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let served = tokio::spawn(serve_stream(server, peer, intake, watcher, place));
            // It may close before everything was sent.
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            served.await.expect("serving does not panic");
            answer
        })
    }
}
