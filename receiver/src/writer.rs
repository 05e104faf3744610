//! The one thread that owns the inbox. It takes whatever waits into one transaction, and only then lets answers go.
//!
//! One writer a file, and no lingering: what comes while a transaction is being synced forms the next one. A refusal
//! is told by dropping the channel of the answer, so an answer that is forgotten is a refusal too, never a 2xx.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use hookspool_common::inbox::{self, Entry, Inbox, Receipt};
use hookspool_common::record::Answer;
use tokio::sync::{mpsc, oneshot};

/// Deliveries that may wait; over it, 503. More than there can be connections, so only a stuck disk fills it.
const QUEUE_LENGTH: usize = 1024;

/// Deliveries in one transaction: beyond it a larger one gains nothing, and the first of it would wait for the last.
const MAX_BATCH: usize = 256;

/// How long the last write that worked answers for the next; it bounds how often `/ready` makes the disk sync.
const READY_FOR: Duration = Duration::from_secs(5);
/// The same for one that failed.
const UNREADY_FOR: Duration = Duration::from_secs(1);

/// The inbox took nothing, or nobody knows whether it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotStored;

/// What the thread is asked for.
enum Order {
    Store(Box<Entry>, oneshot::Sender<Receipt>),
    Check(oneshot::Sender<()>),
}

/// When the inbox was last written to, and whether that worked.
type LastWrite = Arc<Mutex<Option<(Instant, bool)>>>;

/// The way to the thread. When the last of these is dropped, the thread ends.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: mpsc::Sender<Order>,
    last: LastWrite,
}

/// Is ready when the thread has ended, in whatever way, and the inbox is closed.
pub(crate) type WriterEnd = oneshot::Receiver<()>;

impl Writer {
    /// Starts the thread. Must be called within the runtime.
    pub(crate) fn start(inbox: Box<dyn Inbox + Send>, spool: PathBuf) -> io::Result<(Self, WriterEnd)> {
        let (orders, waiting) = mpsc::channel(QUEUE_LENGTH);
        let (done, batches) = mpsc::unbounded_channel();
        let (alive, end) = oneshot::channel();
        let last = LastWrite::default();
        let desk = Desk { inbox, spool, done, last: Arc::clone(&last) };
        tokio::spawn(hand_out(batches));
        let work = move || {
            // Dropped last, also when the work panics: the end is told when the inbox is closed.
            let _alive: oneshot::Sender<()> = alive;
            desk.work(waiting);
        };
        thread::Builder::new().name("inbox".to_owned()).spawn(work)?;
        Ok((Self { orders, last }, end))
    }

    /// Stores `entry`. When this returns, what the receipt says is on disk.
    pub(crate) async fn store(&self, entry: Box<Entry>) -> Result<Receipt, NotStored> {
        let (sender, receipt) = oneshot::channel();
        self.orders.try_send(Order::Store(entry, sender)).map_err(|_| NotStored)?;
        receipt.await.map_err(|_| NotStored)
    }

    /// Whether the inbox takes writes, as of a moment ago.
    pub(crate) async fn is_ready(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, worked)) = last
            && when.elapsed() < if worked { READY_FOR } else { UNREADY_FOR }
        {
            return worked;
        }
        let (sender, checked) = oneshot::channel();
        self.orders.try_send(Order::Check(sender)).is_ok() && checked.await.is_ok()
    }
}

/// Lets the answers of whole batches go. From the writer's thread, each would wake the runtime by itself: a system
/// call and a change of threads for every delivery instead of every batch.
async fn hand_out(mut batches: mpsc::UnboundedReceiver<Vec<(oneshot::Sender<Receipt>, Receipt)>>) {
    while let Some(batch) = batches.recv().await {
        for (sender, receipt) in batch {
            // A client that has gone does not want to know.
            let _ = sender.send(receipt);
        }
    }
}

/// What the thread owns.
struct Desk {
    inbox: Box<dyn Inbox + Send>,
    spool: PathBuf,
    /// What was stored, on its way to those who wait for it. There are never more of them than of orders.
    done: mpsc::UnboundedSender<Vec<(oneshot::Sender<Receipt>, Receipt)>>,
    last: LastWrite,
}

impl Desk {
    fn work(mut self, mut waiting: mpsc::Receiver<Order>) {
        let mut orders = Vec::with_capacity(MAX_BATCH);
        while waiting.blocking_recv_many(&mut orders, MAX_BATCH) > 0 {
            let (mut entries, mut receipts, mut checks) = (Vec::with_capacity(orders.len()), Vec::new(), Vec::new());
            for order in orders.drain(..) {
                match order {
                    Order::Store(entry, receipt) => {
                        entries.push(*entry);
                        receipts.push(receipt);
                    }
                    Order::Check(checked) => checks.push(checked),
                }
            }
            if self.write(&entries, receipts) {
                for checked in checks {
                    // Whoever asked may have gone.
                    let _ = checked.send(());
                }
            }
        }
    }

    /// Writes a batch, wakes the worker, and lets the answers go. Says whether the inbox took the write.
    fn write(&mut self, entries: &[Entry], receipts: Vec<oneshot::Sender<Receipt>>) -> bool {
        let written = if entries.is_empty() { self.inbox.check().map(|()| Vec::new()) } else { self.inbox.deliver(entries) };
        let worked = written.is_ok();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), worked));
        match written {
            Ok(stored) => {
                if wants_waking(entries, &stored) {
                    wake(&self.spool);
                }
                // Without a runtime there is nobody left to answer.
                let _ = self.done.send(receipts.into_iter().zip(stored).collect());
            }
            Err(error) => tracing::error!(%error, deliveries = entries.len(), "the inbox took nothing"),
        }
        worked
    }
}

fn wants_waking(entries: &[Entry], stored: &[Receipt]) -> bool {
    entries.iter().zip(stored).any(|(entry, receipt)| entry.answer == Answer::Accepted && *receipt == Receipt::Stored)
}

/// Before the answers go, so that whoever has read one can rely on it. Without it the timer finds the delivery.
fn wake(spool: &Path) {
    if let Err(error) = inbox::wake(spool) {
        tracing::warn!(%error, spool = %spool.display(), "the worker is not woken; it starts with its timer");
    }
}

#[cfg(test)]
mod tests;
