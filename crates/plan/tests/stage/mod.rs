//! A stage for one machine: a script says what is wished, called and told, and everything that the
//! machine decides is written down beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use model::{
    ActivationMode, AppName, Condition, Dependency, ExitStatus, HealthTest, Healthcheck, Image,
    InstanceId, Moment, Port, Rest, Restart, Revision, ServiceName, ServiceSpec, Signal, Transport,
};
use plan::{
    Action, Availability, Before, Command, Demand, Desired, Fact, Failure, Machine, Reason, Retry,
    Route, Selection, ServiceDesired, Sight, Sighting, Step, Wish, check,
};

/// Passes in a row without time going on; more is a livelock.
const PASSES_MAX: usize = 20;

/// The machine and its surroundings.
pub(crate) struct Stage {
    now: Moment,
    machine: Option<Machine>,
    desired: Desired,
    demand: Demand,
    next: Option<Moment>,
    /// Steps that were not answered yet.
    open: Vec<Step>,
    /// Whether steps are answered at once.
    auto: bool,
    /// What the engine would see.
    truth: BTreeMap<InstanceId, (Revision, Sight)>,
    routes: BTreeMap<ServiceName, Route>,
    transcript: String,
}

impl Stage {
    fn new() -> Self {
        Self {
            now: Moment::ZERO,
            machine: None,
            desired: Desired {
                app: AppName::new("app").unwrap(),
                wish: Wish::Up,
                services: BTreeMap::new(),
            },
            demand: Demand::default(),
            next: None,
            open: Vec::new(),
            auto: true,
            truth: BTreeMap::new(),
            routes: BTreeMap::new(),
            transcript: String::new(),
        }
    }

    /// Plays the lines of a script that begin with `>`, keeps its comments, and returns the whole
    /// with what the machine decided after each line.
    pub(crate) fn play(script: &str) -> String {
        let mut stage = Self::new();
        for line in script.lines() {
            if let Some(direction) = line.strip_prefix("> ") {
                writeln!(stage.transcript, "{line}").unwrap();
                stage.direct(direction);
            } else if line.is_empty() || line.starts_with('#') {
                writeln!(stage.transcript, "{line}").unwrap();
            }
        }
        stage.transcript
    }

    fn direct(&mut self, direction: &str) {
        let words: Vec<&str> = direction.split(' ').collect();
        match words.as_slice() {
            ["service", name, properties @ ..] => return self.set_service(name, properties),
            ["leave", name] => {
                self.desired.services.remove(&service(name));
            }
            ["app", wish] => self.desired.wish = wish_of(wish),
            ["up"] => self.up(),
            ["forget"] => self.machine = None,
            ["auto"] => {
                self.auto = true;
                for step in std::mem::take(&mut self.open) {
                    self.carry_out(&step);
                }
            }
            ["hand"] => self.auto = false,
            ["wake", name] => self.command(Command::Wake(service(name))),
            ["rest", name] => self.command(Command::Rest(service(name))),
            ["restart", name] => self.command(Command::Restart(service(name))),
            ["retry", name] => self.command(Command::Retry(service(name))),
            ["kill", name] => self.command(Command::Kill(service(name))),
            ["held", count, name] => self.demand_of(name).held = count.parse().unwrap(),
            ["connections", count, name] => {
                self.demand_of(name).connections = count.parse().unwrap();
            }
            ["in-flight", count, id] => self.set_in_flight(&instance(id), count.parse().unwrap()),
            ["exit", id, how] => self.exit(&instance(id), exit_status(how)),
            ["late-exit", id, how] => self.tell(Fact::Exited {
                id: instance(id),
                status: exit_status(how),
            }),
            ["truth", id, sight] => self.set_truth(&instance(id), sight),
            ["gap"] => self.tell(Fact::Gap),
            ["observed"] => self.answer(None, None),
            ["ok", id] => self.answer(Some(&instance(id)), None),
            ["fail", id, why @ ..] => {
                self.answer(Some(&instance(id)), Some(failure(why, Retry::Later)))
            }
            ["never", id, why @ ..] => {
                self.answer(Some(&instance(id)), Some(failure(why, Retry::Never)));
            }
            ["wait", time] => return self.wait(duration(time)),
            ["explain", name] => return self.explain(name),
            _ => panic!("no such direction: {direction}"),
        }
        self.pass();
    }

    fn set_service(&mut self, name: &str, properties: &[&str]) {
        let mut desired = match self.desired.services.get(&service(name)) {
            Some(desired) => desired.clone(),
            None => {
                let spec = ServiceSpec::new(service(name), Image::Host);
                ServiceDesired::new(Arc::new(spec), Revision::FIRST)
            }
        };
        let mut spec = (*desired.spec).clone();
        for property in properties {
            let (key, value) = property.split_once('=').unwrap_or((property, ""));
            set_property(&mut desired, &mut spec, key, value);
        }
        desired.spec = Arc::new(spec);
        self.desired.services.insert(service(name), desired);
    }

