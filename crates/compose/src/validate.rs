//! What no single key shows: names that nothing answers to, cycles, ports that are taken twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{NetworkName, NetworkSpec, ServiceName, Transport, VolumeName};

use crate::diagnostic::{Finding, Findings};
use crate::lower::{DraftApp, DraftService};
use crate::source::Span;

/// Reports what is wrong between the parts of an app. `others` are its services that are not
/// wanted. What is missing but not required is taken out.
pub(crate) fn validate(
    app: &mut DraftApp,
    others: &BTreeMap<ServiceName, DraftService>,
    findings: &mut Findings,
) {
    dependencies(app, others, findings);
    cycles(&app.services, findings);
    networks(app, findings);
    volumes(app, findings);
    published(app, findings);
}

fn dependencies(
    app: &mut DraftApp,
    others: &BTreeMap<ServiceName, DraftService>,
    findings: &mut Findings,
) {
    let known: BTreeSet<ServiceName> = app.services.keys().cloned().collect();
    for (name, service) in &mut app.services {
        for (dependency, span) in &service.dependencies {
            if dependency == name {
                let finding = Finding::error(*span, format!("service {name} depends on itself"))
                    .help("remove this dependency");
                findings.push(finding);
            }
            if known.contains(dependency) {
                continue;
            }
            let required = service
                .spec
                .depends_on
                .get(dependency)
                .is_some_and(|d| d.required);
            service.spec.depends_on.remove(dependency);
            match others.get(dependency) {
                Some(other) if required => findings.push(asleep(name, dependency, *span, other)),
                Some(_) => {}
                None if required => undefined(
                    findings,
                    *span,
                    format!("service {name} depends on {dependency}, which is not defined"),
                    dependency.as_str(),
                    known.iter().map(ServiceName::as_str),
                    format!("define {dependency} under `services:`, or remove it here"),
                ),
                None => {
                    let message = format!("service {name} would wait for {dependency}");
                    let finding = Finding::warning(*span, message)
                        .because("there is no such service")
                        .help("it is not required, so nothing is waited for");
                    findings.push(finding);
                }
            }
        }
    }
}

fn asleep(
    name: &ServiceName,
    dependency: &ServiceName,
    span: Span,
    other: &DraftService,
) -> Finding {
    let profiles = other.profiles.join(", ");
    Finding::error(
        span,
        format!("service {name} depends on {dependency}, whose profile is not active"),
    )
    .also(other.span, format!("in the profile {profiles}"))
    .help("activate the profile, or say `required: false`")
}

/// Reports a name that nothing has: perhaps another was meant, else `help` says what to do.
fn undefined<'a>(
    findings: &mut Findings,
    span: Span,
    message: String,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    help: String,
) {
    let finding = Finding::error(span, message).because("nothing has this name");
    let close = findings.did_you_mean(name, known);
    findings.push(finding.help(close.unwrap_or(help)));
}

/// The most cycles that are reported; each draws its path.
const CYCLES_MAX: usize = 20;
/// The most services of a cycle that are drawn.
const DRAWN_MAX: usize = 12;

/// Reports each cycle of dependencies once, from its first service on.
fn cycles(services: &BTreeMap<ServiceName, DraftService>, findings: &mut Findings) {
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    let mut reported = 0;
    for start in services.keys() {
        // The path from `start`, each service with what is left to visit from it.
        let mut path: Vec<(&ServiceName, Vec<&ServiceName>)> = Vec::new();
        let mut on_path: BTreeSet<&ServiceName> = BTreeSet::new();
        let mut next = Some(start).filter(|start| !done.contains(start));
        loop {
            if let Some(name) = next.take() {
                let dependencies = services.get(name).map(|s| s.dependencies.keys());
                // Itself is reported as such.
                let further = dependencies.into_iter().flatten().filter(|d| *d != name);
                path.push((name, further.collect()));
                on_path.insert(name);
            }
            let Some((name, further)) = path.last_mut() else {
                break;
            };
            match further.pop() {
                Some(dependency) if on_path.contains(dependency) => {
                    reported += 1;
                    if reported > CYCLES_MAX {
                        return;
                    }
                    let (from, name) = (dependency, *name);
                    let names: Vec<&ServiceName> = path.iter().map(|(name, _)| *name).collect();
                    findings.push(cycle(services, &names, from, name));
                }
                Some(dependency) if services.contains_key(dependency) => {
                    next = Some(dependency).filter(|d| !done.contains(d));
                }
                Some(_) => {}
                None => {
                    done.insert(name);
                    on_path.remove(*name);
                    path.pop();
                }
            }
        }
    }
}

