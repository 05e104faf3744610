//! The places that connections take, and which of them is closed when a newcomer finds none.
//!
//! Whoever holds a place and sends nothing holds it only until somebody else wants it: the connection that has waited
//! longest without having sent a whole request is closed for the newcomer. One whose request is being answered never is.
//! Counting and choosing need neither a clock nor a timer: a place knows only after whom it began to wait.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Connections at once. A forge has a few, and each costs memory.
pub(crate) const MAX_CONNECTIONS: usize = 512;

/// How often the log says that connections are closed for others: a flood is to fill no log.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No request, or a part of a head: new connections, and those that wait for their next request.
    Head,
    /// A head, and not yet the whole body.
    Body,
    /// A whole request that is being answered.
    Answer,
    /// Closed for a newcomer, who gets the place as soon as it is free.
    Closed,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    table: Mutex<Table>,
    changed: Notify,
}

/// One connection's place, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: usize,
}

#[derive(Debug)]
struct Table {
    held: Vec<Option<Held>>,
    free: Vec<usize>,
    /// Counts changes of phase, so that what began to wait earlier has the smaller number.
    turn: u64,
    newcomer_waits: bool,
    /// How many were closed for newcomers: in all, for whoever reads the metrics, and of these, when it was last said.
    closed: Arc<AtomicU64>,
    closed_as_said: u64,
    said: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    phase: Phase,
    since: u64,
    was_asked: bool,
    task: Option<AbortHandle>,
}

impl Places {
    /// `count` of them, all free. In `closed` it counts the connections that are closed for newcomers.
    pub(crate) fn new(count: usize, closed: Arc<AtomicU64>) -> Arc<Self> {
        let held = std::iter::repeat_with(|| None).take(count).collect();
        let free = (0..count).rev().collect();
        let table = Table { held, free, turn: 0, newcomer_waits: false, closed, closed_as_said: 0, said: None };
        Arc::new(Self { table: Mutex::new(table), changed: Notify::new() })
    }

    /// A place for a newcomer, as soon as there is one. Only one newcomer may wait at a time.
    pub(crate) async fn take(self: &Arc<Self>) -> Place {
        loop {
            let taken = self.table().take();
            if let Some(number) = taken {
                return Place { places: Arc::clone(self), number };
            }
            self.changed.notified().await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Serves the connection that has this place, as a task of its own.
    pub(crate) fn spawn<F>(self, serve: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (places, number) = (Arc::clone(&self.places), self.number);
        let task = tokio::spawn(serve(self)).abort_handle();
        if let Some(held) = &mut places.table().held[number] {
            held.task = Some(task);
        }
    }

    /// Says what the connection is at from now on.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut table = self.places.table();
        table.turn += 1;
        let since = table.turn;
        if let Some(held) = table.held[self.number].as_mut().filter(|held| held.phase != Phase::Closed) {
            let was_asked = held.was_asked || phase == Phase::Answer;
            *held = Held { phase, since, was_asked, task: held.task.take() };
        }
        if table.newcomer_waits && phase != Phase::Answer {
            self.places.changed.notify_one();
        }
    }

    /// Whether the connection ever sent a whole head.
    pub(crate) fn was_asked(&self) -> bool {
        self.places.table().held[self.number].as_ref().is_some_and(|held| held.was_asked)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.table();
        table.held[self.number] = None;
        table.free.push(self.number);
        if table.newcomer_waits {
            self.places.changed.notify_one();
        }
    }
}

impl Table {
    fn take(&mut self) -> Option<usize> {
        let free = self.free.pop();
        self.newcomer_waits = free.is_none();
        match free {
            Some(number) => {
                self.turn += 1;
                self.held[number] = Some(Held { phase: Phase::Head, since: self.turn, was_asked: false, task: None });
            }
            None => self.close_one(),
        }
        free
    }

