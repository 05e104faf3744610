//! What the unit tests share: a configuration, signed deliveries, and inboxes that do as they are told.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use hookspool_common::clock::{Clock, Instant};
use hookspool_common::config::{Config, Spool};
use hookspool_common::delivery::Delivery;
use hookspool_common::forges::{Dialect, Provider, Sent};
use hookspool_common::headers::Headers;
use hookspool_common::inbox::{Entry, Inbox, InboxError, Prunable, Receipt, Tidied};
use hookspool_common::names::DeliveryId;
use hookspool_common::record::InboxIdentity;
use hookspool_common::secrets::Secret;
use tokio::sync::Semaphore;

use crate::body::Room;
use crate::bounds::Bounds;
use crate::live::{InForce, Live};
use crate::sources::Sources;

pub(crate) const SECRET: &[u8] = b"the webhook's secret";
pub(crate) const SOURCE_PATH: &str = "/hooks/github";

const MAIN_FILE: &str = r#"
[paths]
spool = "FOLDER/spool"
state = "FOLDER/state"
logs = "FOLDER/logs"

[[source]]
name = "github"
provider = "github"
path = "/hooks/github"
secret = "webhook"
"#;

const REPOSITORY_FILE: &str = r#"
repository = "github.com/owner/project"
source = "github"
clone = "https://github.com/owner/project.git"

[[job]]
name = "image"
when = [{ event = "push", branch = "master" }]
build = "true"

[[job]]
name = "docs"
when = [{ event = "push", branch = ["master", "docs"] }]
build = "true"
"#;

/// A configuration with its spool in `folder`.
pub(crate) fn config(folder: &Path) -> Config {
    let file = folder.join("hookspool.toml");
    std::fs::create_dir_all(folder.join("repositories")).unwrap();
    std::fs::create_dir_all(folder.join("spool")).unwrap();
    std::fs::write(&file, MAIN_FILE.replace("FOLDER", folder.to_str().unwrap())).unwrap();
    std::fs::write(folder.join("repositories/project.toml"), REPOSITORY_FILE).unwrap();
    Config::load(&file).unwrap()
}

/// What is in force, for good.
pub(crate) fn in_force(config: Config, sources: Sources) -> Arc<InForce> {
    Arc::new(InForce::new(Live { config, sources }))
}

/// The secrets that deliveries are checked with.
pub(crate) fn secrets() -> Vec<Secret> {
    vec![Secret::new(SECRET.to_vec())]
}

/// A push to `branch`, as JSON.
pub(crate) fn push(branch: &str) -> String {
    format!(
        r#"{{"ref":"refs/heads/{branch}","after":"366701fde727cb7a9e7f21eb88264f59f6f9b89c","repository":{{"clone_url":"https://github.com/owner/project.git"}}}}"#
    )
}

/// The headers of a signed delivery.
pub(crate) fn headers(event: &str, id: &str, body: &str) -> Headers {
    let sent = Sent { event, id, body: body.as_bytes(), at: Instant::from_millis(7) };
    Dialect::Forge(Provider::Github).headers_of_a_delivery(&sent, &Secret::new(SECRET.to_vec()))
}

/// A signed delivery to the configuration's first source.
pub(crate) fn delivery<'s>(config: &'s Config, event: &str, body: &str) -> Delivery<'s, Bytes> {
    Delivery {
        source: &config.sources[0],
        headers: headers(event, "guid-1", body),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct StandingClock(pub(crate) i64);

impl Clock for StandingClock {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0)
    }
}

/// Bounds that nothing in a test comes near.
pub(crate) fn bounds(spool: &Path) -> Bounds {
    let day = Duration::from_secs(24 * 60 * 60);
    let limits = Spool { limit: u64::MAX, reserve: 0, kept_for: day, kept_bytes: u64::MAX };
    Bounds::new(spool.to_owned(), move || limits, Arc::new(StandingClock(7)), Arc::default())
}

/// The room of a body that needs none.
pub(crate) fn no_room() -> Room {
    Arc::new(Semaphore::new(0)).try_acquire_many_owned(0).unwrap()
}

/// What an inbox is told to do with its next batch.
#[derive(Debug)]
pub(crate) enum Told {
    Store,
    Refuse,
    Panic,
}

/// An inbox that says what batch it was given, and waits to be told what to do with it.
#[derive(Debug)]
pub(crate) struct ToldInbox {
    given: mpsc::Sender<Vec<Entry>>,
    told: mpsc::Receiver<Told>,
    identity: InboxIdentity,
}

/// The inbox, what it is given, and what it is told.
pub(crate) fn told_inbox() -> (Box<ToldInbox>, mpsc::Receiver<Vec<Entry>>, mpsc::Sender<Told>) {
    let ((given, batches), (orders, told)) = (mpsc::channel(), mpsc::channel());
    (Box::new(ToldInbox { given, told, identity: InboxIdentity::generate() }), batches, orders)
}

impl Inbox for ToldInbox {
    fn deliver(&mut self, batch: &[Entry]) -> Result<Vec<Receipt>, InboxError> {
        self.given.send(batch.to_vec()).unwrap();
        match self.told.recv().unwrap() {
            Told::Store => Ok(vec![Receipt::Stored; batch.len()]),
            Told::Refuse => Err(InboxError::Full("told to".to_owned())),
            Told::Panic => panic!("told to"),
        }
    }

    fn check(&mut self) -> Result<(), InboxError> {
        self.deliver(&[]).map(drop)
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
        &self.identity
    }
}
