//! The immutable state by which calls are routed.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AppName, InstanceId, Moment, ServiceName, ServiceSpec};

use crate::{Activity, Directory, Endpoint, InFlight, balance};

/// Which of two snapshots is newer: the one with the larger number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation(pub u64);

/// Everything that the data plane needs to know to route a call.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// The apps that are up.
    pub apps: BTreeMap<AppName, Arc<App>>,
}

impl Snapshot {
    /// A service of an app.
    #[must_use]
    pub fn service(&self, app: &AppName, service: &ServiceName) -> Option<&Arc<Service>> {
        self.apps.get(app)?.services.get(service)
    }

    /// The snapshot after this one, in which `app` is as given, or gone.
    #[must_use]
    pub fn with(&self, name: &AppName, app: Option<Arc<App>>) -> Self {
        let mut apps = self.apps.clone();
        match app {
            Some(app) => apps.insert(name.clone(), app),
            None => apps.remove(name),
        };
        Self {
            generation: Generation(self.generation.0 + 1),
            apps,
        }
    }
}

/// An app as calls see it.
#[derive(Debug)]
pub struct App {
    /// Its names and addresses.
    pub directory: Arc<Directory>,
    /// Its services.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
}

/// What becomes of a call for which there is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It is held: an endpoint is there, or will be.
    Held,
    /// It is refused at once, for this reason in words.
    Refused(Arc<str>),
}

/// A service as calls see it.
#[derive(Debug)]
pub struct Service {
    /// The Spec of its current revision.
    pub spec: Arc<ServiceSpec>,
    /// Its ready instances, by id.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What becomes of a call while there is no endpoint.
    pub availability: Availability,
    /// Its demand.
    pub activity: Arc<Activity>,
}

