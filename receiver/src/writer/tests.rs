//! The writer's thread, with inboxes that fail, hang and die.

use std::sync::atomic::{AtomicUsize, Ordering};

use hookspool_common::names::DeliveryId;

use super::*;
use crate::fixture::{Told, bounds, no_room, told_inbox};

fn entry(answer: Answer) -> Box<Entry> {
    Box::new(Entry {
        id: DeliveryId::generate(),
        source: "github".parse().unwrap(),
        provider_id: None,
        received_at: hookspool_common::clock::Instant::from_millis(0),
        answer,
        reason: None,
        proposals: "[]".to_owned(),
        seen_keys: Vec::new(),
        headers: "{}".to_owned(),
        body: Vec::new(),
    })
}

/// Stores entries at the same time, each in a task of its own, which has begun when this returns.
async fn store_at_once(writer: &Arc<Writer>, count: usize) -> Vec<tokio::task::JoinHandle<Result<Receipt, NotStored>>> {
    let begun = Arc::new(AtomicUsize::new(0));
    let store = |_| {
        let (writer, begun) = (Arc::clone(writer), Arc::clone(&begun));
        tokio::spawn(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            writer.store(entry(Answer::Accepted), no_room()).await
        })
    };
    let tasks = (0..count).map(store).collect();
    while begun.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
    tasks
}

#[tokio::test]
async fn what_waits_while_a_batch_is_written_is_the_next_batch() {
    let spool = tempfile::tempdir().unwrap();
    let (inbox, batches, orders) = told_inbox();
    let (writer, _end) = Writer::start(inbox, bounds(spool.path())).unwrap();
    let writer = Arc::new(writer);
    let first = store_at_once(&writer, 1).await;
    assert_eq!(batches.recv().unwrap().len(), 1);
    let others = store_at_once(&writer, MAX_BATCH + 3).await;
    for _ in 0..3 {
        orders.send(Told::Store).unwrap();
    }
    for task in first.into_iter().chain(others) {
        assert_eq!(task.await.unwrap(), Ok(Receipt::Stored));
    }
    assert_eq!((batches.recv().unwrap().len(), batches.recv().unwrap().len()), (MAX_BATCH, 3));
}

#[tokio::test]
async fn the_worker_is_woken_before_the_answer_and_only_for_jobs() {
    let spool = tempfile::tempdir().unwrap();
    let wake_file = spool.path().join(inbox::WAKE_FILE);
    let (inbox, _batches, orders) = told_inbox();
    let (writer, _end) = Writer::start(inbox, bounds(spool.path())).unwrap();
    orders.send(Told::Store).unwrap();
    let ignored = Box::new(Entry { reason: Some("nothing".to_owned()), ..*entry(Answer::Ignored) });
    assert_eq!(writer.store(ignored, no_room()).await, Ok(Receipt::Stored));
    assert!(!wake_file.exists());
    orders.send(Told::Store).unwrap();
    assert_eq!(writer.store(entry(Answer::Accepted), no_room()).await, Ok(Receipt::Stored));
    assert!(wake_file.exists());
}

#[tokio::test]
async fn without_a_spool_to_wake_in_the_delivery_is_stored_all_the_same() {
    let (inbox, _batches, orders) = told_inbox();
    let (writer, _end) = Writer::start(inbox, bounds(Path::new("/nonexistent/spool"))).unwrap();
    orders.send(Told::Store).unwrap();
    assert_eq!(writer.store(entry(Answer::Accepted), no_room()).await, Ok(Receipt::Stored));
}

#[tokio::test]
async fn a_batch_that_fails_is_refused_whole_and_the_next_one_is_not() {
    let spool = tempfile::tempdir().unwrap();
    let (inbox, batches, orders) = told_inbox();
    let (writer, _end) = Writer::start(inbox, bounds(spool.path())).unwrap();
    let writer = Arc::new(writer);
    let mut tasks = store_at_once(&writer, 1).await;
    batches.recv().unwrap();
    tasks.extend(store_at_once(&writer, 2).await);
    for told in [Told::Refuse, Told::Refuse, Told::Store] {
        orders.send(told).unwrap();
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), Err(NotStored));
    }
    assert!(!spool.path().join(inbox::WAKE_FILE).exists());
    assert_eq!(writer.store(entry(Answer::Accepted), no_room()).await, Ok(Receipt::Stored));
}

