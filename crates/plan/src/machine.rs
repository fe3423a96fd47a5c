//! One app's machine: the services together, and what the engine tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{AppName, ExitStatus, InstanceId, Moment, ServiceName};

use crate::account::Circumstances;
use crate::advance::{Goal, Terms};
use crate::check::Before;
use crate::dependency::{Waits, dependants_first, ranks};
use crate::draft::{Draft, Tickets, Whose};
use crate::goals::Setting;
use crate::instance::Hearing;
use crate::posture::{self, Posture};
use crate::service::{Fate, Service};
use crate::{
    Action, Availability, Command, Demand, Desired, Fact, Happened, Pass, Reason, Report, Route,
    Selection, ServiceReport, ServiceState, Sighting, Ticket, Wish, check,
};

/// The wait before the engine is asked again when it did not tell.
const OBSERVE_WAIT: Duration = Duration::from_secs(1);

/// The state machine of one app (see the crate's doc for how it is driven).
#[derive(Debug)]
pub struct Machine {
    app: AppName,
    wish: Wish,
    pub(crate) services: BTreeMap<ServiceName, Service>,
    tickets: Tickets,
    passes: u64,
    observing: Observing,
    /// The newest ticket when a service was last forgotten.
    forgotten: Ticket,
    /// What happened since the last pass.
    events: Vec<Happened>,
}

/// What is known of what the engine knows.
#[derive(Debug, Default)]
struct Observing {
    /// It told once at least; before, nothing is decided.
    ever: bool,
    wanted: bool,
    asked: Option<Ticket>,
    not_before: Moment,
    why_not: Option<Arc<str>>,
}

impl Machine {
    /// A machine that knows no instance yet: its first pass asks the engine what there is, and
    /// it routes and starts nothing until that is told.
    #[must_use]
    pub fn new(desired: Desired, now: Moment) -> Self {
        let mut machine = Self {
            app: desired.app.clone(),
            wish: desired.wish,
            services: BTreeMap::new(),
            tickets: Tickets::default(),
            passes: 0,
            observing: Observing {
                wanted: true,
                ..Observing::default()
            },
            forgotten: Ticket::default(),
            events: Vec::new(),
        };
        machine.set_desired(desired, now);
        machine
    }

    /// Says anew what the app should be: specs and revisions, selection, scale, wish.
    pub fn set_desired(&mut self, desired: Desired, now: Moment) {
        let ran: Vec<ServiceName> = self
            .services
            .iter()
            .filter(|(_, service)| fate(self.wish, service) == Fate::Run)
            .map(|(name, _)| name.clone())
            .collect();
        self.wish = desired.wish;
        let ranks = ranks(&desired.services);
        for (name, service) in &mut self.services {
            service.leaving = !desired.services.contains_key(name);
        }
        for (name, wish) in desired.services {
            match self.services.get_mut(&name) {
                Some(service) => service.set_desired(wish, now),
                None => {
                    let service = Service::new(wish, now);
                    self.services.insert(name.clone(), service);
                }
            }
        }
        for (name, service) in &mut self.services {
            service.rank = ranks.get(name).copied().unwrap_or(service.rank);
            let runs = fate(self.wish, service) == Fate::Run;
            if runs && ran.binary_search(name).is_err() {
                service.resume(now);
            }
        }
    }

    /// Takes in what a person asks for. For a service that is not there, or is not to run,
    /// nothing is done; but only what is not to run is killed.
    pub fn handle_command(&mut self, command: Command, now: Moment) {
        let wish = self.wish;
        let Some(service) = self.services.get_mut(command.service()) else {
            return;
        };
        let is_kill = matches!(command, Command::Kill(_));
        if is_kill == (fate(wish, service) == Fate::Run) {
            return;
        }
        match command {
            Command::Wake(_) => service.wake(now),
            Command::Rest(_) => {
                service.rest_called_off = None;
                if service.posture.is_awake() {
                    let cause = posture::Cause::Command;
                    service.posture = Posture::Resting { cause };
                }
            }
            Command::Restart(_) => service.condemn(),
            Command::Retry(_) => service.retry(),
            Command::Kill(_) => service.kill(now),
        }
    }

    /// Takes in something that was answered or told.
    pub fn handle_fact(&mut self, fact: Fact, now: Moment) {
        match fact {
            Fact::Done { id, ticket } => self.hear(&id, now, |service, heard| {
                service.handle_done(&id, ticket, heard);
            }),
            Fact::Failed {
                id,
                ticket,
                failure,
            } => self.hear(&id, now, |service, heard| {
                service.handle_failed(&id, ticket, &failure, heard);
            }),
            Fact::Exited { id, status } => self.handle_exited(&id, status, now),
            Fact::Sighted { ticket, sightings } => self.handle_sighted(ticket, &sightings, now),
            Fact::Unsighted { ticket, why } => {
                if self
                    .observing
                    .asked
                    .take_if(|asked| *asked == ticket)
                    .is_some()
                {
                    self.observing.wanted = true;
                    self.observing.not_before = now + OBSERVE_WAIT;
                    self.observing.why_not = Some(why.into());
                }
            }
            Fact::Gap => self.observing.wanted = true,
        }
    }

