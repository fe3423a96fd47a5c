//! What a try tells about its endpoint: how fast it answers, or that it fails.

use model::Moment;
use tracing::warn;

use crate::hold::Entered;
use crate::worker::Worker;

/// One try, from when the call was sent.
#[derive(Clone, Copy)]
pub(crate) struct Verdict<'a> {
    worker: &'a Worker,
    entered: &'a Entered,
    begun: Moment,
}

impl<'a> Verdict<'a> {
    pub(crate) fn new(worker: &'a Worker, entered: &'a Entered, begun: Moment) -> Self {
        Self {
            worker,
            entered,
            begun,
        }
    }

    /// The head of the answer has come.
    pub(crate) fn answered(&self, status: u16) {
        let now = self.worker.now();
        let took = now.since(self.begun);
        self.tell(self.entered.call.answered(status, took, now));
    }

    /// The endpoint is to blame for the try's failure.
    pub(crate) fn failed(&self) {
        self.tell(self.entered.call.failed(self.worker.now()));
    }

    fn tell(&self, ejected_until: Option<Moment>) {
        if let Some(until) = ejected_until {
            let instance = self.entered.call.endpoint().instance();
            let seconds = until.since(self.worker.now()).as_secs_f32();
            warn!(%instance, seconds, "an endpoint that fails is left out while there are others");
        }
    }
}
