//! An inbox whose commits are timed and counted.

use std::sync::Arc;
use std::time::Instant;

use hookspool_common::inbox::{Entry, Inbox, InboxError, Receipt};

use super::Metrics;

/// The inbox within, and what is counted.
#[derive(Debug)]
pub(crate) struct Measured<I> {
    pub(crate) inbox: I,
    pub(crate) metrics: Arc<Metrics>,
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

    fn check(&mut self) -> Result<(), InboxError> {
        self.inbox.check()
    }
}
