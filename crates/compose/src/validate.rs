//! What no single key shows: names that nothing answers to, cycles, ports that are taken twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use text::{Entry, Finding, Findings, Node, Span, Value};

use crate::normalise::range;
use crate::select::profiles_of;

/// Reports what is wrong between the parts of an app. `others` are its services that are not
/// wanted. What is missing but not required is taken out.
pub(crate) fn validate(app: &mut Node, others: &[Entry], findings: &mut Findings) {
    dependencies(app, others, findings);
    let declared = declared(app);
    let services = app.entries_at("services");
    cycles(services, findings);
    for service in services {
        references(&declared, service, findings);
        alone(service, findings);
    }
    published(services, findings);
}

fn dependencies(app: &mut Node, others: &[Entry], findings: &mut Findings) {
    let names = app.entries_at("services").iter();
    let known: BTreeSet<String> = names.map(|entry| entry.key.text.clone()).collect();
    let others: BTreeMap<&str, &Entry> = others
        .iter()
        .map(|entry| (entry.key.text.as_str(), entry))
        .collect();
    let Some(services) = app.get_mut("services") else {
        return;
    };
    for service in services.value.entries_mut() {
        let Some(dependencies) = service.value.get_mut("depends_on") else {
            continue;
        };
        let Value::Mapping(entries) = &mut dependencies.value.value else {
            continue;
        };
        entries.retain(|entry| {
            let is_known = known.contains(&entry.key.text);
            if !is_known {
                let other = others.get(entry.key.text.as_str()).copied();
                absent(&service.key.text, entry, other, &known, findings);
            }
            is_known
        });
    }
}

/// Says what there is to say of a dependency on a service that is not there; `other` is it, when
/// it is there and not wanted.
fn absent(
    name: &str,
    entry: &Entry,
    other: Option<&Entry>,
    known: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let (dependency, span) = (entry.key.text.as_str(), entry.key.span);
    let required = entry.value.flag_at("required") != Some(false);
    match other {
        None if required => {
            let message = format!("service {name} depends on {dependency}, which is not defined");
            let known = known.iter().map(String::as_str);
            let help = format!("define {dependency} under `services:`, or remove it here");
            undefined(findings, span, message, dependency, known, help);
        }
        None => {
            let message = format!("service {name} would wait for {dependency}");
            let finding = Finding::warning(span, message)
                .because("there is no such service")
                .help("it is not required, so nothing is waited for");
            findings.push(finding);
        }
        Some(other) if required => {
            let profiles = profiles_of(&other.value).join(", ");
            let message =
                format!("service {name} depends on {dependency}, whose profile is not active");
            let finding = Finding::error(span, message)
                .also(other.key.span, format!("in the profile {profiles}"))
                .help("activate the profile, or say `required: false`");
            findings.push(finding);
        }
        Some(_) => {}
    }
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

/// Where each dependency of each service is written.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Span>>;

/// Reports each cycle of dependencies once, from its first service on.
fn cycles(services: &[Entry], findings: &mut Findings) {
    let mut graph = Graph::new();
    for service in services {
        let name = service.key.text.as_str();
        let dependencies = service.value.entries_at("depends_on").iter();
        let dependencies = dependencies.map(|entry| (entry.key.text.as_str(), entry.key.span));
        let mut dependencies: BTreeMap<&str, Span> = dependencies.collect();
        if let Some(span) = dependencies.remove(name) {
            let finding = Finding::error(span, format!("service {name} depends on itself"))
                .help("remove this dependency");
            findings.push(finding);
        }
        graph.insert(name, dependencies);
    }
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut reported = 0;
    for start in graph.keys().copied() {
        // The path from `start`, each service with what is left to visit from it.
        let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut on_path: BTreeSet<&str> = BTreeSet::new();
        let mut next = Some(start).filter(|start| !done.contains(start));
        loop {
            if let Some(name) = next.take() {
                let further = graph.get(name).into_iter().flat_map(BTreeMap::keys);
                path.push((name, further.copied().collect()));
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
                    let last = *name;
                    let names: Vec<&str> = path.iter().map(|(name, _)| *name).collect();
                    findings.push(cycle(&graph, &names, dependency, last));
                }
                Some(dependency) => next = Some(dependency).filter(|d| !done.contains(d)),
                None => {
                    done.insert(name);
                    on_path.remove(*name);
                    path.pop();
                }
            }
        }
    }
}

fn cycle(graph: &Graph<'_>, path: &[&str], from: &str, last: &str) -> Finding {
    let names = path.iter().skip_while(|name| **name != from);
    let mut drawn: Vec<&str> = names.copied().chain([from]).collect();
    if drawn.len() > DRAWN_MAX {
        drawn.splice(DRAWN_MAX - 3..drawn.len() - 2, ["…"]);
    }
    let span = graph
        .get(last)
        .and_then(|dependencies| dependencies.get(from));
    let drawn = drawn.join(" -> ");
    Finding::error(
        span.copied().unwrap_or_default(),
        format!("services depend on each other in a circle: {drawn}"),
    )
    .because("this closes the circle")
    .help("a service starts after those it depends on; remove one of these dependencies")
}

/// The names in each section.
type Declared<'a> = BTreeMap<&'static str, BTreeSet<&'a str>>;

fn declared(app: &Node) -> Declared<'_> {
    let names = |section: &str| {
        let entries = app.entries_at(section).iter();
        entries.map(|entry| entry.key.text.as_str()).collect()
    };
    let sections = [
        "services", "networks", "volumes", "configs", "secrets", "models",
    ];
    sections.map(|section| (section, names(section))).into()
}

