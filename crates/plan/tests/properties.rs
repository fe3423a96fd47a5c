//! Properties of the machine, over arbitrary stories with an engine that is slow, fails and is
//! told of arbitrarily late, but never lies. (The simulator adds calls, time and lies.)

#[cfg(test)]
mod stories {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use model::{
        ActivationMode, AppName, ExitStatus, Image, InstanceId, Moment, Port, Rest, Restart,
        Revision, ServiceName, ServiceSpec, Transport,
    };
    use plan::{
        Action, Before, Command, Demand, Desired, Fact, Failure, Machine, Pass, Retry, Route,
        ServiceDesired, ServiceState, Sight, Sighting, Step, Wish, check,
    };
    use proptest::prelude::*;

    const PASSES_MAX: usize = 20;

    /// One thing that happens.
    #[derive(Debug, Clone)]
    enum Happening {
        Done(usize),
        Failed(usize),
        Exits(usize, u8),
        Unheard(usize),
        Gap,
        Held(usize, u32),
        InFlight(usize, u32),
        Wake(usize),
        Rest(usize),
        Restart(usize),
        Scale(usize, u32),
        Revise(usize),
        Wait(u64),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        use Happening as H;
        let any = || any::<prop::sample::Index>().prop_map(|index| index.index(64));
        prop_oneof![
            8 => any().prop_map(H::Done),
            2 => any().prop_map(H::Failed),
            1 => (any(), 0..3u8).prop_map(|(at, code)| H::Exits(at, code)),
            1 => any().prop_map(H::Unheard),
            1 => Just(H::Gap),
            2 => (any(), 0..3u32).prop_map(|(at, count)| H::Held(at, count)),
            2 => (any(), 0..3u32).prop_map(|(at, count)| H::InFlight(at, count)),
            1 => any().prop_map(H::Wake),
            1 => any().prop_map(H::Rest),
            1 => any().prop_map(H::Restart),
            1 => (any(), 1..4u32).prop_map(|(at, count)| H::Scale(at, count)),
            1 => any().prop_map(H::Revise),
            3 => (0..8000u64).prop_map(H::Wait),
        ]
    }

    /// Two services: one from up to down without room for a surge, one on demand.
    fn desired(rest: Rest, restart: Restart) -> Desired {
        let service = |name: &str, mode, instances_max| {
            let mut spec = ServiceSpec::new(ServiceName::new(name).unwrap(), Image::Host);
            spec.activation.mode = mode;
            spec.activation.rest = rest;
            spec.activation.idle = Duration::from_secs(5);
            spec.restart = restart;
            spec.scale.instances_max = instances_max;
            spec.scale.instances = instances_max.min(2);
            let transport = Transport::Tcp;
            let number = 80;
            spec.expose.insert(Port { number, transport });
            let desired = ServiceDesired::new(Arc::new(spec), Revision::FIRST);
            (ServiceName::new(name).unwrap(), desired)
        };
        Desired {
            app: AppName::new("app").unwrap(),
            wish: Wish::Up,
            services: BTreeMap::from([
                service("always", ActivationMode::Always, 2),
                service("lazy", ActivationMode::OnDemand, 3),
            ]),
        }
    }

    struct Story {
        now: Moment,
        machine: Machine,
        desired: Desired,
        demand: Demand,
        open: Vec<Step>,
        truth: BTreeMap<InstanceId, (Revision, Sight)>,
        routes: BTreeMap<ServiceName, Route>,
        next: Option<Moment>,
    }

    impl Story {
        fn new(desired: Desired) -> Self {
            Self {
                now: Moment::ZERO,
                machine: Machine::new(desired.clone(), Moment::ZERO),
                desired,
                demand: Demand::default(),
                open: Vec::new(),
                truth: BTreeMap::new(),
                routes: BTreeMap::new(),
                next: None,
            }
        }

        fn tell(&mut self, fact: Fact) {
            self.machine.handle_fact(fact, self.now);
        }

        fn service(&self, at: usize) -> ServiceName {
            let names: Vec<_> = self.desired.services.keys().collect();
            names[at % names.len()].clone()
        }

        fn running(&self) -> Vec<InstanceId> {
            let runs = |(_, (_, sight)): &(_, &(_, Sight))| *sight == Sight::Running;
            let running = self.truth.iter().filter(runs);
            running.map(|(id, _)| id.clone()).collect()
        }

