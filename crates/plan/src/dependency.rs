//! What services wait for in each other: a start for its dependencies, an end for its dependants.

use std::collections::{BTreeMap, BTreeSet};

use model::{ActivationMode, Condition, ServiceName};

use crate::instance::Instance;
use crate::service::{Service, count};
use crate::{Reason, ServiceDesired};

/// How a service stands to a condition that a dependant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Met,
    OnItsWay,
    Failed,
}

/// What keeps services from starting.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// By the service that waits.
    pub(crate) reasons: BTreeMap<ServiceName, Vec<Reason>>,
    /// The services that are waited for until they have completed.
    pub(crate) awaited: BTreeSet<ServiceName>,
}

impl Waits {
    /// What keeps these services from starting. Those for which `runs` is false are neither
    /// started nor waited for.
    pub(crate) fn of(
        services: &BTreeMap<ServiceName, Service>,
        runs: impl Fn(&Service) -> bool,
    ) -> Self {
        let mut waits = Self::default();
        for (name, service) in services {
            if !runs(service) || !service.lacks_instances() {
                continue;
            }
            for (dependency, wish) in &service.desired.spec.depends_on {
                let Some(other) = services.get(dependency).filter(|other| runs(other)) else {
                    continue;
                };
                if other.rank >= service.rank {
                    continue;
                }
                let (dependency, condition) = (dependency.clone(), wish.condition);
                let reason = match other.standing(condition) {
                    Standing::Met => continue,
                    Standing::Failed if !wish.required => continue,
                    Standing::Failed => Reason::DependencyFailed {
                        dependency,
                        condition,
                    },
                    Standing::OnItsWay => {
                        if condition == Condition::CompletedSuccessfully {
                            waits.awaited.insert(dependency.clone());
                        }
                        Reason::WaitsFor {
                            dependency,
                            condition,
                        }
                    }
                };
                waits.reasons.entry(name.clone()).or_default().push(reason);
            }
        }
        waits
    }
}

impl Service {
    /// Whether it is awake and has fewer programs than wished.
    fn lacks_instances(&self) -> bool {
        let restart = self.desired.spec.restart;
        let stands = |i: &&Instance| self.is_current(i) && (i.is_live() || i.is_completed(restart));
        self.posture.is_awake()
            && count(self.instances.iter().filter(stands)) < self.desired.wanted()
    }

    fn standing(&self, condition: Condition) -> Standing {
        let restart = self.desired.spec.restart;
        let mut current = self.instances.iter().filter(|i| self.is_current(i));
        if condition == Condition::CompletedSuccessfully {
            let failed = |i: &Instance| i.is_let_be(restart) && !i.is_completed(restart);
            if self.refusal.is_some() || current.clone().any(failed) {
                return Standing::Failed;
            }
            let any = current.clone().next().is_some();
            let completed = any && current.all(|i| i.is_completed(restart));
            return if completed {
                Standing::Met
            } else {
                Standing::OnItsWay
            };
        }
        let sleeps = !self.posture.is_awake() || self.desired.mode == ActivationMode::OnDemand;
        let started = |i: &Instance| {
            i.pending.is_none() && (i.is_live() || i.is_completed(restart) || i.is_let_be(restart))
        };
        let met = match condition {
            Condition::Started => self.instances.iter().any(started),
            Condition::Healthy | Condition::CompletedSuccessfully => {
                self.instances.iter().any(Instance::is_ready)
            }
        };
        if met {
            return Standing::Met;
        }
        // Calls to one that sleeps are held, so a dependant may start.
        self.unless_failed(if sleeps {
            Standing::Met
        } else {
            Standing::OnItsWay
        })
    }

    fn unless_failed(&self, otherwise: Standing) -> Standing {
        let restart = self.desired.spec.restart;
        let mut current = self.instances.iter().filter(|i| self.is_current(i));
        let fell = self.posture.is_awake()
            && self.desired.mode == ActivationMode::Always
            && !self.instances.is_empty()
            && current.all(|instance| instance.is_let_be(restart));
        if fell || self.refusal.is_some() {
            return Standing::Failed;
        }
        otherwise
    }
}

/// For each service one that depends on it and still has programs, among those for which `ends`
/// is true.
pub(crate) fn dependants_first(
    services: &BTreeMap<ServiceName, Service>,
    ends: impl Fn(&Service) -> bool,
) -> BTreeMap<ServiceName, ServiceName> {
    let mut dependants = BTreeMap::new();
    for (name, service) in services {
        if !ends(service) || !service.is_live() {
            continue;
        }
        for dependency in service.desired.spec.depends_on.keys() {
            if services
                .get(dependency)
                .is_some_and(|other| other.rank < service.rank)
            {
                dependants.insert(dependency.clone(), name.clone());
            }
        }
    }
    dependants
}

/// For each service a number above those of all that it depends on. Services on a cycle, or that
/// depend on one, all get the largest number, so that none of them waits for another.
pub(crate) fn ranks(
    services: &BTreeMap<ServiceName, ServiceDesired>,
) -> BTreeMap<ServiceName, u32> {
    let mut dependants: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
    let mut open: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    for (name, service) in services {
        let known = |dependency: &&ServiceName| services.contains_key(*dependency);
        let dependencies = service.spec.depends_on.keys().filter(known);
        open.insert(name, dependencies.clone().count());
        for dependency in dependencies {
            dependants.entry(dependency).or_default().push(name);
        }
    }
    let free = open.iter().filter(|(_, count)| **count == 0);
    let mut ready: Vec<&ServiceName> = free.map(|(name, _)| *name).collect();
    let mut ranks: BTreeMap<ServiceName, u32> = services
        .keys()
        .map(|name| (name.clone(), u32::MAX))
        .collect();
    let mut rank = 0;
    while !ready.is_empty() {
        let mut following = Vec::new();
        for name in ready {
            ranks.insert(name.clone(), rank);
            for dependant in dependants.remove(name).unwrap_or_default() {
                let Some(count) = open.get_mut(dependant) else {
                    continue;
                };
                *count -= 1;
                if *count == 0 {
                    following.push(dependant);
                }
            }
        }
        ready = following;
        rank += 1;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Dependency, Image, Revision, ServiceSpec};

    use super::*;

    #[test]
    fn a_rank_is_above_those_of_the_dependencies_and_a_cycle_has_none() {
        let name = |text: &str| ServiceName::new(text).unwrap();
        let service = |own: &str, depends_on: &[&str]| {
            let mut spec = ServiceSpec::new(name(own), Image::Host);
            for other in depends_on {
                let dependency = Dependency {
                    condition: Condition::Started,
                    required: true,
                    restart: false,
                };
                spec.depends_on.insert(name(other), dependency);
            }
            let desired = ServiceDesired::new(Arc::new(spec), Revision::FIRST);
            (name(own), desired)
        };
        let services = BTreeMap::from([
            service("a", &["b", "c", "unknown"]),
            service("b", &["c"]),
            service("c", &[]),
            service("x", &["y"]),
            service("y", &["x"]),
            service("z", &["y"]),
        ]);
        let ranks: Vec<u32> = ranks(&services).into_values().collect();
        assert_eq!(ranks, [2, 1, 0, u32::MAX, u32::MAX, u32::MAX]);
    }
}