/// Reports what a service names and the app does not define.
fn references(declared: &Declared<'_>, service: &Entry, findings: &mut Findings) {
    let (name, node) = (service.key.text.as_str(), &service.value);
    let mut named: Vec<(&'static str, &str, Span)> = Vec::new();
    for entry in node.entries_at("networks") {
        named.push(("networks", &entry.key.text, entry.key.span));
    }
    for mount in node.items_at("volumes") {
        if mount.text_at("type") == Some("volume")
            && let Some(source) = mount.at("source")
        {
            named.push(("volumes", source.as_text().unwrap_or_default(), source.span));
        }
    }
    for entry in node.entries_at("models") {
        named.push(("models", &entry.key.text, entry.key.span));
    }
    let build = node.at("build");
    let build = build.map_or(&[][..], |build| build.items_at("secrets"));
    let of_build = build.iter().map(|item| ("secrets", item));
    let secrets = node
        .items_at("secrets")
        .iter()
        .map(|item| ("secrets", item));
    let configs = node
        .items_at("configs")
        .iter()
        .map(|item| ("configs", item));
    for (section, item) in configs.chain(secrets).chain(of_build) {
        if let Some(source) = item.at("source") {
            named.push((section, source.as_text().unwrap_or_default(), source.span));
        }
    }
    let contexts = node.at("build");
    let contexts = contexts.map_or(&[][..], |build| build.entries_at("additional_contexts"));
    for context in contexts {
        let service = context
            .value
            .as_text()
            .and_then(|text| text.strip_prefix("service:"));
        named.extend(service.map(|service| ("services", service, context.value.span)));
    }
    for (section, of, span) in named {
        let Some(known) = declared.get(section).filter(|known| !known.contains(of)) else {
            continue;
        };
        let kind = section.trim_end_matches('s');
        let message = match section {
            "services" => format!("service {name} is built from {of}, which is not defined"),
            "networks" => format!("service {name} is on the network {of}, which is not defined"),
            "volumes" => format!("service {name} mounts the volume {of}, which is not defined"),
            _ => format!("service {name} uses the {kind} {of}, which is not defined"),
        };
        let help = match section {
            "volumes" => format!(
                "add it at the top: `volumes: {{ {of}: }}`; a path of this machine begins with \
                 ./ or /"
            ),
            "networks" => format!("add it at the top: `networks: {{ {of}: }}`"),
            _ => format!("add it at the top: `{section}: {{ {of}: {{ … }} }}`"),
        };
        undefined(findings, span, message, of, known.iter().copied(), help);
    }
}

/// Reports what in one service goes against the rest of it.
fn alone(service: &Entry, findings: &mut Findings) {
    let node = &service.value;
    let mut targets: BTreeMap<&str, Span> = BTreeMap::new();
    let tmpfs = node.items_at("tmpfs").iter();
    let tmpfs = tmpfs.filter_map(|item| Some((item.as_text()?.split(':').next()?, item.span)));
    let mounts = node.items_at("volumes").iter();
    let mounts = mounts.filter_map(|item| Some((item.text_at("target")?, item.span)));
    for (target, span) in mounts.chain(tmpfs) {
        if let Some(first) = targets.insert(target, span) {
            let finding = Finding::error(span, format!("{target} is mounted twice"))
                .also(first, "first here")
                .help("remove one of the two");
            findings.push(finding);
        }
    }
    let deploy = node.at("deploy");
    let replicas = deploy.and_then(|deploy| deploy.at("replicas"));
    let instances = node.at("scale").or(replicas);
    if let (Some(name), Some(instances)) = (node.get("container_name"), instances)
        && instances
            .as_number::<u64>()
            .is_some_and(|instances| instances > 1)
    {
        let message = "`container_name` names one instance only";
        let finding = Finding::error(name.key.span, message)
            .also(instances.span, "several are wished here")
            .help("remove the name, or wish for one instance");
        findings.push(finding);
    }
}

/// Who listens on a port, by address; absent is every address.
type Listeners<'a> = BTreeMap<Option<IpAddr>, (&'a str, Span)>;

fn published(services: &[Entry], findings: &mut Findings) {
    let mut taken: BTreeMap<(u16, &str), Listeners<'_>> = BTreeMap::new();
    for service in services {
        for port in service.value.items_at("ports") {
            let Some(published) = port.text_at("published").and_then(|text| range(text).ok())
            else {
                continue;
            };
            // Of a range for one port, the first that is free is taken.
            let number = *published.start();
            let protocol = port.text_at("protocol").unwrap_or("tcp");
            let listeners = taken.entry((number, protocol)).or_default();
            let address: Option<IpAddr> = port
                .text_at("host_ip")
                .and_then(|address| address.parse().ok());
            let address = address.filter(|address| !address.is_unspecified());
            let same = match address {
                Some(_) => listeners.get(&address).or_else(|| listeners.get(&None)),
                None => listeners.values().next(),
            };
            let name = service.key.text.as_str();
            if let Some((other, first)) = same {
                let message = format!("port {number} is published twice");
                let finding = Finding::error(port.span, message)
                    .because(format!("by {name}"))
                    .also(*first, format!("by {other}"))
                    .help("publish one of them on another port of this machine");
                findings.push(finding);
            } else {
                listeners.insert(address, (name, port.span));
            }
        }
    }
}
