//! The one thread that owns the inbox. It takes whatever waits into one transaction, and only then lets answers go.
//!
//! One writer a file, and no lingering: what comes while a transaction is being synced forms the next one. A refusal
//! is told by dropping the channel of the answer, so an answer that is forgotten is a refusal too, never a 2xx. Between
//! transactions, when their answers are gone, it does a little of what can wait: it prunes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use hookspool_common::inbox::{self, Entry, Inbox, Receipt, Tidied};
use hookspool_common::record::Answer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};

use crate::body::Room;
use crate::bounds::Bounds;
use crate::trouble::Trouble;

/// Deliveries that may wait; over it, 503. More than there can be connections, so only a stuck disk fills it.
const QUEUE_LENGTH: usize = 1024;

/// Deliveries in one transaction: beyond it a larger one gains nothing, and the first of it would wait for the last.
const MAX_BATCH: usize = 256;

/// How long the last write that worked answers for the next; it bounds how often `/ready` makes the disk sync.
const READY_FOR: Duration = Duration::from_secs(5);
/// The same for one that failed.
const UNREADY_FOR: Duration = Duration::from_secs(1);

/// How long `/ready` waits for a write. A disk that takes longer is not ready, and whoever asks holds a place meanwhile.
const CHECK_TIME: Duration = Duration::from_secs(2);

/// How often the inbox is tidied when nothing presses. Shorter than a request's head may take, so that this is always the
/// next timer to ring: whenever a connection's would be, tokio wakes itself for each request, with two system calls.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// How long after there was nothing to prune it is looked again although too much is in use.
const TIDY_PAUSE: Duration = Duration::from_secs(1);

/// The inbox took nothing, or nobody knows whether it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotStored;

/// What the thread is asked for.
enum Order {
    /// With the room of the body that the entry is made of, which is taken until the entry is written.
    Store(Box<Entry>, Room, oneshot::Sender<Receipt>),
    Check(oneshot::Sender<()>),
    Tidy,
}

/// When the inbox was last written to, and whether that worked.
type LastWrite = Arc<Mutex<Option<(Instant, bool)>>>;

/// The way to the thread. When the last of these is dropped, the thread ends.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: mpsc::Sender<Order>,
    last: LastWrite,
    /// Held by whoever has the disk tried: one order is enough for all who ask, and does not fill the queue.
    checking: tokio::sync::Mutex<()>,
}

/// Is ready when the thread has ended, in whatever way, and the inbox is closed.
pub(crate) type WriterEnd = oneshot::Receiver<()>;

impl Writer {
    /// Starts the thread. Must be called within the runtime.
    pub(crate) fn start(inbox: Box<dyn Inbox + Send>, bounds: Bounds) -> io::Result<(Self, WriterEnd)> {
        let (orders, waiting) = mpsc::channel(QUEUE_LENGTH);
        let (done, batches) = mpsc::unbounded_channel();
        let (alive, end) = oneshot::channel();
        let last = LastWrite::default();
        let to_self = orders.downgrade();
        let last_write = Arc::clone(&last);
        let desk = Desk { inbox, bounds, done, last: last_write, trouble: Trouble::default(), to_self, fruitless: None };
        tokio::spawn(hand_out(batches));
        tokio::spawn(ask_to_tidy(orders.downgrade()));
        let work = move || {
            // Dropped last, also when the work panics: the end is told when the inbox is closed.
            let _alive: oneshot::Sender<()> = alive;
            desk.work(waiting);
        };
        thread::Builder::new().name("inbox".to_owned()).spawn(work)?;
        Ok((Self { orders, last, checking: tokio::sync::Mutex::default() }, end))
    }

    /// Stores `entry`. When this returns, what the receipt says is on disk.
    pub(crate) async fn store(&self, entry: Box<Entry>, room: Room) -> Result<Receipt, NotStored> {
        let (sender, receipt) = oneshot::channel();
        self.orders.try_send(Order::Store(entry, room, sender)).map_err(|_| NotStored)?;
        receipt.await.map_err(|_| NotStored)
    }

    /// Whether the inbox takes writes, as of a moment ago.
    pub(crate) async fn is_ready(&self) -> bool {
        if let Some(worked) = self.known() {
            return worked;
        }
        let _turn = self.checking.lock().await;
        // Whoever had the turn before may have found out.
        if let Some(worked) = self.known() {
            return worked;
        }
        let (sender, checked) = oneshot::channel();
        let is_asked = self.orders.try_send(Order::Check(sender)).is_ok();
        let worked = is_asked && timeout(CHECK_TIME, checked).await.is_ok_and(|checked| checked.is_ok());
        if !worked {
            note(&self.last, false);
        }
        worked
    }

    /// What the last write showed, while that counts.
    fn known(&self) -> Option<bool> {
        let (when, worked) = (*self.last.lock().unwrap_or_else(PoisonError::into_inner))?;
        (when.elapsed() < if worked { READY_FOR } else { UNREADY_FOR }).then_some(worked)
    }
}

fn note(last: &LastWrite, worked: bool) {
    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), worked));
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

/// Now and then, for as long as there is anybody who can ask for anything else.
async fn ask_to_tidy(orders: mpsc::WeakSender<Order>) {
    let mut times = interval(TIDY_EVERY);
    loop {
        times.tick().await;
        let Some(orders) = orders.upgrade() else { return };
        // A full queue has other things to do; there will be another time.
        let _ = orders.try_send(Order::Tidy);
    }
}