impl Service {
    /// Whether an instance is one of its endpoints.
    #[must_use]
    pub fn has(&self, instance: &InstanceId) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.instance() == instance)
    }

    /// Enters the cheaper of two endpoints chosen at random, by latency and calls in flight, leaving out
    /// `tried` and those that are ejected while there are others. `random` is 64 fresh bits.
    /// `None`: there is no endpoint that admits.
    #[must_use]
    pub fn enter(&self, now: Moment, random: u64, tried: &[InstanceId]) -> Option<InFlight> {
        let all = &self.endpoints;
        if tried.is_empty() && !self.activity.has_ejected(now) {
            return self.enter_one_of(all, now, random);
        }
        let untried = all
            .iter()
            .filter(|endpoint| !tried.contains(endpoint.instance()));
        let untried: Vec<_> = untried.cloned().collect();
        let ejected = all.iter().filter(|endpoint| endpoint.is_ejected(now));
        if ejected.count() * 2 <= all.len() {
            let trusted = untried.iter().filter(|endpoint| !endpoint.is_ejected(now));
            let trusted: Vec<_> = trusted.cloned().collect();
            let entered = self.enter_one_of(&trusted, now, random);
            if entered.is_some() {
                return entered;
            }
        }
        self.enter_one_of(&untried, now, random)
            .or_else(|| self.enter_one_of(all, now, random))
    }

    fn enter_one_of(
        &self,
        endpoints: &[Arc<Endpoint>],
        now: Moment,
        random: u64,
    ) -> Option<InFlight> {
        let cost = |place: usize| endpoints[place].cost(now);
        let [best, other] = balance::two_choices(endpoints.len(), random, cost)?;
        endpoints[best]
            .enter(&self.activity)
            .or_else(|| endpoints[other].enter(&self.activity))
            .or_else(|| {
                endpoints
                    .iter()
                    .find_map(|endpoint| endpoint.enter(&self.activity))
            })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Image, Revision};

    use super::*;

    fn service(instances: u32) -> Service {
        let name = ServiceName::new("s").unwrap();
        let id = |number| InstanceId {
            app: AppName::new("a").unwrap(),
            service: name.clone(),
            number,
        };
        let endpoint = |n| Arc::new(Endpoint::new(id(n), Revision::FIRST, Arc::new(|| ())));
        Service {
            spec: Arc::new(ServiceSpec::new(name.clone(), Image::Host)),
            endpoints: (1..=instances).map(endpoint).collect(),
            availability: Availability::Held,
            activity: Arc::new(Activity::new(Arc::new(|| ()))),
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): enough for a test.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn calls_that_stay_spread_evenly_over_the_endpoints() {
        let service = service(8);
        let mut state = 7;
        let calls: Vec<_> = (0..800)
            .filter_map(|_| service.enter(Moment::ZERO, random(&mut state), &[]))
            .collect();
        assert_eq!(calls.len(), 800);
        for endpoint in &service.endpoints {
            assert!((95..=105).contains(&endpoint.in_flight()), "{endpoint:?}");
        }
    }

    #[test]
    fn a_retry_goes_elsewhere_while_there_is_an_elsewhere() {
        let service = service(3);
        let mut state = 3;
        let tried = [
            service.endpoints[0].instance().clone(),
            service.endpoints[1].instance().clone(),
        ];
        for _ in 0..50 {
            let call = service
                .enter(Moment::ZERO, random(&mut state), &tried)
                .unwrap();
            assert_eq!(call.endpoint().instance().number, 3);
        }
        service.endpoints[2].close();
        assert!(
            service
                .enter(Moment::ZERO, random(&mut state), &tried)
                .is_some()
        );
    }

    #[test]
    fn a_closed_endpoint_is_never_entered() {
        let service = service(2);
        service.endpoints[0].close();
        let mut state = 5;
        for _ in 0..50 {
            let call = service
                .enter(Moment::ZERO, random(&mut state), &[])
                .unwrap();
            assert_eq!(call.endpoint().instance().number, 2);
        }
        service.endpoints[1].close();
        assert!(
            service
                .enter(Moment::ZERO, random(&mut state), &[])
                .is_none()
        );
    }

    #[test]
    fn an_endpoint_that_fails_is_left_out_then_called_a_little_and_then_as_before() {
        let service = service(4);
        let at = |seconds| Moment::from_zero(Duration::from_secs(seconds));
        let bad = Arc::clone(&service.endpoints[0]);
        let mut state = 7;
        let mut share = |now: Moment, failing: bool| {
            let mut calls = 0;
            for _ in 0..4000 {
                let call = service.enter(now, random(&mut state), &[]).unwrap();
                call.count();
                let is_bad = Arc::ptr_eq(call.endpoint(), &bad);
                calls += u32::from(is_bad);
                if is_bad && failing {
                    call.failed(now);
                } else {
                    call.answered(200, Duration::from_millis(1), now);
                }
            }
            calls
        };
        let failing = share(at(1), true);
        for _ in 0..5 {
            bad.enter(&service.activity).unwrap().failed(at(2));
        }
        let (ejected, returning) = (share(at(11), false), share(at(13), false));
        let returned = share(at(90), false);
        eprintln!("of 4000 calls it got {failing}, {ejected}, {returning}, {returned}");
        assert!((1..=5).contains(&failing), "{failing}");
        assert_eq!(ejected, 0);
        assert!((1..400).contains(&returning), "{returning}");
        assert!((900..1100).contains(&returned), "{returned}");
    }

    #[test]
    fn no_call_is_refused_because_most_endpoints_fail() {
        let service = service(3);
        let mut state = 5;
        let mut calls = [0; 3];
        for _ in 0..3000 {
            let call = service
                .enter(Moment::ZERO, random(&mut state), &[])
                .unwrap();
            calls[call.endpoint().instance().number as usize - 1] += 1;
            call.failed(Moment::ZERO);
        }
        // Two of the three are ejected, which is more than is believed.
        let ejected = |endpoint: &&Arc<Endpoint>| endpoint.is_ejected(Moment::ZERO);
        assert_eq!(service.endpoints.iter().filter(ejected).count(), 2);
        assert!(
            calls.iter().filter(|&&calls| calls > 500).count() >= 2,
            "{calls:?}"
        );
    }
}