        fn happen(&mut self, happening: &Happening) {
            match *happening {
                Happening::Done(at) => self.answer(at, None),
                Happening::Failed(at) => self.answer(at, Some(Retry::Later)),
                Happening::Exits(at, code) => self.exit(at, code, true),
                Happening::Unheard(at) => self.exit(at, 1, false),
                Happening::Gap => self.tell(Fact::Gap),
                Happening::Held(at, count) => {
                    let service = self.service(at);
                    self.demand.services.entry(service).or_default().held = count;
                }
                Happening::InFlight(at, count) => self.set_in_flight(at, count),
                Happening::Wake(at) => self.command(Command::Wake(self.service(at))),
                Happening::Rest(at) => self.command(Command::Rest(self.service(at))),
                Happening::Restart(at) => self.command(Command::Restart(self.service(at))),
                Happening::Scale(at, count) => self.wish(at, |wish| wish.instances = count),
                Happening::Revise(at) => self.wish(at, |wish| wish.revision = wish.revision.next()),
                Happening::Wait(millis) => self.wait(Duration::from_millis(millis)),
            }
            self.pass();
        }

        fn command(&mut self, command: Command) {
            self.machine.handle_command(command, self.now);
        }

        fn wish(&mut self, at: usize, change: impl FnOnce(&mut ServiceDesired)) {
            let service = self.service(at);
            change(self.desired.services.get_mut(&service).unwrap());
            self.machine.set_desired(self.desired.clone(), self.now);
        }

        /// Calls come in only where they may, and leave whenever they like.
        fn set_in_flight(&mut self, at: usize, count: u32) {
            let service = self.service(at);
            let ready = &self.routes[&service].ready;
            let open = ready.get(at % ready.len().max(1)).cloned();
            match open {
                Some(id) => self.demand.in_flight.insert(id, count),
                None => {
                    let own = |id: &InstanceId| id.service == service;
                    self.demand.in_flight.retain(|id, _| !own(id));
                    None
                }
            };
            self.demand.services.entry(service).or_default().in_flight = count;
        }

        fn exit(&mut self, at: usize, code: u8, heard: bool) {
            let running = self.running();
            let Some(id) = running.get(at % running.len().max(1)).cloned() else {
                return;
            };
            let status = ExitStatus::Code(code);
            self.truth.get_mut(&id).unwrap().1 = Sight::Exited(status);
            self.demand.in_flight.remove(&id);
            if heard {
                self.tell(Fact::Exited { id, status });
            } else {
                self.tell(Fact::Gap);
            }
        }

        /// The oldest step of some instance is answered: steps of one instance keep their order.
        fn answer(&mut self, at: usize, retry: Option<Retry>) {
            if self.open.is_empty() {
                return;
            }
            let chosen = self.open[at % self.open.len()].action.instance().cloned();
            let oldest = |step: &Step| step.action.instance() == chosen.as_ref();
            let at = self.open.iter().position(oldest).unwrap();
            let Step { ticket, action } = self.open.remove(at);
            let why = "so it happened";
            let Some(id) = chosen else {
                let sighting = |(id, &(revision, state)): (&InstanceId, &(Revision, Sight))| {
                    let id = id.clone();
                    let started = self.now;
                    Sighting {
                        id,
                        revision,
                        state,
                        started,
                    }
                };
                let sightings = self.truth.iter().map(sighting).collect();
                let why = why.to_owned();
                return self.tell(match retry {
                    None => Fact::Sighted { ticket, sightings },
                    Some(_) => Fact::Unsighted { ticket, why },
                });
            };
            let probe = matches!(action, Action::Probe { .. });
            match retry {
                Some(retry) if !probe || at.is_multiple_of(2) => {
                    let why = why.into();
                    let failure = Failure { why, retry };
                    self.tell(Fact::Failed {
                        id,
                        ticket,
                        failure,
                    });
                }
                Some(_) | None => {
                    let exited = self.carry_out(&action);
                    self.tell(Fact::Done {
                        id: id.clone(),
                        ticket,
                    });
                    if let Some(status) = exited {
                        self.tell(Fact::Exited { id, status });
                    }
                }
            }
        }