/// What the thread owns.
struct Desk {
    inbox: Box<dyn Inbox + Send>,
    bounds: Bounds,
    /// What was stored, on its way to those who wait for it. There are never more of them than of orders.
    done: mpsc::UnboundedSender<Vec<(oneshot::Sender<Receipt>, Receipt)>>,
    last: LastWrite,
    /// Why the inbox takes nothing.
    trouble: Trouble,
    /// For what is left to tidy, behind those who wait already. Holding a strong one, the thread would never end.
    to_self: mpsc::WeakSender<Order>,
    /// When tidying last left nothing to be done.
    fruitless: Option<Instant>,
}

impl Desk {
    fn work(mut self, mut waiting: mpsc::Receiver<Order>) {
        // An inbox that was restored from a backup takes a new identity before it takes a delivery.
        self.tidy();
        let mut orders = Vec::with_capacity(MAX_BATCH);
        while waiting.blocking_recv_many(&mut orders, MAX_BATCH) > 0 {
            let (mut entries, mut receipts, mut checks) = (Vec::with_capacity(orders.len()), Vec::new(), Vec::new());
            let (mut rooms, mut is_asked_to_tidy) = (Vec::with_capacity(orders.len()), false);
            for order in orders.drain(..) {
                match order {
                    Order::Store(entry, room, receipt) => {
                        entries.push(*entry);
                        rooms.push(room);
                        receipts.push(receipt);
                    }
                    Order::Check(checked) => checks.push(checked),
                    Order::Tidy => is_asked_to_tidy = true,
                }
            }
            if !(entries.is_empty() && checks.is_empty()) && self.write(&entries, receipts) {
                for checked in checks {
                    // Whoever asked may have gone.
                    let _ = checked.send(());
                }
            }
            drop((entries, rooms));
            if is_asked_to_tidy || self.is_pressed_to_tidy() {
                self.tidy();
            }
        }
    }

    /// Writes a batch, wakes the worker, and lets the answers go. Says whether the inbox took the write.
    fn write(&mut self, entries: &[Entry], receipts: Vec<oneshot::Sender<Receipt>>) -> bool {
        let written = match self.bounds.room(self.inbox.used_bytes()) {
            Ok(()) if entries.is_empty() => self.inbox.check().map(|()| Vec::new()).map_err(|error| error.to_string()),
            Ok(()) => self.inbox.deliver(entries).map_err(|error| error.to_string()),
            Err(no_room) => {
                self.answer_repetitions(entries, receipts);
                return self.note(Err(no_room.to_string()));
            }
        };
        match written {
            Ok(stored) => {
                if wants_waking(entries, &stored) {
                    wake(&self.bounds.spool);
                }
                // Before the answers go: who was told that a delivery is stored and asks then is not told of old trouble.
                let worked = self.note(Ok(()));
                // Without a runtime there is nobody left to answer.
                let _ = self.done.send(receipts.into_iter().zip(stored).collect());
                worked
            }
            Err(error) => self.note(Err(error)),
        }
    }

    /// What was seen before needs no room.
    fn answer_repetitions(&mut self, entries: &[Entry], receipts: Vec<oneshot::Sender<Receipt>>) {
        let mut known = Vec::new();
        for (entry, receipt) in entries.iter().zip(receipts) {
            match self.inbox.find_earlier(entry) {
                Ok(Some(earlier)) => known.push((receipt, Receipt::Duplicate(earlier))),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the inbox cannot be read"),
            }
        }
        let _ = self.done.send(known);
    }

    /// Remembers how a write went, for `/ready`; says what is wrong, and that it is over. Whether it went well.
    fn note(&mut self, written: Result<(), String>) -> bool {
        let worked = written.is_ok();
        note(&self.last, worked);
        match written {
            Err(trouble) if self.trouble.is_to_be_said(&trouble, Instant::now()) => {
                tracing::error!("the inbox takes nothing, and deliveries are answered 503: {trouble}");
            }
            Ok(()) if self.trouble.end() => tracing::info!("the inbox takes deliveries again"),
            _ => {}
        }
        worked
    }

    fn is_pressed_to_tidy(&self) -> bool {
        (self.inbox.has_keys_to_tidy() || self.bounds.is_ample(self.inbox.used_bytes()))
            && self.fruitless.is_none_or(|when| when.elapsed() >= TIDY_PAUSE)
    }

    /// A little; the rest when those who wait by now have been answered.
    fn tidy(&mut self) {
        let prunable = self.bounds.prunable(self.inbox.identity());
        let tidied = self.inbox.tidy(&prunable).unwrap_or_else(|error| {
            tracing::warn!(%error, "the inbox cannot be tidied; it is tried again");
            Tidied::default()
        });
        if tidied.is_renewed {
            tracing::warn!(
                spool = %self.bounds.spool.display(),
                "the inbox is older than what the worker has taken over from it, as after its restoration from a backup; it \
                 goes on as a new one, and the worker looks through all of it: what ran before does not run again"
            );
            wake(&self.bounds.spool);
        }
        if tidied.pruned > 0 {
            tracing::debug!(deliveries = tidied.pruned, used_bytes = self.inbox.used_bytes(), "pruned");
        }
        self.fruitless = (!tidied.has_more).then(Instant::now);
        // Looked for also when nobody delivers, so that the metrics know of it when there is room again.
        let _ = self.bounds.room(self.inbox.used_bytes());
        if tidied.has_more
            && let Some(orders) = self.to_self.upgrade()
        {
            // A full queue presses by itself.
            let _ = orders.try_send(Order::Tidy);
        }
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
