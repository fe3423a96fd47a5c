//! First processes made ahead of need: they have done what all instances have alike, and wait to be
//! told which one they are.
//!
//! Most of a start is namespaces, control groups, the ambassador and the kernel's file systems, and
//! much of that is waiting for the kernel while it makes or ends those of others. There are at most
//! [`SPARES_MAX`] for all services together, made one after the other when nothing was started for
//! a while. A start that finds none makes its first process itself.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::time::Duration;

use logfile::Flow;
use model::Moment;
use rustix::event::epoll;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal};

use super::instances::{Instance, Phase};
use super::protocol::{Egress, Recipe};
use super::spawn::{self, Process};
use super::{Keeper, Life};
use crate::clock;
use crate::failure::Failure;

/// How many wait at most.
const SPARES_MAX: usize = 4;
/// How long after the last start the next is made: that start comes first.
const AFTER_A_START: Duration = Duration::from_millis(100);
/// How long after one that was made.
const AFTER_ANOTHER: Duration = Duration::from_millis(5);

/// Those that wait, or are not yet ready to.
#[derive(Debug)]
pub(super) struct Spares {
    by_key: BTreeMap<u64, Spare>,
    /// What the next are made like: the last that was asked for.
    recipe: Recipe,
    /// When the next is to be made.
    due: Option<Moment>,
}

#[derive(Debug)]
struct Spare {
    process: Box<Process>,
    future: Future,
}

/// What a spare is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Future {
    Use,
    /// It was killed, and is reaped when it has ended.
    End,
}

impl Default for Spares {
    fn default() -> Self {
        // As most daemons ask for: they have a worker for each processor.
        let captures = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let egress = Egress::Tcp;
        Self {
            by_key: BTreeMap::new(),
            recipe: Recipe { captures, egress },
            due: None,
        }
    }
}

impl Spares {
    /// When the loop is to look again.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    fn usable(&self) -> impl Iterator<Item = (&u64, &Process)> {
        let is_usable = |(_, spare): &(&u64, &Spare)| spare.future == Future::Use;
        self.by_key
            .iter()
            .filter(is_usable)
            .map(|(key, spare)| (key, &*spare.process))
    }

    /// The best of those that are as asked for: one that is ready, if there is one.
    fn best(&self, recipe: Recipe) -> Option<u64> {
        let fitting = self
            .usable()
            .filter(|(_, process)| process.recipe == recipe);
        let ranked = fitting.map(|(key, process)| (process.ambassador.is_none(), *key));
        ranked.min().map(|(_, key)| key)
    }
}

impl Keeper {
    /// A first process for an instance, watched under its key: a spare, or a new one.
    pub(super) fn first_process(&mut self, recipe: Recipe) -> Result<(u64, Box<Process>), Failure> {
        self.spares.recipe = recipe;
        self.want_spares();
        let best = self.spares.best(recipe);
        if let Some((key, spare)) = best.and_then(|key| self.spares.by_key.remove_entry(&key)) {
            return Ok((key, spare.process));
        }
        self.make_process(recipe)
    }

    fn make_process(&mut self, recipe: Recipe) -> Result<(u64, Box<Process>), Failure> {
        let key = self.key();
        let process = Box::new(spawn::spawn(&self.machine, &key.to_string(), recipe)?);
        self.watch_process(&process, key)?;
        Ok((key, process))
    }

    /// Has spares made, when nothing is started for a while.
    pub(super) fn want_spares(&mut self) {
        self.spares.due = Some(clock::now() + AFTER_A_START);
    }

    /// Makes a spare when it is time to.
    pub(super) fn replenish(&mut self) {
        let now = clock::now();
        if self.spares.due.is_none_or(|due| now < due) || self.life == Life::Leaving {
            return;
        }
        let is_starting = |instance: &Instance| matches!(instance.phase, Phase::Starting { .. });
        let is_unready = |(_, process): (_, &Process)| process.ambassador.is_none();
        if self.instances.values().any(is_starting) || self.spares.usable().any(is_unready) {
            self.spares.due = Some(now + AFTER_ANOTHER);
            return;
        }
        self.spares.due = None;
        let recipe = self.spares.recipe;
        if self.spares.usable().count() >= SPARES_MAX {
            if self.spares.best(recipe).is_some() {
                return;
            }
            // All are for others: one of them makes room.
            let first = self.spares.usable().map(|(key, _)| *key).next();
            if let Some(spare) = first.and_then(|key| self.spares.by_key.get_mut(&key)) {
                spare.end();
            }
        }
        match self.make_process(recipe) {
            Ok((key, process)) => {
                let future = Future::Use;
                self.spares.by_key.insert(key, Spare { process, future });
            }
            // The next start will say so.
            Err(failure) => eprintln!("cannot prepare an instance: {failure:?}"),
        }
    }

    /// What a spare says: that it is ready, or why it never will be.
    pub(super) fn hear_spare(&mut self, key: u64) {
        let Some(spare) = self.spares.by_key.get_mut(&key) else {
            return;
        };
        if spare.process.listen() == Flow::Ended {
            let _ = epoll::delete(&self.epoll, &spare.process.channel);
        }
        if let Some(failure) = &spare.process.failure {
            eprintln!("cannot prepare an instance: {failure:?}");
            spare.end();
        } else if spare.process.ambassador.is_some() && spare.future == Future::Use {
            let next = clock::now() + AFTER_ANOTHER;
            self.spares.due.get_or_insert(next);
        }
    }

    /// A spare has ended.
    pub(super) fn bury_spare(&mut self, key: u64) {
        if let Some(Spare { process, .. }) = self.spares.by_key.remove(&key) {
            for descriptor in process.watched() {
                let _ = epoll::delete(&self.epoll, descriptor);
            }
            process.reap();
            process.group.remove();
        }
    }

    /// Ends a first process that will be no instance.
    pub(super) fn dismiss(&mut self, key: u64, process: Box<Process>) {
        let mut spare = Spare {
            process,
            future: Future::Use,
        };
        spare.end();
        self.spares.by_key.insert(key, spare);
    }

    /// Ends all that wait: they were made for a machine that has changed since.
    pub(super) fn dismiss_spares(&mut self) {
        self.spares.by_key.values_mut().for_each(Spare::end);
        self.want_spares();
    }

    /// Ends all spares and waits for that; for the keeper's end.
    pub(super) fn bury_spares(&mut self) {
        self.spares.by_key.values_mut().for_each(Spare::end);
        for spare in std::mem::take(&mut self.spares.by_key).into_values() {
            let pidfd = WaitId::PidFd(spare.process.pidfd.as_fd());
            let _ = rustix::process::waitid(pidfd, WaitIdOptions::EXITED);
            spare.process.group.remove();
        }
    }
}

impl Spare {
    fn end(&mut self) {
        self.future = Future::End;
        // One that has ended is past killing.
        let _ = pidfd_send_signal(&self.process.pidfd, Signal::KILL);
    }
}
