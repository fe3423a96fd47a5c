//! Which services are wanted: those of active profiles, or those asked for and what they need.

use std::collections::{BTreeMap, BTreeSet};

use text::{Entry, Finding, Findings, Node, Value};

use crate::load::Selection;

/// Keeps the wanted services of an app; the others are returned, for messages.
pub(crate) fn select(
    app: &mut Node,
    selection: &Selection,
    profiles: &BTreeSet<String>,
    findings: &mut Findings,
) -> Vec<Entry> {
    let Some(services) = app.get_mut("services") else {
        return Vec::new();
    };
    let Value::Mapping(all) = &mut services.value.value else {
        return Vec::new();
    };
    let wanted = wanted(all, selection, profiles, findings);
    let (kept, others): (Vec<Entry>, Vec<Entry>) = std::mem::take(all)
        .into_iter()
        .partition(|entry| wanted.contains(&entry.key.text));
    *all = kept;
    for service in all.iter_mut() {
        // It is wanted, whatever profiles are active where the resolved form is loaded.
        service.value.take("profiles");
    }
    if all.is_empty()
        && let Some(first) = others.first()
        && *selection == Selection::All
    {
        let profiles = others
            .iter()
            .flat_map(|service| profiles_of(&service.value));
        let profiles: BTreeSet<String> = profiles.collect();
        let profiles: Vec<String> = profiles.into_iter().collect();
        let finding = Finding::warning(first.key.span, "no service is in an active profile")
            .help(format!("the profiles are {}", profiles.join(", ")));
        findings.push(finding);
    }
    others
}

/// The profiles of a service.
pub(crate) fn profiles_of(service: &Node) -> Vec<String> {
    service.texts_at("profiles").unwrap_or_default()
}

fn wanted(
    all: &[Entry],
    selection: &Selection,
    profiles: &BTreeSet<String>,
    findings: &mut Findings,
) -> BTreeSet<String> {
    let by_name: BTreeMap<&str, &Node> = all
        .iter()
        .map(|entry| (entry.key.text.as_str(), &entry.value))
        .collect();
    let asked = match selection {
        Selection::All => BTreeSet::new(),
        Selection::Services(names) => known(names, &by_name, findings),
    };
    let mut profiles = profiles.clone();
    // Asking for a service is asking for its profiles (compose-spec, "Profiles").
    profiles.extend(
        asked
            .iter()
            .filter_map(|name| by_name.get(name))
            .flat_map(|s| profiles_of(s)),
    );
    let is_active = |service: &Node| {
        let own = profiles_of(service);
        own.is_empty() || profiles.contains("*") || own.iter().any(|own| profiles.contains(own))
    };
    let active = by_name.iter().filter(|(_, service)| is_active(service));
    let active: BTreeMap<&str, &Node> = active.map(|(name, service)| (*name, *service)).collect();
    let wanted = match selection {
        Selection::All => active.keys().copied().collect(),
        Selection::Services(_) => with_dependencies(&asked, &active),
    };
    wanted.into_iter().map(str::to_owned).collect()
}

fn known<'a>(
    names: &BTreeSet<String>,
    all: &BTreeMap<&'a str, &Node>,
    findings: &mut Findings,
) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    for name in names {
        if let Some((name, _)) = all.get_key_value(name.as_str()) {
            known.insert(*name);
            continue;
        }
        let finding = Finding::nowhere(format!("there is no service {name:?}"));
        let close = findings.did_you_mean(name, all.keys().copied());
        let list = || {
            let names: Vec<&str> = all.keys().copied().collect();
            format!("there are {}", names.join(", "))
        };
        findings.push(finding.help(close.unwrap_or_else(list)));
    }
    known
}

fn with_dependencies<'a>(
    asked: &BTreeSet<&str>,
    active: &BTreeMap<&'a str, &'a Node>,
) -> BTreeSet<&'a str> {
    let mut wanted = BTreeSet::new();
    let mut next: Vec<&str> = asked.iter().copied().collect();
    while let Some(name) = next.pop() {
        let Some((name, service)) = active.get_key_value(name) else {
            continue;
        };
        if wanted.insert(*name) {
            let dependencies = service.entries_at("depends_on").iter();
            next.extend(dependencies.map(|entry| entry.key.text.as_str()));
        }
    }
    wanted
}