        fn carry_out(&mut self, action: &Action) -> Option<ExitStatus> {
            let id = action.instance().unwrap();
            let known = self.truth.get_mut(id);
            match action {
                Action::Observe | Action::Probe { .. } => {}
                Action::Start { id, revision, .. } => match known {
                    Some((_, Sight::Running | Sight::Frozen)) => {}
                    Some(_) | None => {
                        self.truth.insert(id.clone(), (*revision, Sight::Running));
                    }
                },
                Action::Freeze { .. } => {
                    assert_eq!(self.demand.in_flight.get(id).copied().unwrap_or(0), 0);
                    if let Some((_, sight @ Sight::Running)) = known {
                        *sight = Sight::Frozen;
                    }
                }
                Action::Thaw { .. } => {
                    if let Some((_, sight @ Sight::Frozen)) = known {
                        *sight = Sight::Running;
                    }
                }
                Action::Signal { signal, .. } => {
                    let status = ExitStatus::Signal(*signal);
                    if let Some((_, sight @ Sight::Running)) = known {
                        *sight = Sight::Exited(status);
                        self.demand.in_flight.remove(id);
                        return Some(status);
                    }
                }
                Action::Remove { .. } => {
                    self.truth.remove(id);
                }
            }
            None
        }

        fn wait(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(next) = self.next.filter(|next| *next <= end) {
                self.now = next;
                self.pass();
            }
            self.now = end;
        }

        /// Passes until nothing more comes of it, and then once more in vain.
        fn pass(&mut self) {
            for _ in 0..PASSES_MAX {
                let pass = self.pass_once();
                let quiet = pass.steps.is_empty() && pass.next != Some(self.now);
                self.open.extend(pass.steps);
                if quiet {
                    let again = self.pass_once();
                    assert_eq!(again.steps, [], "a second pass at one moment decides more");
                    assert_eq!(again.events, []);
                    assert_eq!(again.routes, pass.routes);
                    return;
                }
            }
            panic!("the machine does not come to rest");
        }

        fn pass_once(&mut self) -> Pass {
            let before = Before::of(&self.machine);
            let pass = self.machine.pass(&self.demand, self.now);
            assert_eq!(check(&before, &self.demand, &pass, self.now), Ok(()));
            for (service, wish) in &self.desired.services {
                let lives = |(id, (_, sight)): &(&InstanceId, &(Revision, Sight))| {
                    id.service == *service && matches!(sight, Sight::Running | Sight::Frozen)
                };
                let live = self.truth.iter().filter(lives).count();
                assert!(live <= wish.spec.scale.instances_max as usize);
            }
            self.routes.clone_from(&pass.routes);
            self.next = pass.next;
            pass
        }

        /// Everything goes well from now on, and nobody calls. What fell is brought up again, and
        /// once more when also the last news of a fall has come.
        fn end_well(&mut self) {
            self.demand = Demand::default();
            for _ in 0..2 {
                for (service, wish) in &self.desired.services {
                    let command = match wish.mode {
                        ActivationMode::Always => Command::Wake(service.clone()),
                        ActivationMode::OnDemand => Command::Retry(service.clone()),
                    };
                    self.machine.handle_command(command, self.now);
                }
                self.pass();
                for _ in 0..60 {
                    while !self.open.is_empty() {
                        self.answer(0, None);
                        self.pass();
                    }
                    self.wait(Duration::from_secs(2));
                    self.pass();
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_story_keeps_the_rules_and_ends_well(
            happenings in prop::collection::vec(happening(), 0..120),
            frozen in any::<bool>(),
            restart in prop::sample::select(vec![
                Restart::No,
                Restart::Always,
                Restart::OnFailure { attempts_max: Some(2) },
            ]),
        ) {
            let rest = if frozen { Rest::Frozen } else { Rest::Stopped };
            let mut story = Story::new(desired(rest, restart));
            story.pass();
            for happening in &happenings {
                story.happen(happening);
            }
            story.end_well();
            let report = story.pass_once().report;
            for (service, wish) in &story.desired.services {
                let state = report.services[service].state;
                let expected = match wish.mode {
                    ActivationMode::Always => ServiceState::Running,
                    ActivationMode::OnDemand => ServiceState::Asleep,
                };
                prop_assert_eq!(state, expected, "{}: {:?}", service, report.services[service]);
            }
        }
    }
}