    /// Closes the connection that has waited longest, unless one is being closed already or none waits.
    fn close_one(&mut self) {
        let (mut heads, mut bodies) = (Waiting::default(), Waiting::default());
        for held in self.held.iter_mut().flatten() {
            match held.phase {
                Phase::Head => heads.add(held),
                Phase::Body => bodies.add(held),
                Phase::Answer => {}
                Phase::Closed => return,
            }
        }
        // Of whichever there are more, so that neither unfinished heads nor unfinished bodies can ever hold all places
        // against the other: a newcomer always has half of them between itself and being the oldest of its kind.
        let waiting = if bodies.count > heads.count { bodies } else { heads };
        let Some(held) = waiting.longest else { return };
        held.phase = Phase::Closed;
        // The runtime has one thread, and a task that was aborted is never polled again: it cannot begin to be answered.
        if let Some(task) = held.task.take() {
            task.abort();
        }
        let closed_in_all = self.closed.fetch_add(1, Relaxed) + 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            let (places, closed) = (self.held.len(), closed_in_all - self.closed_as_said);
            tracing::warn!(places, closed, "all places are taken; connections that waited longest are closed for new ones");
            (self.said, self.closed_as_said) = (Some(Instant::now()), closed_in_all);
        }
    }
}

/// Connections that wait in one phase: how many, and which of them longest.
#[derive(Debug, Default)]
struct Waiting<'a> {
    count: usize,
    longest: Option<&'a mut Held>,
}

impl<'a> Waiting<'a> {
    fn add(&mut self, held: &'a mut Held) {
        self.count += 1;
        if self.longest.as_ref().is_none_or(|longest| held.since < longest.since) {
            self.longest = Some(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Pending, pending};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// A connection that never ends by itself, and what it is at.
    async fn connection(places: &Arc<Places>, phase: Phase) -> std::sync::Weak<Place> {
        let place = Arc::new(places.take().await);
        place.enter(phase);
        let weak = Arc::downgrade(&place);
        let (number, task) = (place.number, tokio::spawn(async move { hold(place).await }));
        places.table().held[number].as_mut().unwrap().task = Some(task.abort_handle());
        weak
    }

    async fn hold(_place: Arc<Place>) {
        let never: Pending<()> = pending();
        never.await;
    }

    fn are_open(connections: &[std::sync::Weak<Place>]) -> Vec<bool> {
        connections.iter().map(|connection| connection.strong_count() > 0).collect()
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_the_head_that_was_waited_for_longest() {
        let closed = Arc::new(AtomicU64::new(0));
        let places = Places::new(3, Arc::clone(&closed));
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(connection(&places, Phase::Head).await);
        }
        // The first was answered meanwhile, so it has waited least.
        let first = open[0].upgrade().unwrap();
        first.enter(Phase::Answer);
        first.enter(Phase::Head);
        drop(first);
        let _newcomer = places.take().await;
        assert_eq!(are_open(&open), [true, false, true]);
        assert_eq!(closed.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn heads_go_before_bodies_until_there_are_more_bodies() {
        let places = Places::new(4, Arc::default());
        let mut open = Vec::new();
        for phase in [Phase::Body, Phase::Body, Phase::Head, Phase::Head] {
            open.push(connection(&places, phase).await);
        }
        open.push(connection(&places, Phase::Body).await);
        assert_eq!(are_open(&open), [true, true, false, true, true]);
        let _newcomer = places.take().await;
        assert_eq!(are_open(&open), [false, true, false, true, true]);
    }

    #[tokio::test]
    async fn who_is_being_answered_is_never_closed_and_the_newcomer_waits() {
        let places = Places::new(2, Arc::default());
        let open = [connection(&places, Phase::Answer).await, connection(&places, Phase::Answer).await];
        let mut newcomer = pin!(places.take());
        let mut context = Context::from_waker(Waker::noop());
        assert!(newcomer.as_mut().poll(&mut context).is_pending());
        tokio::task::yield_now().await;
        assert!(newcomer.as_mut().poll(&mut context).is_pending());
        open[1].upgrade().unwrap().enter(Phase::Head);
        newcomer.await;
        assert_eq!(are_open(&open), [true, false]);
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_closes_nobody() {
        let places = Places::new(2, Arc::default());
        let first = connection(&places, Phase::Head).await;
        drop(places.take().await);
        let _second = places.take().await;
        assert!(first.strong_count() > 0);
    }
}