#[tokio::test]
async fn a_dead_writer_stores_nothing_and_says_that_it_is_dead() {
    let (inbox, _batches, orders) = told_inbox();
    let (writer, end) = Writer::start(inbox, bounds(Path::new("/nonexistent/spool"))).unwrap();
    orders.send(Told::Panic).unwrap();
    assert_eq!(writer.store(entry(Answer::Accepted), no_room()).await, Err(NotStored));
    assert!(end.await.is_err());
    assert_eq!(writer.store(entry(Answer::Accepted), no_room()).await, Err(NotStored));
    assert!(!writer.is_ready().await);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_at_once() {
    let spool = tempfile::tempdir().unwrap();
    let (inbox, batches, orders) = told_inbox();
    let (writer, _end) = Writer::start(inbox, bounds(spool.path())).unwrap();
    let writer = Arc::new(writer);
    let first = store_at_once(&writer, 1).await;
    batches.recv().unwrap();
    let waiting = store_at_once(&writer, QUEUE_LENGTH).await;
    assert_eq!(writer.store(entry(Answer::Accepted), no_room()).await, Err(NotStored));
    for _ in 0..=QUEUE_LENGTH {
        orders.send(Told::Store).unwrap();
    }
    for task in first.into_iter().chain(waiting) {
        assert_eq!(task.await.unwrap(), Ok(Receipt::Stored));
    }
}

#[tokio::test]
async fn the_room_of_a_body_is_taken_until_its_entry_is_written_though_whoever_sent_it_has_gone() {
    let spool = tempfile::tempdir().unwrap();
    let (inbox, batches, orders) = told_inbox();
    let (writer, end) = Writer::start(inbox, bounds(spool.path())).unwrap();
    let memory = Arc::new(tokio::sync::Semaphore::new(2));
    let sent = writer.store(entry(Answer::Accepted), Arc::clone(&memory).try_acquire_many_owned(2).unwrap());
    // It is sent at the first look, and nobody looks again.
    assert!(timeout(Duration::ZERO, sent).await.is_err());
    assert_eq!(batches.recv().unwrap().len(), 1);
    assert_eq!(memory.available_permits(), 0);
    orders.send(Told::Store).unwrap();
    drop(writer);
    assert!(end.await.is_err());
    assert_eq!(memory.available_permits(), 2);
}

#[tokio::test]
async fn readiness_is_what_the_last_write_showed() {
    let spool = tempfile::tempdir().unwrap();
    let (inbox, batches, orders) = told_inbox();
    let (writer, _end) = Writer::start(inbox, bounds(spool.path())).unwrap();
    orders.send(Told::Store).unwrap();
    assert!(writer.is_ready().await);
    assert_eq!(batches.recv().unwrap().len(), 0);
    // Told nothing more: an answer shows that nothing was written for it.
    assert!(writer.is_ready().await);
    orders.send(Told::Refuse).unwrap();
    assert_eq!(writer.store(entry(Answer::Accepted), no_room()).await, Err(NotStored));
    assert!(!writer.is_ready().await);
}

#[tokio::test]
async fn a_disk_that_hangs_is_not_ready_in_time_however_many_ask_and_is_tried_once() {
    let spool = tempfile::tempdir().unwrap();
    let (inbox, batches, orders) = told_inbox();
    let (writer, _end) = Writer::start(inbox, bounds(spool.path())).unwrap();
    let writer = Arc::new(writer);
    let ask = |_| {
        let writer = Arc::clone(&writer);
        async move { writer.is_ready().await }
    };
    let asked: tokio::task::JoinSet<bool> = (0..QUEUE_LENGTH).map(ask).collect();
    // It is told nothing, so it hangs for as long as this waits.
    let ready = timeout(10 * CHECK_TIME, asked.join_all()).await.expect("an answer in time");
    assert!(ready.iter().all(|ready| !ready));
    let waiting = QUEUE_LENGTH - writer.orders.capacity();
    assert!(waiting < 5, "whoever delivers finds the queue as good as empty, not with {waiting}");
    orders.send(Told::Store).unwrap();
    assert_eq!(batches.recv().unwrap().len(), 0);
}

#[tokio::test]
async fn the_thread_ends_and_closes_the_inbox_when_nobody_can_ask_it_any_more() {
    let (inbox, batches, _orders) = told_inbox();
    let (writer, end) = Writer::start(inbox, bounds(Path::new("/nonexistent/spool"))).unwrap();
    drop(writer);
    assert!(end.await.is_err());
    assert!(batches.recv().is_err());
}