fn cycle(
    services: &BTreeMap<ServiceName, DraftService>,
    path: &[&ServiceName],
    from: &ServiceName,
    last: &ServiceName,
) -> Finding {
    let names = path.iter().skip_while(|name| **name != from);
    let mut drawn: Vec<&str> = names.map(|name| name.as_str()).collect();
    drawn.push(from.as_str());
    if drawn.len() > DRAWN_MAX {
        drawn.splice(DRAWN_MAX - 3..drawn.len() - 2, ["…"]);
    }
    let service = services.get(last);
    let span = service.and_then(|s| s.dependencies.get(from)).copied();
    Finding::error(
        span.unwrap_or_default(),
        format!(
            "services depend on each other in a circle: {}",
            drawn.join(" -> ")
        ),
    )
    .because("this closes the circle")
    .help("a service starts after those it depends on; remove one of these dependencies")
}

fn networks(app: &mut DraftApp, findings: &mut Findings) {
    for (name, service) in &app.services {
        for (network, span) in &service.networks {
            if app.networks.contains_key(network) {
                continue;
            }
            if network.as_str() == "default" {
                app.networks.insert(network.clone(), NetworkSpec::default());
                continue;
            }
            let message =
                format!("service {name} is on the network {network}, which is not defined");
            let known = app.networks.keys().map(NetworkName::as_str);
            let help = format!("add it at the top: `networks: {{ {network}: }}`");
            undefined(findings, *span, message, network.as_str(), known, help);
        }
    }
}

fn volumes(app: &DraftApp, findings: &mut Findings) {
    for (name, service) in &app.services {
        for (volume, span) in &service.volumes {
            if app.volumes.contains_key(volume) {
                continue;
            }
            let message =
                format!("service {name} mounts the volume {volume}, which is not defined");
            let known = app.volumes.keys().map(VolumeName::as_str);
            let help = format!(
                "add it at the top: `volumes: {{ {volume}: }}`; a path of this machine begins with \
                 ./ or /"
            );
            undefined(findings, *span, message, volume.as_str(), known, help);
        }
    }
}

/// Who listens on a port, by address; absent is every address.
type Listeners<'a> = BTreeMap<Option<IpAddr>, (&'a ServiceName, Span)>;

fn published(app: &DraftApp, findings: &mut Findings) {
    let mut taken: BTreeMap<(u16, Transport), Listeners<'_>> = BTreeMap::new();
    for (name, service) in &app.services {
        for (publish, span) in service.spec.publish.iter().zip(&service.publish) {
            let Some(port) = publish.published else {
                continue;
            };
            let listeners = taken.entry((port, publish.target.transport)).or_default();
            let address = publish.address.filter(|address| !address.is_unspecified());
            let same = match address {
                Some(_) => listeners.get(&address).or_else(|| listeners.get(&None)),
                None => listeners.values().next(),
            };
            if let Some((other, first)) = same {
                let finding = Finding::error(*span, format!("port {port} is published twice"))
                    .because(format!("by {name}"))
                    .also(*first, format!("by {other}"))
                    .help("publish one of them on another port of this machine");
                findings.push(finding);
            } else {
                listeners.insert(address, (name, *span));
            }
        }
    }
}
