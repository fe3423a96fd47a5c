//! Writes events down without making anybody wait.

use std::sync::Arc;

use model::Event;
use ports::Store;
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// Events that may wait to be written.
const WAITING_MAX: usize = 4096;
/// Events written in one step.
const BATCH_MAX: usize = 512;

/// Takes events. When more come than can be written, the newest are lost and that is said.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    events: mpsc::Sender<Event>,
    written: watch::Receiver<u64>,
}

impl Journal {
    /// The journal, and the writer to run: it ends when all journals are dropped.
    pub(crate) fn new(store: Arc<dyn Store>) -> (Self, impl Future<Output = ()> + Send) {
        let (events, received) = mpsc::channel(WAITING_MAX);
        let (count, written) = watch::channel(0);
        (Self { events, written }, write(store, received, count))
    }

    pub(crate) fn record(&self, event: Event) {
        if let Err(lost) = self.events.try_send(event) {
            warn!(%lost, "an event was not written down");
        }
    }

    /// Changes whenever events were written.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }
}

async fn write(
    store: Arc<dyn Store>,
    mut received: mpsc::Receiver<Event>,
    written: watch::Sender<u64>,
) {
    let mut batch = Vec::new();
    while received.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let events = std::mem::take(&mut batch);
        let count = events.len() as u64;
        let store = Arc::clone(&store);
        let appended = tokio::task::spawn_blocking(move || store.append(&events)).await;
        match appended {
            Ok(Ok(())) => written.send_modify(|total| *total += count),
            Ok(Err(error)) => warn!(%error, "events were not written down"),
            Err(error) => warn!(%error, "events were not written down"),
        }
    }
}
