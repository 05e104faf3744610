//! An inbox whose commits are timed and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use hookspool_common::inbox::{Entry, Inbox, InboxError, Prunable, Receipt, Tidied};
use hookspool_common::names::DeliveryId;
use hookspool_common::record::InboxIdentity;

use super::Metrics;

/// The inbox within, and what is counted.
#[derive(Debug)]
pub(crate) struct Measured<I> {
    inbox: I,
    metrics: Arc<Metrics>,
}

impl<I: Inbox> Measured<I> {
    pub(crate) fn new(inbox: I, metrics: Arc<Metrics>) -> Self {
        let measured = Self { inbox, metrics };
        measured.used_bytes();
        measured
    }
}

impl<I: Inbox> Inbox for Measured<I> {
    fn deliver(&mut self, batch: &[Entry]) -> Result<Vec<Receipt>, InboxError> {
        let began = Instant::now();
        let delivered = self.inbox.deliver(batch);
        match &delivered {
            Ok(_) => self.metrics.committed(batch.len(), began.elapsed()),
            Err(_) => self.metrics.commit_failed(),
        }
        delivered
    }

    fn find_earlier(&mut self, entry: &Entry) -> Result<Option<DeliveryId>, InboxError> {
        self.inbox.find_earlier(entry)
    }

    fn tidy(&mut self, prunable: &Prunable) -> Result<Tidied, InboxError> {
        self.inbox.tidy(prunable)
    }

    fn has_keys_to_tidy(&self) -> bool {
        self.inbox.has_keys_to_tidy()
    }

    fn used_bytes(&self) -> u64 {
        let bytes = self.inbox.used_bytes();
        // Whoever writes asks for it before and after each batch, so it is never old.
        self.metrics.used_bytes.store(bytes, Relaxed);
        bytes
    }

    fn identity(&self) -> &InboxIdentity {
        self.inbox.identity()
    }

    fn check(&mut self) -> Result<(), InboxError> {
        self.inbox.check()
    }
}
