//! The world of one run: events in the order of their time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{ActivationMode, ExitStatus, InstanceId, Moment};
use plan::{
    Action, Availability, Command, Fact, Failure, InstanceState, Pass, Probe, Retry, ServiceState,
    Sight, Step, Ticket, Wish,
};
use traffic::Snapshot;

use crate::breach::{Breach, Failed, Finished};
use crate::call::{Call, CallId};
use crate::engine::{Answer, Effect, Engine};
use crate::random::Random;
use crate::scenario::{Faults, Scenario};
use crate::shell::Shell;
use crate::tally::Tally;

/// Calls, commands and faults happen for so long,
const TROUBLE: Duration = Duration::from_secs(60);
/// (their late news for so long),
const LATE_NEWS: Duration = Duration::from_secs(30);
/// then things have so long to come to what they should be,
const PEACE: Duration = Duration::from_secs(240);
/// at the end of which nothing is done any more,
const REST_MIN: Duration = Duration::from_secs(60);
/// and then the app has so long to go down.
const END: Duration = Duration::from_secs(60);
/// As many lines of the transcript are kept in any case.
const LAST_LINES: usize = 80;

/// Whether the transcript is kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Only its end, for a failure.
    Last,
    /// All of it.
    Everything,
}

/// Something that happens at some time.
#[derive(Debug)]
pub(crate) enum Event {
    /// Callers call.
    Arrive,
    /// A call goes on after its work.
    Proceed(CallId),
    /// A call was held long enough.
    HoldEnds(CallId),
    /// A pass is made, by the daemon of this life.
    Pass(u64),
    /// Its routes are applied and its steps begin.
    Apply(u64, Box<Pass>),
    /// The data plane sees a snapshot.
    See(u64, Arc<Snapshot>),
    /// The engine carries a step out.
    CarryOut(u64, Action),
    /// The engine looks at what there is, for this observation.
    Look(u64, Ticket, Moment),
    /// A probe ends.
    ProbeEnds(u64, Ticket, InstanceId, Probe),
    /// Something is told to the machine of this life.
    Tell(u64, Fact),
    /// A program ends, for this reason.
    Ends(InstanceId, u64, ExitStatus, Blame),
    /// A random program dies, or the daemon does.
    Death,
    /// A person does something.
    Command,
    /// Trouble is over.
    Peace,
    /// The app goes down.
    Down,
    /// The run is over.
    Over,
}

/// Whose doing the end of a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Of the daemon of this life; what one that died had begun is a fault to the next.
    Ours(u64),
    Its,
}

/// All there is.
pub(crate) struct World {
    pub(crate) now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    sequence: u64,
    pub(crate) random: Random,
    pub(crate) scenario: Scenario,
    pub(crate) faults: Faults,
    pub(crate) faultless: bool,
    pub(crate) engine: Engine,
    pub(crate) shell: Shell,
    /// Which life of the daemon this is.
    pub(crate) life: u64,
    /// When something was last done but probing.
    last_step: Moment,
    pass_at: Option<Moment>,
    applying: bool,
    pub(crate) seen: Arc<Snapshot>,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) calls_begun: u64,
    pub(crate) tally: Tally,
    keep: Keep,
    transcript: VecDeque<String>,
}

/// Runs the world of a seed to its end.
///
/// # Errors
/// [`Failed`] with the first invariant that did not hold.
pub fn run(seed: u64, keep: Keep) -> Result<Finished, Box<Failed>> {
    let mut world = World::new(seed, keep);
    match world.run() {
        Ok(()) => Ok(Finished {
            tally: world.tally,
            transcript: world.transcript.into(),
        }),
        Err(breach) => Err(Box::new(Failed {
            seed,
            at: world.now,
            breach,
            last: world.transcript.into(),
        })),
    }
}

