//! One app's machine.

use std::collections::BTreeMap;

use model::Moment;

use crate::{Command, Demand, Desired, Fact, Pass, Report};

/// The state machine of one app.
#[derive(Debug)]
pub struct Machine {
    desired: Desired,
}

impl Machine {
    /// A machine that knows no instance yet; its first pass asks the engine what there is, and
    /// routes nothing until that is told.
    #[must_use]
    pub fn new(desired: Desired, _now: Moment) -> Self {
        Self { desired }
    }

    /// What the app should be.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Says anew what the app should be: new specs and revisions, selection, scale, wish.
    pub fn set_desired(&mut self, desired: Desired, _now: Moment) {
        self.desired = desired;
    }

    /// Takes in something that was answered or told.
    pub fn handle_fact(&mut self, _fact: Fact, _now: Moment) {}

    /// Takes in what a person asks for. A command for a service that is not there does nothing.
    pub fn handle_command(&mut self, _command: Command, _now: Moment) {}

    /// Looks at what should be and what is, and decides. The routes of the last pass must have
    /// been applied before `demand` was read.
    pub fn pass(&mut self, _demand: &Demand, now: Moment) -> Pass {
        Pass {
            steps: Vec::new(),
            routes: BTreeMap::new(),
            events: Vec::new(),
            report: Report::default(),
            next: Some(now),
        }
    }
}
