//! Which services are wanted: those of active profiles, or those asked for and what they need.

use std::collections::{BTreeMap, BTreeSet};

use model::ServiceName;

use crate::diagnostic::{Finding, Findings};
use crate::load::Selection;
use crate::lower::DraftService;

/// Keeps the wanted services; the others are returned, for messages.
pub(crate) fn select(
    services: &mut BTreeMap<ServiceName, DraftService>,
    selection: &Selection,
    profiles: &BTreeSet<String>,
    findings: &mut Findings,
) -> BTreeMap<ServiceName, DraftService> {
    let all = std::mem::take(services);
    let asked = match selection {
        Selection::All => BTreeSet::new(),
        Selection::Services(names) => known(names, &all, findings),
    };
    let mut profiles = profiles.clone();
    for service in asked.iter().filter_map(|name| all.get(name)) {
        // Asking for a service is asking for its profiles (compose-spec, "Profiles").
        profiles.extend(service.profiles.iter().cloned());
    }
    let (active, mut inactive): (BTreeMap<_, _>, _) = all.into_iter().partition(|(_, service)| {
        service.profiles.is_empty()
            || profiles.contains("*")
            || service
                .profiles
                .iter()
                .any(|profile| profiles.contains(profile))
    });
    let wanted = match selection {
        Selection::All => active.keys().cloned().collect(),
        Selection::Services(_) => with_dependencies(asked, &active),
    };
    let (kept, further) = active
        .into_iter()
        .partition(|(name, _)| wanted.contains(name));
    *services = kept;
    inactive.extend(further);
    if services.is_empty()
        && let Some(first) = inactive.values().next()
        && *selection == Selection::All
    {
        let profiles: BTreeSet<&String> = inactive.values().flat_map(|s| &s.profiles).collect();
        let profiles: Vec<&str> = profiles.into_iter().map(String::as_str).collect();
        let finding = Finding::warning(first.span, "no service is in an active profile")
            .help(format!("the profiles are {}", profiles.join(", ")));
        findings.push(finding);
    }
    inactive
}

fn known(
    names: &BTreeSet<String>,
    all: &BTreeMap<ServiceName, DraftService>,
    findings: &mut Findings,
) -> BTreeSet<ServiceName> {
    let mut known = BTreeSet::new();
    for name in names {
        match all.get_key_value(name.as_str()) {
            Some((name, _)) => {
                known.insert(name.clone());
            }
            None => {
                let finding = Finding::nowhere(format!("there is no service {name:?}"));
                let close = findings.did_you_mean(name, all.keys().map(ServiceName::as_str));
                let list = || {
                    let names: Vec<_> = all.keys().map(ServiceName::as_str).collect();
                    format!("there are {}", names.join(", "))
                };
                findings.push(finding.help(close.unwrap_or_else(list)));
            }
        }
    }
    known
}

fn with_dependencies(
    asked: BTreeSet<ServiceName>,
    active: &BTreeMap<ServiceName, DraftService>,
) -> BTreeSet<ServiceName> {
    let mut wanted = BTreeSet::new();
    let mut next: Vec<ServiceName> = asked.into_iter().collect();
    while let Some(name) = next.pop() {
        let dependencies = active.get(&name).map(|service| service.dependencies.keys());
        if wanted.insert(name.clone()) {
            next.extend(dependencies.into_iter().flatten().cloned());
        }
    }
    wanted
}
