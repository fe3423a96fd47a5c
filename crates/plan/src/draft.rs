//! What a pass has decided so far.

use std::time::Duration;

use model::{AppName, InstanceId, Moment, ServiceName};

use crate::{Action, Happened, Step, Ticket};

/// Gives out tickets.
#[derive(Debug, Default)]
pub(crate) struct Tickets(u64);

impl Tickets {
    pub(crate) fn next(&mut self) -> Ticket {
        self.0 += 1;
        Ticket(self.0)
    }

    /// The newest given: what is learnt now is newer than anything asked with it or before.
    pub(crate) fn newest(&self) -> Ticket {
        Ticket(self.0)
    }
}

/// A pass in the making.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) now: Moment,
    /// The number of this pass.
    pub(crate) number: u64,
    pub(crate) tickets: &'a mut Tickets,
    pub(crate) steps: Vec<Step>,
    pub(crate) events: Vec<Happened>,
    pub(crate) next: Option<Moment>,
    /// An instance is in a state that only the engine knows.
    pub(crate) doubt: bool,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        tickets: &'a mut Tickets,
        events: Vec<Happened>,
        number: u64,
        now: Moment,
    ) -> Self {
        Self {
            now,
            number,
            tickets,
            steps: Vec::new(),
            events,
            next: None,
            doubt: false,
        }
    }

    /// Adds a step.
    pub(crate) fn step(&mut self, action: Action) -> Ticket {
        let ticket = self.tickets.next();
        self.steps.push(Step { ticket, action });
        ticket
    }

    /// The next pass is due at this moment at the latest.
    pub(crate) fn due(&mut self, at: Moment) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// How long it is until `at`.
    pub(crate) fn until(&self, at: Moment) -> Duration {
        at.since(self.now)
    }
}

/// Whose instances are spoken of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) app: &'a AppName,
    pub(crate) service: &'a ServiceName,
}

impl Whose<'_> {
    pub(crate) fn id(self, number: u32) -> InstanceId {
        InstanceId {
            app: self.app.clone(),
            service: self.service.clone(),
            number,
        }
    }

    pub(crate) fn happened(self, instance: Option<u32>, fact: model::Fact) -> Happened {
        Happened {
            service: self.service.clone(),
            instance: instance.map(|number| self.id(number)),
            fact,
        }
    }
}
