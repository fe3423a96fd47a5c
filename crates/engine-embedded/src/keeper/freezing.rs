//! Freezing instances and thawing them, by their control group or, without one, by signals.

use std::time::Duration;

use super::instances::Phase;
use super::protocol::{Answer, Status, ToInit};
use super::spawn::{Process, is_stopped};
use super::{Keeper, Ticket};
use crate::cgroup::Progress;
use crate::clock;
use crate::failure::{Attempt, Failure};

/// How long an instance may take to freeze.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(5);

/// An instance that is to freeze.
#[derive(Debug)]
pub(super) struct Freezing {
    pub(super) tickets: Vec<Ticket>,
    since: model::Moment,
}

impl Keeper {
    /// Begins to freeze; the answer follows when all processes are.
    pub(super) fn freeze(&mut self, ticket: Ticket, name: &str) -> Result<(), Failure> {
        let instance = self.instances.get_mut(name).ok_or(Failure::NoInstance)?;
        let process = match &mut instance.phase {
            Phase::Running(process) => process,
            Phase::Frozen(_) => {
                self.reply(ticket, Ok(Answer::Done));
                return Ok(());
            }
            Phase::Starting { .. } | Phase::Exited(_) => return Err(Failure::NoInstance),
        };
        if let Some(freezing) = &mut instance.freezing {
            freezing.tickets.push(ticket);
            return Ok(());
        }
        if !process.group.can_freeze() {
            process
                .channel
                .send(&ToInit::StopAll, &[])
                .attempt(|| format!("cannot stop the processes of {name}"))?;
        }
        instance.freezing = Some(Freezing {
            tickets: vec![ticket],
            since: clock::now(),
        });
        self.check_freezing();
        Ok(())
    }

    pub(super) fn is_freezing(&self) -> bool {
        self.instances
            .values()
            .any(|instance| instance.freezing.is_some())
    }

    /// Looks at every instance that is to freeze.
    pub(super) fn check_freezing(&mut self) {
        let mut answers = Vec::new();
        for (name, instance) in &mut self.instances {
            let Some(freezing) = &instance.freezing else {
                continue;
            };
            let Phase::Running(process) = &instance.phase else {
                continue;
            };
            let is_late = clock::now().since(freezing.since) > FREEZE_TIMEOUT;
            let outcome = match progress(process) {
                Ok(Progress::Underway) if !is_late => continue,
                Ok(Progress::Underway) => Err(Failure::failed(
                    format!("cannot freeze {name}"),
                    format!("its processes are not frozen after {FREEZE_TIMEOUT:?}"),
                )),
                Ok(Progress::Done) => Ok(()),
                Err(error) => Err(Failure::failed(format!("cannot freeze {name}"), error)),
            };
            let phase = std::mem::replace(&mut instance.phase, Phase::Exited(Status::Unknown));
            instance.phase = match phase {
                Phase::Running(process) if outcome.is_ok() => Phase::Frozen(process),
                Phase::Running(process) => {
                    let _ = melt(&process);
                    Phase::Running(process)
                }
                other @ (Phase::Starting { .. } | Phase::Frozen(_) | Phase::Exited(_)) => other,
            };
            let tickets = instance
                .freezing
                .take()
                .map(|f| f.tickets)
                .unwrap_or_default();
            answers.push((tickets, outcome));
        }
        for (tickets, outcome) in answers {
            self.reply_all(tickets, || outcome.clone().map(|()| Answer::Done));
        }
    }

    pub(super) fn thaw(&mut self, name: &str) -> Result<Answer, Failure> {
        let instance = self.instances.get_mut(name).ok_or(Failure::NoInstance)?;
        let phase = std::mem::replace(&mut instance.phase, Phase::Exited(Status::Unknown));
        let (phase, outcome) = match phase {
            Phase::Frozen(process) | Phase::Running(process) => match melt(&process) {
                Ok(()) => (Phase::Running(process), Ok(Answer::Done)),
                Err(error) => {
                    let what = format!("cannot thaw {name}");
                    (Phase::Frozen(process), Err(Failure::failed(what, error)))
                }
            },
            other @ (Phase::Starting { .. } | Phase::Exited(_)) => {
                (other, Err(Failure::NoInstance))
            }
        };
        instance.phase = phase;
        let cancelled = instance
            .freezing
            .take()
            .map(|f| f.tickets)
            .unwrap_or_default();
        let why = || Failure::failed("cannot freeze", "it was thawed meanwhile");
        self.reply_all(cancelled, || Err(why()));
        outcome
    }
}

fn progress(process: &Process) -> std::io::Result<Progress> {
    if process.group.can_freeze() {
        return process.group.freeze();
    }
    let is_done = process
        .program
        .as_ref()
        .is_none_or(|program| is_stopped(&program.pidfd));
    Ok(if is_done {
        Progress::Done
    } else {
        Progress::Underway
    })
}

fn melt(process: &Process) -> std::io::Result<()> {
    if process.group.can_freeze() {
        return process.group.thaw();
    }
    process.channel.send(&ToInit::ContinueAll, &[])
}