    fn handle_exited(&mut self, id: &InstanceId, status: ExitStatus, now: Moment) {
        let known = self.services.get(&id.service);
        if !known.is_some_and(|service| service.has(id.number)) {
            // A list that is on its way may have it still running.
            self.observing.wanted |= self.observing.asked.is_some();
            return;
        }
        self.hear(id, now, |service, heard| {
            service.handle_exited(id.number, status, heard);
        });
    }

    fn handle_sighted(&mut self, ticket: Ticket, sightings: &[Sighting], now: Moment) {
        if self
            .observing
            .asked
            .take_if(|asked| *asked == ticket)
            .is_none()
        {
            return;
        }
        self.observing.ever = true;
        self.observing.why_not = None;
        let mut by_service: BTreeMap<ServiceName, Vec<&Sighting>> = BTreeMap::new();
        for sighting in sightings.iter().filter(|s| s.id.app == self.app) {
            let service = sighting.id.service.clone();
            by_service.entry(service).or_default().push(sighting);
        }
        for name in by_service.keys() {
            if self.services.contains_key(name) {
                continue;
            }
            if self.forgotten >= ticket {
                // Seen before it was removed, perhaps.
                self.observing.wanted = true;
                continue;
            }
            let unknown = Service::unknown(name, now);
            self.services.insert(name.clone(), unknown);
        }
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in names {
            let own = by_service.remove(&name).unwrap_or_default();
            let any = self.id(&name, 0);
            self.hear(&any, now, |service, heard| {
                service.handle_sighted(ticket, &own, heard);
            });
        }
    }

    pub(crate) fn id(&self, service: &ServiceName, number: u32) -> InstanceId {
        InstanceId {
            app: self.app.clone(),
            service: service.clone(),
            number,
        }
    }

    fn hear(
        &mut self,
        id: &InstanceId,
        now: Moment,
        tell: impl FnOnce(&mut Service, &mut Hearing),
    ) {
        let Some(service) = self.services.get_mut(&id.service) else {
            return;
        };
        let desired = service.desired.clone();
        let mut heard = Hearing {
            whose: Whose {
                app: &self.app,
                service: &id.service,
            },
            desired: &desired,
            now,
            newest: self.tickets.newest(),
            events: &mut self.events,
            doubt: false,
        };
        tell(service, &mut heard);
        self.observing.wanted |= heard.doubt;
    }

    /// Looks at what should be and what is, and decides. The routes of the pass before must have
    /// been applied before `demand` was read.
    pub fn pass(&mut self, demand: &Demand, now: Moment) -> Pass {
        let before = cfg!(debug_assertions).then(|| Before::of(self));
        let pass = self.make_pass(demand, now);
        if let Some(Err(violation)) = before.map(|before| check(&before, demand, &pass, now)) {
            debug_assert!(false, "a pass breaks the rules: {violation}");
        }
        pass
    }

    fn make_pass(&mut self, demand: &Demand, now: Moment) -> Pass {
        self.passes += 1;
        let mut tickets = std::mem::take(&mut self.tickets);
        let events = std::mem::take(&mut self.events);
        let mut draft = Draft::new(&mut tickets, events, self.passes, now);
        let accounts = if self.observing.ever {
            self.decide(demand, &mut draft)
        } else {
            self.decide_nothing()
        };
        self.observe(&mut draft);
        let Draft {
            steps,
            events,
            next,
            ..
        } = draft;
        self.tickets = tickets;
        let (routes, services): (Vec<_>, Vec<_>) = accounts
            .into_iter()
            .map(|(name, route, service)| ((name.clone(), route), (name, service)))
            .unzip();
        Pass {
            steps,
            routes: routes.into_iter().collect(),
            events,
            report: Report {
                observed: self.observing.ever,
                services: services.into_iter().collect(),
            },
            next,
        }
    }

    fn observe(&mut self, draft: &mut Draft) {
        self.observing.wanted |= draft.doubt;
        if !self.observing.wanted || self.observing.asked.is_some() {
            return;
        }
        if self.observing.not_before > draft.now {
            draft.due(self.observing.not_before);
            return;
        }
        self.observing.wanted = false;
        self.observing.asked = Some(draft.step(Action::Observe));
    }

    fn decide_nothing(&self) -> Vec<Account> {
        let reason = Reason::Unobserved {
            why: self.observing.why_not.clone(),
        };
        let account = |(name, service): (&ServiceName, &Service)| {
            let route = Route {
                ready: Vec::new(),
                availability: Availability::Held,
            };
            let report = ServiceReport {
                state: ServiceState::Unknown,
                reasons: vec![reason.clone()],
                revision: service.desired.revision,
                wanted: service.desired.wanted(),
                instances: Vec::new(),
            };
            (name.clone(), route, report)
        };
        self.services.iter().map(account).collect()
    }

