//! What a seed makes: an app, its call graph, and how much goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{
    ActivationMode, AppName, AppSpec, Condition, Dependency, HealthTest, Healthcheck, Image,
    NetworkName, NetworkSpec, Port, Rest, Restart, Revision, ServiceName, ServiceSpec, Transport,
};
use plan::{Desired, ServiceDesired, Wish};

use crate::random::Random;

/// The port that every service with a port has.
const PORT: u16 = 80;

/// A seed's world.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) spec: Arc<AppSpec>,
    pub(crate) desired: Desired,
    pub(crate) faults: Faults,
}

/// How often something goes wrong, in a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) start_fails: u64,
    pub(crate) start_is_forbidden: u64,
    pub(crate) program_ends_at_start: u64,
    pub(crate) step_fails: u64,
    /// The step is done, but after its deadline.
    pub(crate) step_is_late: u64,
    pub(crate) probe_flaps: u64,
    pub(crate) event_is_lost: u64,
    pub(crate) event_is_late: u64,
    pub(crate) observation_fails: u64,
    pub(crate) observation_is_stale: u64,
    /// Whether programs end by themselves, and the daemon dies.
    pub(crate) deaths: bool,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        start_fails: 0,
        start_is_forbidden: 0,
        program_ends_at_start: 0,
        step_fails: 0,
        step_is_late: 0,
        probe_flaps: 0,
        event_is_lost: 0,
        event_is_late: 0,
        observation_fails: 0,
        observation_is_stale: 0,
        deaths: false,
    };

    fn random(random: &mut Random) -> Self {
        let mut rate = |high| random.between(0, 2) * high / 2;
        Self {
            start_fails: rate(300),
            start_is_forbidden: rate(10),
            program_ends_at_start: rate(200),
            step_fails: rate(200),
            step_is_late: rate(100),
            probe_flaps: rate(300),
            event_is_lost: rate(300),
            event_is_late: rate(300),
            observation_fails: rate(300),
            observation_is_stale: rate(500),
            deaths: true,
        }
    }
}

impl Scenario {
    /// The world of a seed. In one of four nothing goes wrong, so no call may fail there.
    pub(crate) fn new(seed: u64, random: &mut Random) -> Self {
        let app = AppName::new("sim").expect("a valid name");
        let network = NetworkName::new("default").expect("a valid name");
        let count = random.between(2, 6);
        let names: Vec<ServiceName> = (0..count).map(name).collect();
        let services: BTreeMap<_, _> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let mut spec = service(name, &names[at + 1..], random);
                spec.networks = Arc::new([(network.clone(), BTreeSet::new())].into());
                (name.clone(), Arc::new(spec))
            })
            .collect();
        let wished = |(name, spec): (&ServiceName, &Arc<ServiceSpec>)| {
            let desired = ServiceDesired::new(Arc::clone(spec), Revision::FIRST);
            (name.clone(), desired)
        };
        Self {
            desired: Desired {
                app: app.clone(),
                wish: Wish::Up,
                services: services.iter().map(wished).collect(),
            },
            spec: Arc::new(AppSpec {
                name: app,
                services,
                networks: BTreeMap::from([(network, NetworkSpec::default())]),
                volumes: BTreeMap::new(),
            }),
            faults: match seed % 4 {
                0 => Faults::NONE,
                _ => Faults::random(random),
            },
        }
    }
}

fn name(at: u64) -> ServiceName {
    ServiceName::new(&format!("s{at}")).expect("a valid name")
}

/// A service that may depend on those after it.
fn service(name: &ServiceName, later: &[ServiceName], random: &mut Random) -> ServiceSpec {
    let mut spec = ServiceSpec::new(name.clone(), Image::Host);
    spec.activation.mode = match random.between(0, 2) {
        0 => ActivationMode::Always,
        _ => ActivationMode::OnDemand,
    };
    spec.activation.rest = match random.between(0, 1) {
        0 => Rest::Frozen,
        _ => Rest::Stopped,
    };
    spec.activation.idle = random.millis(1000, 8000);
    spec.restart = match random.between(0, 4) {
        0 => Restart::No,
        1 => Restart::OnFailure {
            attempts_max: Some(5),
        },
        2 => Restart::UnlessStopped,
        _ => Restart::Always,
    };
    spec.scale.instances = random.between(1, 3) as u32;
    spec.scale.instances_max = spec.scale.instances + random.between(0, 2) as u32;
    spec.stop_grace_period = random.millis(1000, 5000);
    match random.between(0, 3) {
        0 => {}
        1 => {
            let mut check = Healthcheck::new(HealthTest::Shell("true".to_owned()));
            check.interval = Duration::from_secs(2);
            check.timeout = Duration::from_secs(1);
            spec.healthcheck = Some(check);
        }
        _ => {
            let transport = Transport::Tcp;
            let number = PORT;
            spec.expose.insert(Port { number, transport });
        }
    }
    for dependency in later {
        if random.chance(300) {
            let condition = match random.between(0, 1) {
                0 => Condition::Started,
                _ => Condition::Healthy,
            };
            let required = !random.chance(200);
            let restart = random.chance(100);
            let wish = Dependency {
                condition,
                required,
                restart,
            };
            spec.depends_on.insert(dependency.clone(), wish);
        }
    }
    spec
}
