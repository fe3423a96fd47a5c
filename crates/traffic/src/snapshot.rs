//! The immutable state by which calls are routed.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AppName, InstanceId, ServiceName, ServiceSpec};

use crate::{Activity, Directory, Endpoint, InFlight};

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

    /// Enters the less busy of two endpoints chosen at random (Mitzenmacher, "The Power of Two
    /// Choices", 2001), leaving out `tried` while there are others. `random` is 64 fresh bits.
    /// `None`: there is no endpoint that admits.
    #[must_use]
    pub fn enter(&self, random: u64, tried: &[InstanceId]) -> Option<InFlight> {
        let fresh = |endpoint: &&Arc<Endpoint>| !tried.contains(endpoint.instance());
        if tried.is_empty() {
            return self.enter_one_of(&self.endpoints, random);
        }
        let untried: Vec<_> = self.endpoints.iter().filter(fresh).cloned().collect();
        self.enter_one_of(&untried, random)
            .or_else(|| self.enter_one_of(&self.endpoints, random))
    }

    fn enter_one_of(&self, endpoints: &[Arc<Endpoint>], random: u64) -> Option<InFlight> {
        let count = endpoints.len();
        let [first, second] = two_of(count, random)?;
        let (a, b) = (&endpoints[first], &endpoints[second]);
        let (best, other) = if b.in_flight() < a.in_flight() {
            (b, a)
        } else {
            (a, b)
        };
        best.enter(&self.activity)
            .or_else(|| other.enter(&self.activity))
            .or_else(|| {
                endpoints
                    .iter()
                    .find_map(|endpoint| endpoint.enter(&self.activity))
            })
    }
}

/// Two different positions below `count` by 64 random bits; the same twice when there is one.
fn two_of(count: usize, random: u64) -> Option<[usize; 2]> {
    let scaled = |bits: u64, below: usize| ((bits * below as u64) >> 32) as usize;
    match count {
        0 => None,
        1 => Some([0, 0]),
        _ => {
            let first = scaled(random >> 32, count);
            let second = scaled(random & 0xffff_ffff, count - 1);
            Some([first, if second >= first { second + 1 } else { second }])
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn two_choices_are_different_positions_and_reach_all() {
        let mut state = 1;
        for count in 2..20 {
            let mut seen = vec![false; count];
            for _ in 0..2000 {
                let [a, b] = two_of(count, random(&mut state)).unwrap();
                assert!(a != b && a < count && b < count);
                seen[a] = true;
                seen[b] = true;
            }
            assert!(seen.iter().all(|&s| s), "{count}");
        }
    }

    #[test]
    fn calls_that_stay_spread_evenly_over_the_endpoints() {
        let service = service(8);
        let mut state = 7;
        let calls: Vec<_> = (0..800)
            .filter_map(|_| service.enter(random(&mut state), &[]))
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
            let call = service.enter(random(&mut state), &tried).unwrap();
            assert_eq!(call.endpoint().instance().number, 3);
        }
        service.endpoints[2].close();
        assert!(service.enter(random(&mut state), &tried).is_some());
    }

    #[test]
    fn a_closed_endpoint_is_never_entered() {
        let service = service(2);
        service.endpoints[0].close();
        let mut state = 5;
        for _ in 0..50 {
            let call = service.enter(random(&mut state), &[]).unwrap();
            assert_eq!(call.endpoint().instance().number, 2);
        }
        service.endpoints[1].close();
        assert!(service.enter(random(&mut state), &[]).is_none());
    }
}