    fn decide(&mut self, demand: &Demand, draft: &mut Draft) -> Vec<Account> {
        let waits = self.settle(demand, draft);
        let wish = self.wish;
        let dependants = dependants_first(&self.services, |s| fate(wish, s) != Fate::Run);
        let mut accounts = Vec::with_capacity(self.services.len());
        let mut replaced = Vec::new();
        for (name, service) in &mut self.services {
            let fate = fate(wish, service);
            let ending = dependants.get(name).filter(|_| fate != Fate::Run);
            let ending = ending.map(|dependant| Reason::DependantRuns {
                dependant: dependant.clone(),
            });
            let waits = match &ending {
                Some(reason) => std::slice::from_ref(reason),
                None => waits.reasons.get(name).map_or(&[][..], Vec::as_slice),
            };
            let about = Circumstances {
                whose: Whose {
                    app: &self.app,
                    service: name,
                },
                setting: Setting {
                    fate: &fate,
                    blocked: ending.is_none() && !waits.is_empty(),
                    dependant_runs: ending.is_some(),
                    demand: service.demand,
                },
                waits,
                demand,
            };
            service.advance(&about, draft);
            if service.take_replaced() {
                replaced.push(name.clone());
            }
            let account = (
                name.clone(),
                service.route(&about, draft),
                service.report(&about, draft),
            );
            accounts.push(account);
        }
        let known = self.services.len();
        self.services
            .retain(|_, service| !service.leaving || !service.instances.is_empty());
        if self.services.len() < known {
            self.forgotten = draft.tickets.newest();
            // No later pass need come, so this one tells of it no longer.
            accounts.retain(|(name, ..)| self.services.contains_key(name));
        }
        self.restart_dependants(&replaced, draft);
        accounts
    }

    /// Wakes what is called or waited for, rests what is idle; what is waited for.
    fn settle(&mut self, demand: &Demand, draft: &mut Draft) -> Waits {
        let wish = self.wish;
        // Both are in the order of their names: one walk, and no search for each.
        let mut demands = demand.services.iter().peekable();
        for (name, service) in &mut self.services {
            while demands.next_if(|(other, _)| *other < name).is_some() {}
            let own = demands.next_if(|(other, _)| *other == name);
            service.demand = own.map(|(_, demand)| *demand).unwrap_or_default();
            if fate(wish, service) == Fate::Run {
                let whose = Whose {
                    app: &self.app,
                    service: name,
                };
                service.settle_posture(whose, demand, draft);
            }
        }
        loop {
            let waits = Waits::of(&self.services, |s| fate(wish, s) == Fate::Run);
            let mut woken = false;
            for name in &waits.awaited {
                if let Some(service) = self.services.get_mut(name) {
                    woken |= !service.posture.is_awake();
                    service.posture = Posture::Awake {
                        quiet_since: draft.now,
                    };
                }
            }
            if !woken {
                return waits;
            }
        }
    }

    fn restart_dependants(&mut self, replaced: &[ServiceName], draft: &mut Draft) {
        if replaced.is_empty() {
            return;
        }
        for service in self.services.values_mut() {
            let depends_on = &service.desired.spec.depends_on;
            let restarts = |name| depends_on.get(name).is_some_and(|wish| wish.restart);
            if replaced.iter().any(restarts) {
                service.condemn();
                draft.due(draft.now);
            }
        }
    }
}

/// A service's share of a pass.
type Account = (ServiceName, Route, ServiceReport);

fn fate(wish: Wish, service: &Service) -> Fate {
    match (wish, service.desired.selection) {
        _ if service.leaving => Fate::Remove(Reason::Leaving),
        (Wish::Down, _) => Fate::Remove(Reason::AppStopped),
        (Wish::Stopped, _) => Fate::Stop(Reason::AppStopped),
        (Wish::Up, Selection::Unselected) => Fate::Stop(Reason::Unselected),
        (Wish::Up, Selection::Selected) => Fate::Run,
    }
}

impl Service {
    /// Takes the next step of each instance.
    fn advance(&mut self, about: &Circumstances, draft: &mut Draft) {
        let goals = self.choose_goals(about.setting, draft);
        let spec = Arc::clone(&self.desired.spec);
        let mut goals = goals.into_iter();
        self.instances.retain_mut(|instance| {
            let goal = goals.next().unwrap_or(Goal::Keep);
            if goal == Goal::Remove && instance.is_unstarted() {
                return false;
            }
            let terms = Terms {
                whose: about.whose,
                spec: &spec,
                ending: self.ending,
                wanted_port: about.setting.demand.wanted_port,
                in_flight: about.demand.in_flight(&about.whose.id(instance.number)),
            };
            instance.advance(goal, &terms, draft);
            true
        });
    }
}
