//! Writes events down without making anybody wait.

use std::sync::Arc;

use model::Event;
use ports::Store;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

/// Events that may wait to be written.
const WAITING_MAX: usize = 4096;
/// Events written in one step.
const BATCH_MAX: usize = 512;

/// Takes events. When more come than can be written, the newest are lost and that is said.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    entries: mpsc::Sender<Entry>,
    written: watch::Receiver<u64>,
}

#[derive(Debug)]
enum Entry {
    Event(Event),
    /// Say when all events before it were written.
    Mark(oneshot::Sender<()>),
}

impl Journal {
    /// The journal, and the writer to run: it ends when all journals are dropped.
    pub(crate) fn new(store: Arc<dyn Store>) -> (Self, impl Future<Output = ()> + Send) {
        let (entries, received) = mpsc::channel(WAITING_MAX);
        let (count, written) = watch::channel(0);
        (Self { entries, written }, write(store, received, count))
    }

    pub(crate) fn record(&self, event: Event) {
        if let Err(lost) = self.entries.try_send(Entry::Event(event)) {
            warn!(%lost, "an event was not written down");
        }
    }

    /// Waits until all that was recorded before is written, so that who saw something happen also
    /// reads of it.
    pub(crate) async fn caught_up(&self) {
        let (reached, mark) = oneshot::channel();
        if self.entries.send(Entry::Mark(reached)).await.is_ok() {
            // A writer that is gone writes nothing more.
            mark.await.ok();
        }
    }

    /// Changes whenever events were written.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }
}

async fn write(
    store: Arc<dyn Store>,
    mut received: mpsc::Receiver<Entry>,
    written: watch::Sender<u64>,
) {
    let mut batch = Vec::new();
    while received.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (mut events, mut marks) = (Vec::new(), Vec::new());
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event) => events.push(event),
                Entry::Mark(reached) => marks.push(reached),
            }
        }
        let count = events.len() as u64;
        if count > 0 && append(&store, events).await {
            written.send_modify(|total| *total += count);
        }
        for reached in marks {
            // Whoever asked may have gone, which is all the same.
            reached.send(()).ok();
        }
    }
}

/// Whether they were written; otherwise it was said.
async fn append(store: &Arc<dyn Store>, events: Vec<Event>) -> bool {
    let store = Arc::clone(store);
    match tokio::task::spawn_blocking(move || store.append(&events)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => warn!(%error, "events were not written down"),
        Err(error) => warn!(%error, "events were not written down"),
    }
    false
}