    fn up(&mut self) {
        let (desired, now) = (self.desired.clone(), self.now);
        match &mut self.machine {
            Some(machine) => machine.set_desired(desired, now),
            None => {
                self.open.clear();
                self.routes.clear();
                self.machine = Some(Machine::new(desired, now));
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = self.now;
        self.machine().handle_command(command, now);
    }

    fn tell(&mut self, fact: Fact) {
        let now = self.now;
        self.machine().handle_fact(fact, now);
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("the script says `up` first")
    }

    fn demand_of(&mut self, name: &str) -> &mut plan::ServiceDemand {
        let demand = self.demand.services.entry(service(name)).or_default();
        demand.last_demand = Some(self.now);
        demand
    }

    fn set_in_flight(&mut self, id: &InstanceId, count: u32) {
        self.demand.in_flight.insert(id.clone(), count);
        let own = |(other, _): &(&InstanceId, &u32)| other.service == id.service;
        let sum = self
            .demand
            .in_flight
            .iter()
            .filter(own)
            .map(|(_, n)| n)
            .sum();
        self.demand_of(id.service.as_str()).in_flight = sum;
    }

    fn exit(&mut self, id: &InstanceId, status: ExitStatus) {
        if let Some((_, sight)) = self.truth.get_mut(id) {
            *sight = Sight::Exited(status);
        }
        self.tell(Fact::Exited {
            id: id.clone(),
            status,
        });
    }

    fn set_truth(&mut self, id: &InstanceId, sight: &str) {
        let sight = match sight {
            "gone" => {
                self.truth.remove(id);
                return;
            }
            "running" => Sight::Running,
            "frozen" => Sight::Frozen,
            exited => Sight::Exited(exit_status(exited)),
        };
        self.truth
            .entry(id.clone())
            .and_modify(|known| known.1 = sight)
            .or_insert((Revision::FIRST, sight));
    }

    fn answer(&mut self, id: Option<&InstanceId>, failure: Option<Failure>) {
        let at = self
            .open
            .iter()
            .position(|step| step.action.instance() == id);
        let Some(at) = at else {
            panic!(
                "no step of {id:?} is open:
{}",
                self.transcript
            );
        };
        let step = self.open.remove(at);
        match (failure, id) {
            (Some(failure), Some(id)) => self.tell(Fact::Failed {
                id: id.clone(),
                ticket: step.ticket,
                failure,
            }),
            _ => self.answer_ok(&step),
        }
    }

    fn answer_ok(&mut self, step: &Step) {
        let ticket = step.ticket;
        match &step.action {
            Action::Observe => {
                let sighting =
                    |(id, &(revision, state)): (&InstanceId, &(Revision, Sight))| Sighting {
                        id: id.clone(),
                        revision,
                        state,
                        started: self.now,
                    };
                let sightings = self.truth.iter().map(sighting).collect();
                return self.tell(Fact::Sighted { ticket, sightings });
            }
            Action::Start { id, revision, .. } => {
                self.truth.insert(id.clone(), (*revision, Sight::Running));
            }
            Action::Freeze { id } => self.set_truth(id, "frozen"),
            Action::Thaw { id } => self.set_truth(id, "running"),
            Action::Remove { id } => self.set_truth(id, "gone"),
            Action::Probe { .. } | Action::Signal { .. } => {}
        }
        let id = step.action.instance().unwrap().clone();
        self.tell(Fact::Done { id, ticket });
    }

    /// Answers a step, and lets a program end that is asked to.
    fn carry_out(&mut self, step: &Step) {
        self.answer_ok(step);
        if let Action::Signal { id, signal } = &step.action {
            self.exit(id, ExitStatus::Signal(*signal));
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            match self.next {
                Some(next) if next <= end => self.now = next,
                Some(_) | None => break,
            }
            self.pass();
        }
        self.now = end;
        self.pass();
    }

    /// Passes until nothing more comes of it at this moment.
    fn pass(&mut self) {
        if self.machine.is_none() {
            return;
        }
        for _ in 0..PASSES_MAX {
            let (now, demand) = (self.now, self.demand.clone());
            let before = Before::of(self.machine());
            let pass = self.machine().pass(&demand, now);
            assert_eq!(check(&before, &demand, &pass, now), Ok(()));
            self.write(&pass);
            self.next = pass.next;
            if pass.steps.is_empty() && pass.next != Some(now) {
                return;
            }
            for step in pass.steps {
                if self.auto {
                    self.carry_out(&step);
                } else {
                    // A later step calls a probe off.
                    let same = |open: &Step| open.action.instance() == step.action.instance();
                    self.open.retain(|open| !same(open));
                    self.open.push(step);
                }
            }
        }
        panic!("the machine does not come to rest:\n{}", self.transcript);
    }

    fn write(&mut self, pass: &plan::Pass) {
        // There need be no later pass that tells of it no longer.
        let leaves = |report: &plan::ServiceReport| report.reasons.contains(&Reason::Leaving);
        for (name, report) in pass
            .report
            .services
            .iter()
            .filter(|(_, report)| leaves(report))
        {
            assert!(
                !report.instances.is_empty(),
                "{name} has left, and is told of"
            );
        }
        let at = self.now.since_zero().as_secs_f64();
        let mut line = |text: String| writeln!(self.transcript, "{at:8.2}  {text}").unwrap();
        for happened in &pass.events {
            let who = match &happened.instance {
                Some(id) => id.short(),
                None => happened.service.to_string(),
            };
            line(format!("{who} {}", happened.fact));
        }
        for (name, route) in &pass.routes {
            if self.routes.get(name) != Some(route) {
                line(format!("calls to {name} {}", route_in_words(route)));
            }
        }
        for step in &pass.steps {
            line(format!("=> {}", step.action));
        }
        self.routes.clone_from(&pass.routes);
    }

    fn explain(&mut self, name: &str) {
        let (now, demand) = (self.now, self.demand.clone());
        let pass = self.machine().pass(&demand, now);
        self.write(&pass);
        let report = &pass.report.services[&service(name)];
        let (ready, wanted) = (report.ready(), report.wanted);
        let mut text = format!("  {name} is {}, {ready}/{wanted} ready", report.state);
        for instance in &report.instances {
            write!(text, "; {} {}", instance.id.short(), instance.state).unwrap();
        }
        for reason in &report.reasons {
            write!(text, "\n    {reason}").unwrap();
        }
        writeln!(self.transcript, "{text}").unwrap();
    }
}

fn route_in_words(route: &Route) -> String {
    match (&route.availability, route.ready.is_empty()) {
        (Availability::Held, true) => "are held".to_owned(),
        (Availability::Held, false) => {
            let ids: Vec<String> = route.ready.iter().map(InstanceId::short).collect();
            format!("go to {}", ids.join(", "))
        }
        (Availability::Refused(reason), _) => format!("are refused: {reason}"),
    }
}

fn set_property(desired: &mut ServiceDesired, spec: &mut ServiceSpec, key: &str, value: &str) {
    match key {
        "on-demand" => desired.mode = ActivationMode::OnDemand,
        "always" => desired.mode = ActivationMode::Always,
        "unselected" => desired.selection = Selection::Unselected,
        "selected" => desired.selection = Selection::Selected,
        "idle" => spec.activation.idle = duration(value),
        "frozen" => spec.activation.rest = Rest::Frozen,
        "stopped" => spec.activation.rest = Rest::Stopped,
        "instances" => desired.instances = value.parse().unwrap(),
        "max" => spec.scale.instances_max = value.parse().unwrap(),
        "revision" => desired.revision = Revision(value.parse().unwrap()),
        "grace" => spec.stop_grace_period = duration(value),
        "port" => {
            let number = value.parse().unwrap();
            let transport = Transport::Tcp;
            spec.expose.insert(Port { number, transport });
        }
        "restart" => spec.restart = restart(value),
        "needs" => {
            let (name, condition) = value.split_once(':').unwrap();
            let dependency = Dependency {
                condition: match condition.trim_end_matches(['?', '!']) {
                    "started" => Condition::Started,
                    "healthy" => Condition::Healthy,
                    "completed" => Condition::CompletedSuccessfully,
                    other => panic!("no such condition: {other}"),
                },
                required: !condition.contains('?'),
                restart: condition.contains('!'),
            };
            spec.depends_on.insert(service(name), dependency);
        }
        "health" => {
            let mut check = Healthcheck::new(HealthTest::Shell("true".to_owned()));
            check.interval = duration(value);
            spec.healthcheck = Some(check);
        }
        other => panic!("no such property: {other}"),
    }
}

fn restart(value: &str) -> Restart {
    match value {
        "no" => Restart::No,
        "always" => Restart::Always,
        "on-failure" => Restart::OnFailure { attempts_max: None },
        other => Restart::OnFailure {
            attempts_max: Some(other.parse().unwrap()),
        },
    }
}

fn wish_of(value: &str) -> Wish {
    match value {
        "up" => Wish::Up,
        "stopped" => Wish::Stopped,
        "down" => Wish::Down,
        other => panic!("no such wish: {other}"),
    }
}

fn exit_status(how: &str) -> ExitStatus {
    match how {
        "killed" => ExitStatus::Signal(Signal::KILL),
        code => ExitStatus::Code(code.parse().unwrap()),
    }
}

fn failure(why: &[&str], retry: Retry) -> Failure {
    Failure {
        why: why.join(" ").into(),
        retry,
    }
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn instance(short: &str) -> InstanceId {
    let (name, number) = short.rsplit_once('-').expect("SERVICE-NUMBER");
    InstanceId {
        app: AppName::new("app").unwrap(),
        service: service(name),
        number: number.parse().unwrap(),
    }
}

fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}