impl World {
    fn new(seed: u64, keep: Keep) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::new(seed, &mut random);
        let now = Moment::from_zero(Duration::from_secs(1));
        let mut world = Self {
            now,
            queue: BTreeMap::new(),
            sequence: 0,
            faults: scenario.faults,
            faultless: scenario.faults == Faults::NONE,
            engine: Engine::default(),
            shell: Shell::new(&scenario, &scenario.desired, now),
            scenario,
            random,
            life: 1,
            last_step: now,
            pass_at: None,
            applying: false,
            seen: Arc::new(Snapshot::default()),
            calls: BTreeMap::new(),
            calls_begun: 0,
            tally: Tally {
                runs: 1,
                ..Tally::default()
            },
            keep,
            transcript: VecDeque::new(),
        };
        world.schedule(Duration::ZERO, Event::Arrive);
        world.schedule(Duration::from_secs(5), Event::Command);
        world.schedule(Duration::from_secs(5), Event::Death);
        world.schedule(TROUBLE, Event::Peace);
        world.schedule(TROUBLE + LATE_NEWS, Event::Peace);
        world.schedule(TROUBLE + PEACE, Event::Down);
        world.schedule(TROUBLE + PEACE + END, Event::Over);
        world
    }

    fn run(&mut self) -> Result<(), Breach> {
        self.request_pass();
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if matches!(event, Event::Over) {
                return self.check_nothing_left();
            }
            self.handle(event)?;
            if self.shell.take_woken() {
                self.request_pass();
            }
            self.check_numbers()?;
        }
        Ok(())
    }

    pub(crate) fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    pub(crate) fn log(&mut self, line: fmt::Arguments) {
        if self.keep == Keep::Last && self.transcript.len() >= LAST_LINES {
            self.transcript.pop_front();
        }
        let at = self.now.since_zero().as_secs_f64();
        self.transcript.push_back(format!("{at:10.4} {line}"));
    }

    fn fault(&mut self, what: &str) {
        self.tally.faults += 1;
        self.log(format_args!("! {what}"));
    }

    fn handle(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::Arrive => self.arrive(),
            Event::Proceed(call) => self.proceed(call),
            Event::HoldEnds(call) => self.end_hold(call),
            Event::Pass(life) if life == self.life => self.pass(),
            Event::Apply(life, pass) if life == self.life => {
                self.apply(*pass);
                Ok(())
            }
            Event::See(life, snapshot) if life == self.life => self.see(snapshot),
            Event::Tell(life, fact) if life == self.life => {
                self.shell.machine.handle_fact(fact, self.now);
                self.request_pass();
                Ok(())
            }
            Event::Pass(_) | Event::Apply(..) | Event::See(..) | Event::Tell(..) => Ok(()),
            Event::CarryOut(life, action) => self.carry_out(life, &action),
            Event::Look(life, ticket, told_at) => {
                let sightings = self.engine.sightings();
                let told = Fact::Sighted { ticket, sightings };
                self.schedule(told_at.since(self.now), Event::Tell(life, told));
                Ok(())
            }
            Event::ProbeEnds(life, ticket, id, probe) => {
                self.end_probe(life, ticket, id, &probe);
                Ok(())
            }
            Event::Ends(id, run, status, blame) => self.end_program(&id, run, status, blame),
            Event::Death => self.bring_death(),
            Event::Command => {
                self.command();
                Ok(())
            }
            Event::Peace => {
                self.make_peace();
                Ok(())
            }
            Event::Down => self.go_down(),
            Event::Over => Ok(()),
        }
    }

    /// Passes begin a little after they were asked for, unless routes are being applied.
    fn request_pass(&mut self) {
        let after = self.random.time(Duration::ZERO, Duration::from_millis(1));
        self.request_pass_at(self.now + after);
    }

    fn request_pass_at(&mut self, at: Moment) {
        if self.pass_at.is_none_or(|known| at < known) {
            self.pass_at = Some(at);
            if !self.applying {
                self.schedule(at.since(self.now), Event::Pass(self.life));
            }
        }
    }

    fn pass(&mut self) -> Result<(), Breach> {
        if self.applying || self.pass_at != Some(self.now) {
            return Ok(());
        }
        self.pass_at = None;
        self.tally.passes += 1;
        let pass = self.shell.pass(self.now)?;
        for happened in &pass.events {
            self.tally.wakes += u64::from(happened.fact == model::Fact::ServiceWoken);
            self.tally.rests += u64::from(happened.fact == model::Fact::ServiceRested);
            let who = happened.instance.as_ref().map(InstanceId::short);
            let who = who.unwrap_or_else(|| happened.service.to_string());
            self.log(format_args!("{who} {}", happened.fact));
        }
        self.applying = true;
        let after = self.random.time(Duration::ZERO, Duration::from_millis(1));
        self.schedule(after, Event::Apply(self.life, Box::new(pass)));
        Ok(())
    }

    fn apply(&mut self, pass: Pass) {
        self.applying = false;
        for (name, route) in &pass.routes {
            if self.shell.route(name) != Some(route) {
                let ready: Vec<u32> = route.ready.iter().map(|id| id.number).collect();
                match &route.availability {
                    Availability::Held => self.log(format_args!("route {name} {ready:?}")),
                    Availability::Refused(why) => {
                        self.log(format_args!("route {name} refused: {why}"));
                    }
                }
            }
        }
        if let Some(snapshot) = self.shell.apply(&pass, &self.scenario.desired, self.now) {
            let after = self.random.time(Duration::ZERO, Duration::from_millis(1));
            self.schedule(after, Event::See(self.life, Arc::new(snapshot)));
        }
        for step in pass.steps {
            self.begin(step);
        }
        if let Some(at) = self.pass_at.take() {
            self.request_pass_at(at.max(self.now));
        }
        if let Some(next) = pass.next {
            self.request_pass_at(next.max(self.now));
        }
    }

    fn begin(&mut self, step: Step) {
        self.tally.steps += 1;
        self.log(format_args!("=> {}", step.action));
        let Step { ticket, action } = step;
        if let Action::Probe { id, how, .. } = action {
            self.begin_probe(ticket, id, how);
            return;
        }
        self.last_step = self.now;
        let course = self
            .engine
            .course(&action, self.faults, self.now, &mut self.random);
        if course.answer != Answer::Done {
            self.fault(match course.answer {
                Answer::Late => "that will be late",
                Answer::Done | Answer::Failed | Answer::Forbidden => "that will fail",
            });
        }
        let answered_after = course.answered_at.since(self.now);
        let done_after = course.done_at.map(|at| at.since(self.now));
        let Some(id) = action.instance().cloned() else {
            match done_after {
                Some(after) => {
                    let look = Event::Look(self.life, ticket, course.answered_at);
                    self.schedule(after, look);
                }
                None => {
                    let why = "injected".to_owned();
                    let fact = Fact::Unsighted { ticket, why };
                    self.schedule(answered_after, Event::Tell(self.life, fact));
                }
            }
            return;
        };
        if let Some(after) = done_after {
            self.schedule(after, Event::CarryOut(self.life, action));
        }
        let failed = |why: &str, retry| Fact::Failed {
            id: id.clone(),
            ticket,
            failure: Failure {
                why: why.into(),
                retry,
            },
        };
        let fact = match course.answer {
            Answer::Done => Fact::Done { id, ticket },
            Answer::Failed => failed("injected", Retry::Later),
            Answer::Forbidden => failed("injected for good", Retry::Never),
            Answer::Late => failed("not answered in time", Retry::Later),
        };
        self.schedule(answered_after, Event::Tell(self.life, fact));
    }

    fn begin_probe(&mut self, ticket: Ticket, id: InstanceId, how: Probe) {
        let listens = self
            .engine
            .programs
            .get(&id)
            .map(|program| program.ready_at);
        let after = match how {
            Probe::Healthcheck => self.random.millis(1, 50),
            Probe::Ports(_) => {
                let found = self.random.time(Duration::ZERO, Duration::from_millis(2));
                listens.map_or(Duration::ZERO, |at| at.since(self.now)) + found
            }
        };
        self.schedule(after, Event::ProbeEnds(self.life, ticket, id, how));
    }

    fn end_probe(&mut self, life: u64, ticket: Ticket, id: InstanceId, _how: &Probe) {
        let listens =
            self.engine.programs.get(&id).is_some_and(|program| {
                program.state == Sight::Running && program.ready_at <= self.now
            });
        let flaps = self.random.chance(self.faults.probe_flaps);
        if flaps && listens {
            self.fault("a probe flaps");
        }
        let fact = if listens && !flaps {
            Fact::Done { id, ticket }
        } else {
            let failure = Failure {
                why: "does not listen".into(),
                retry: Retry::Later,
            };
            Fact::Failed {
                id,
                ticket,
                failure,
            }
        };
        self.schedule(Duration::ZERO, Event::Tell(life, fact));
    }

    fn carry_out(&mut self, life: u64, action: &Action) -> Result<(), Breach> {
        let Some(id) = action.instance() else {
            return Ok(());
        };
        let run = self.engine.programs.get(id).map(|program| program.run);
        let effect = self
            .engine
            .carry_out(action, self.faults, self.now, &mut self.random);
        match effect {
            Effect::Nothing => Ok(()),
            Effect::Started(run, ends_after) => {
                if let Some(after) = ends_after {
                    self.fault("that program will end soon");
                    let status = ExitStatus::Code(1);
                    self.schedule(after, Event::Ends(id.clone(), run, status, Blame::Its));
                }
                Ok(())
            }
            Effect::Frozen if self.shell.in_flight(id) > 0 => {
                Err(Breach::FrozenWithCall(id.clone()))
            }
            Effect::Frozen => Ok(()),
            Effect::Ends(run, after, status) => {
                self.schedule(
                    after,
                    Event::Ends(id.clone(), run, status, Blame::Ours(life)),
                );
                Ok(())
            }
            Effect::Removed => match run {
                Some(run) => self.fail_calls_inside(id, run, Blame::Ours(life)),
                None => Ok(()),
            },
        }
    }

    fn end_program(
        &mut self,
        id: &InstanceId,
        run: u64,
        status: ExitStatus,
        blame: Blame,
    ) -> Result<(), Breach> {
        if !self.engine.end(id, run, status) {
            return Ok(());
        }
        self.log(format_args!("{} {status}", id.short()));
        self.fail_calls_inside(id, run, blame)?;
        let mut after = self.random.time(Duration::ZERO, Duration::from_millis(2));
        let mut fact = Fact::Exited {
            id: id.clone(),
            status,
        };
        if self.random.chance(self.faults.event_is_lost) {
            self.fault("the event of that is lost");
            after = self.random.millis(1, 3000);
            fact = Fact::Gap;
        } else if self.random.chance(self.faults.event_is_late) {
            self.fault("the event of that is late");
            after = self.random.millis(10, 3000);
        }
        self.schedule(after, Event::Tell(self.life, fact));
        Ok(())
    }

    fn bring_death(&mut self) -> Result<(), Breach> {
        if !self.faults.deaths {
            return Ok(());
        }
        let after = self.random.millis(500, 8000);
        self.schedule(after, Event::Death);
        if self.random.chance(100) {
            self.fault("the daemon dies");
            self.drop_all_calls();
            self.life += 1;
            self.pass_at = None;
            self.applying = false;
            self.seen = Arc::new(Snapshot::default());
            self.shell = Shell::new(&self.scenario, &self.scenario.desired, self.now);
            return Ok(());
        }
        let running = |(id, program): (&InstanceId, &crate::engine::Program)| {
            (program.state == Sight::Running).then(|| (id.clone(), program.run))
        };
        let running: Vec<_> = self.engine.programs.iter().filter_map(running).collect();
        let Some((id, run)) = self.random.one_of(&running).cloned() else {
            return Ok(());
        };
        self.fault("a program dies");
        let status = match self.random.between(0, 2) {
            0 => ExitStatus::Code(0),
            1 => ExitStatus::Code(3),
            _ => ExitStatus::OutOfMemory,
        };
        self.end_program(&id, run, status, Blame::Its)
    }

    fn command(&mut self) {
        if self.now.since_zero() > TROUBLE {
            return;
        }
        let after = self.random.millis(1000, 12_000);
        self.schedule(after, Event::Command);
        let names: Vec<_> = self.scenario.desired.services.keys().cloned().collect();
        let Some(name) = self.random.one_of(&names).cloned() else {
            return;
        };
        let Some(service) = self.scenario.desired.services.get_mut(&name) else {
            return;
        };
        let command = match self.random.between(0, 6) {
            0 => Command::Wake(name.clone()),
            1 | 2 => Command::Rest(name.clone()),
            3 => Command::Restart(name.clone()),
            wish => {
                match wish {
                    4 => service.revision = service.revision.next(),
                    5 => {
                        let instances_max = u64::from(service.spec.scale.instances_max);
                        service.instances = self.random.between(1, instances_max) as u32;
                    }
                    _ => {
                        service.mode = match service.mode {
                            ActivationMode::Always => ActivationMode::OnDemand,
                            ActivationMode::OnDemand => ActivationMode::Always,
                        }
                    }
                }
                let (revision, instances) = (service.revision, service.instances);
                let mode = service.mode;
                self.log(format_args!("# {name} {revision} x{instances} {mode:?}"));
                let desired = self.scenario.desired.clone();
                self.shell.machine.set_desired(desired, self.now);
                self.request_pass();
                return;
            }
        };
        self.log(format_args!("# {command:?}"));
        self.shell.machine.handle_command(command, self.now);
        self.request_pass();
    }

    /// No more faults; what was given up or put to rest is brought up again, as a person would.
    fn make_peace(&mut self) {
        self.log(format_args!("# peace"));
        self.faults = Faults::NONE;
        for (name, wish) in &self.scenario.desired.services {
            let command = match wish.mode {
                ActivationMode::Always => Command::Wake(name.clone()),
                ActivationMode::OnDemand => Command::Retry(name.clone()),
            };
            self.shell.machine.handle_command(command, self.now);
        }
        self.request_pass();
    }

    fn go_down(&mut self) -> Result<(), Breach> {
        self.check_converged()?;
        self.log(format_args!("# down"));
        self.scenario.desired.wish = Wish::Down;
        let desired = self.scenario.desired.clone();
        self.shell.machine.set_desired(desired, self.now);
        self.request_pass();
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Breach> {
        for (service, wish) in &self.scenario.desired.services {
            let live = self.engine.live(service);
            let instances_max = wish.spec.scale.instances_max;
            if live > instances_max as usize {
                return Err(Breach::TooMany {
                    service: service.clone(),
                    live,
                    instances_max,
                });
            }
        }
        Ok(())
    }

    /// What should run is ready, what is idle sleeps, and there is nothing else.
    fn check_converged(&mut self) -> Result<(), Breach> {
        if let Some(call) = self.calls.values().next() {
            return Err(Breach::HeldTooLong {
                service: call.service.clone(),
            });
        }
        if self.now.since(self.last_step) < REST_MIN {
            return Err(Breach::Restless);
        }
        let report = self.shell.pass(self.now)?.report;
        for (service, wish) in &self.scenario.desired.services {
            let found = &report.services[service];
            let current = |(id, program): &(&InstanceId, &crate::engine::Program)| {
                id.service == *service && program.revision == wish.revision
            };
            let of = |state| {
                let programs = self.engine.programs.iter().filter(current);
                programs
                    .filter(|(_, program)| program.state == state)
                    .count()
            };
            let all = self
                .engine
                .programs
                .keys()
                .filter(|id| id.service == *service);
            let settled = match wish.mode {
                ActivationMode::Always => {
                    found.state == ServiceState::Running
                        && found.ready() == wish.wanted() as usize
                        && of(Sight::Running) == all.count()
                }
                ActivationMode::OnDemand => {
                    let rests =
                        |state| matches!(state, InstanceState::Frozen | InstanceState::Ended);
                    found.state == ServiceState::Asleep
                        && of(Sight::Running) == 0
                        && found.instances.iter().all(|instance| rests(instance.state))
                }
            };
            if !settled {
                return Err(Breach::NotConverged {
                    service: service.clone(),
                    why: format!("{found:?}"),
                });
            }
        }
        Ok(())
    }

    fn check_nothing_left(&self) -> Result<(), Breach> {
        match self.engine.programs.keys().next() {
            Some(id) => Err(Breach::Left(id.clone())),
            None => Ok(()),
        }
    }
}
