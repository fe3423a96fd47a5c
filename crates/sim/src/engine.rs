//! The engine that the simulator has: what is true of programs, and what it takes to change that.
//!
//! Steps of one instance are carried out in the order in which they were asked for. A late step
//! is answered as failed at its deadline, and carried out all the same; an observation that is
//! asked for after it sees what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ExitStatus, InstanceId, Moment, Revision, ServiceName, Signal};
use plan::{Action, Sight, Sighting};

use crate::random::Random;
use crate::scenario::Faults;

/// When the executor gives a step up.
pub(crate) const STEP_DEADLINE: Duration = Duration::from_secs(5);

/// All programs.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) programs: BTreeMap<InstanceId, Program>,
    busy_until: BTreeMap<InstanceId, Moment>,
    runs: u64,
}

/// A program.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) revision: Revision,
    pub(crate) state: Sight,
    /// Which run of it; never the same twice.
    pub(crate) run: u64,
    pub(crate) started: Moment,
    /// When it listens.
    pub(crate) ready_at: Moment,
    /// It does not end for its stop signal.
    deaf: bool,
    /// A signal that it gets when it is thawed.
    withheld: Option<Signal>,
}

impl Program {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, Sight::Running | Sight::Frozen)
    }
}

/// How a step will go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Course {
    /// When it is carried out, if it is.
    pub(crate) done_at: Option<Moment>,
    /// When it is answered.
    pub(crate) answered_at: Moment,
    pub(crate) answer: Answer,
}

/// What a step is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Failed,
    Forbidden,
    Late,
}

/// What happens to a program because of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// Its program was started, and ends by itself after this time if given.
    Started(u64, Option<Duration>),
    Frozen,
    /// It ends after this time.
    Ends(u64, Duration, ExitStatus),
    /// It is no more, and ran until now.
    Removed,
}

impl Engine {
    /// Decides how a step goes.
    pub(crate) fn course(
        &mut self,
        action: &Action,
        faults: Faults,
        now: Moment,
        random: &mut Random,
    ) -> Course {
        let Some(id) = action.instance() else {
            return self.course_of_observation(faults, now, random);
        };
        let begins = self.busy_until.get(id).map_or(now, |&until| until.max(now));
        let starts = matches!(action, Action::Start { .. });
        let rate = if starts {
            faults.start_fails
        } else {
            faults.step_fails
        };
        if random.chance(rate) {
            let forbidden = starts && random.chance(faults.start_is_forbidden);
            return Course {
                done_at: None,
                answered_at: now + random.millis(1, 500),
                answer: if forbidden {
                    Answer::Forbidden
                } else {
                    Answer::Failed
                },
            };
        }
        let mut done_at =
            begins + random.time(Duration::from_micros(200), Duration::from_millis(8));
        if random.chance(faults.step_is_late) {
            done_at = done_at + random.millis(100, 8000);
        }
        self.busy_until.insert(id.clone(), done_at);
        let deadline = now + STEP_DEADLINE;
        Course {
            done_at: Some(done_at),
            answered_at: done_at.min(deadline),
            answer: if done_at > deadline {
                Answer::Late
            } else {
                Answer::Done
            },
        }
    }

    fn course_of_observation(&self, faults: Faults, now: Moment, random: &mut Random) -> Course {
        if random.chance(faults.observation_fails) {
            return Course {
                done_at: None,
                answered_at: now + random.millis(1, 2000),
                answer: Answer::Failed,
            };
        }
        let all_done = self.busy_until.values().copied().max().unwrap_or(now);
        let seen_at = all_done.max(now) + random.millis(0, 3);
        let stale = if random.chance(faults.observation_is_stale) {
            random.millis(10, 3000)
        } else {
            Duration::ZERO
        };
        Course {
            done_at: Some(seen_at),
            answered_at: seen_at + stale,
            answer: Answer::Done,
        }
    }

    /// Carries a step out.
    pub(crate) fn carry_out(
        &mut self,
        action: &Action,
        faults: Faults,
        now: Moment,
        random: &mut Random,
    ) -> Effect {
        match action {
            Action::Observe | Action::Probe { .. } => Effect::Nothing,
            Action::Start { id, revision, .. } => self.start(id, *revision, faults, now, random),
            Action::Freeze { id } => match self.programs.get_mut(id) {
                Some(program) if program.state == Sight::Running => {
                    program.state = Sight::Frozen;
                    Effect::Frozen
                }
                Some(_) | None => Effect::Nothing,
            },
            Action::Thaw { id } => self.thaw(id, random),
            Action::Signal { id, signal } => self.signal(id, *signal, random),
            Action::Remove { id } => match self.programs.remove(id) {
                Some(program) if program.is_live() => Effect::Removed,
                Some(_) | None => Effect::Nothing,
            },
        }
    }

    fn start(
        &mut self,
        id: &InstanceId,
        revision: Revision,
        faults: Faults,
        now: Moment,
        random: &mut Random,
    ) -> Effect {
        if self.programs.get(id).is_some_and(Program::is_live) {
            return Effect::Nothing;
        }
        self.runs += 1;
        let program = Program {
            revision,
            state: Sight::Running,
            run: self.runs,
            started: now,
            ready_at: now + random.millis(1, 1500),
            deaf: random.chance(100),
            withheld: None,
        };
        self.programs.insert(id.clone(), program);
        let ends = random.chance(faults.program_ends_at_start);
        Effect::Started(self.runs, ends.then(|| random.millis(0, 3000)))
    }

    fn thaw(&mut self, id: &InstanceId, random: &mut Random) -> Effect {
        let Some(program) = self.programs.get_mut(id) else {
            return Effect::Nothing;
        };
        if program.state != Sight::Frozen {
            return Effect::Nothing;
        }
        program.state = Sight::Running;
        match program.withheld.take() {
            Some(signal) => self.signal(id, signal, random),
            None => Effect::Nothing,
        }
    }

    fn signal(&mut self, id: &InstanceId, signal: Signal, random: &mut Random) -> Effect {
        let Some(program) = self.programs.get_mut(id) else {
            return Effect::Nothing;
        };
        let status = ExitStatus::Signal(signal);
        match program.state {
            Sight::Exited(_) => Effect::Nothing,
            Sight::Running | Sight::Frozen if signal == Signal::KILL => {
                Effect::Ends(program.run, Duration::ZERO, status)
            }
            Sight::Frozen => {
                program.withheld = Some(signal);
                Effect::Nothing
            }
            Sight::Running if program.deaf => Effect::Nothing,
            Sight::Running => Effect::Ends(program.run, random.millis(0, 800), status),
        }
    }

    /// A program ended, if it is still in this run.
    pub(crate) fn end(&mut self, id: &InstanceId, run: u64, status: ExitStatus) -> bool {
        match self.programs.get_mut(id) {
            Some(program) if program.run == run && program.is_live() => {
                program.state = Sight::Exited(status);
                true
            }
            Some(_) | None => false,
        }
    }

    /// All programs as they are now.
    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        let sighting = |(id, program): (&InstanceId, &Program)| Sighting {
            id: id.clone(),
            revision: program.revision,
            state: program.state,
            started: program.started,
        };
        self.programs.iter().map(sighting).collect()
    }

    /// How many programs of a service live.
    pub(crate) fn live(&self, service: &ServiceName) -> usize {
        let own =
            |(id, program): &(&InstanceId, &Program)| id.service == *service && program.is_live();
        self.programs.iter().filter(own).count()
    }
}
