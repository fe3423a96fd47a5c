//! What one key of an app says of another.

use text::{Entry, Finding, Findings, Node, Span, Value};

use crate::schema::APP;

/// Completes the merged tree of an app of this name.
pub(crate) fn complete(app: &mut Node, name: &str, findings: &mut Findings) {
    app.take("version");
    app.take("name");
    let span = app.span;
    app.or_insert("name", Node::text(span, name));
    super::by_table(app, &APP, findings);
    if let Some(services) = app.get_mut("services") {
        for service in services.value.entries_mut() {
            complete_service(&mut service.value, findings);
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        if let Some(section) = app.get_mut(section) {
            let kind = section.key.text.clone();
            for entry in section.value.entries_mut() {
                name_of(entry, name, &kind, findings);
            }
        }
    }
    for (section, sources) in [
        ("configs", &["file", "environment", "content"][..]),
        ("secrets", &["file", "environment"][..]),
    ] {
        for entry in app.entries_at(section) {
            one_source(entry, section, sources, findings);
        }
    }
}

/// Puts services that are on no network on `default`, and declares that if one is on it.
pub(crate) fn default_network(app: &mut Node) {
    let name = app.text_at("name").unwrap_or_default();
    let name = format!("{name}_default");
    let Some(services) = app.get_mut("services") else {
        return;
    };
    let services = services.value.entries_mut().iter_mut();
    let Some(span) = services.filter_map(attach).reduce(|first, _| first) else {
        return;
    };
    app.or_insert("networks", Node::mapping(span, Vec::new()));
    if let Some(networks) = app.get_mut("networks") {
        let name = Entry::new(span, "name", Node::text(span, name));
        let default = Node::mapping(span, vec![name]);
        networks.value.or_insert("default", default);
    }
}

/// Puts a service that is on no network on the default one; where it is on that, if it is.
fn attach(service: &mut Entry) -> Option<Span> {
    let span = service.key.span;
    let node = &mut service.value;
    if node.at("provider").is_some() || node.at("network_mode").is_some() {
        return None;
    }
    if node.entries_at("networks").is_empty() {
        node.take("networks");
        let default = Entry::new(span, "default", Node::null(span));
        node.or_insert("networks", Node::mapping(span, vec![default]));
    }
    let default = node.at("networks")?.get("default")?;
    Some(default.key.span)
}

/// Gives a resource the name that it has outside of its app.
fn name_of(entry: &mut Entry, app: &str, section: &str, findings: &mut Findings) {
    let (key, node) = (&entry.key, &mut entry.value);
    if node.value == Value::Null && ["networks", "volumes"].contains(&section) {
        node.value = Value::Mapping(Vec::new());
    }
    let external = node.flag_at("external") == Some(true);
    let own = format!("{app}_{}", key.text);
    if let Some(name) = node.get("name").filter(|_| !external)
        && name.value.as_text() != Some(&own)
    {
        let message = format!("`name` in `{section}` is not honoured");
        let finding = Finding::warning(name.key.span, message)
            .help("what is not external is known by its app and its key");
        findings.push(finding);
    }
    let name = if external { key.text.clone() } else { own };
    node.or_insert("name", Node::text(key.span, name));
    let allowed = ["external", "name"];
    let other = node
        .entries()
        .iter()
        .find(|e| !allowed.contains(&e.key.text.as_str()) && !e.key.text.starts_with("x-"));
    if let Some(other) = other.filter(|_| external && section == "volumes") {
        let message = format!("`{}` of an external volume says nothing", other.key.text);
        let finding = Finding::error(other.key.span, message)
            .because("whoever made the volume says this")
            .help("remove it, or `external`");
        findings.push(finding);
    }
}

/// Reports a config or secret that comes from nowhere, or from several places.
fn one_source(entry: &Entry, section: &str, sources: &[&str], findings: &mut Findings) {
    let node = &entry.value;
    if !matches!(node.value, Value::Mapping(_)) {
        return;
    }
    let kind = section.trim_end_matches('s');
    let given: Vec<&Entry> = sources
        .iter()
        .filter_map(|source| node.get(source))
        .collect();
    let known = format!("`{}`", sources.join("`, `"));
    match given.as_slice() {
        [_] => {}
        [] if node.flag_at("external") == Some(true) || node.at("driver").is_some() => {}
        [] => {
            let message = format!("{kind} {} has no source", entry.key.text);
            let finding = Finding::error(entry.key.span, message);
            findings.push(finding.help(format!("give it one of {known}")));
        }
        [first, second, ..] => {
            let message = format!("{kind} {} has two sources", entry.key.text);
            let finding = Finding::error(second.key.span, message)
                .also(first.key.span, "and here")
                .help(format!("keep one of {known}"));
            findings.push(finding);
        }
    }
}

fn complete_service(service: &mut Node, findings: &mut Findings) {
    imply_dependencies(service);
    sort_hosts(service);
    if let Some(build) = service.get_mut("build") {
        let build = &mut build.value;
        sort_hosts(build);
        if build.get("dockerfile_inline").is_none() {
            build.or_insert("dockerfile", Node::text(build.span, "Dockerfile"));
        }
    }
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.value.as_text() == Some("if_not_present")
    {
        policy.value.value = Value::Text("missing".to_owned());
    }
    complete_requests(service);
    if let Some(secrets) = service.get_mut("secrets") {
        for secret in secrets.value.items_mut() {
            if let Some(source) = secret.text_at("source") {
                let target = Node::text(secret.span, format!("/run/secrets/{source}"));
                secret.or_insert("target", target);
            }
        }
    }
    if let Some(mounts) = service.get_mut("volumes") {
        for mount in mounts.value.items_mut() {
            complete_mount(mount);
        }
    }
    exclusive(service, findings);
}

/// Their order means nothing.
fn sort_hosts(node: &mut Node) {
    if let Some(hosts) = node.get_mut("extra_hosts")
        && let Value::List(items) = &mut hosts.value.value
    {
        items.sort_by_key(Node::scalar);
    }
}

fn complete_mount(mount: &mut Node) {
    let span = mount.span;
    match mount.text_at("type") {
        Some("bind") => {
            mount.or_insert("bind", Node::mapping(span, Vec::new()));
            if let Some(bind) = mount.get_mut("bind") {
                bind.value
                    .or_insert("create_host_path", Node::flag(span, true));
            }
        }
        Some("volume") => mount.or_insert("volume", Node::mapping(span, Vec::new())),
        Some("tmpfs") => mount.or_insert("tmpfs", Node::mapping(span, Vec::new())),
        Some(_) | None => {}
    }
}

/// Adds the dependencies that are not written as such: on linked services, and on those whose
/// namespaces or volumes are used.
fn imply_dependencies(service: &mut Node) {
    let mut implied: Vec<(String, Span, bool)> = Vec::new();
    for link in service.items_at("links") {
        let text = link.as_text().unwrap_or_default();
        let name = text.split(':').next().unwrap_or_default();
        implied.push((name.to_owned(), link.span, true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let shared = service
            .text_at(key)
            .and_then(|text| text.strip_prefix("service:"));
        if let (Some(name), Some(node)) = (shared, service.at(key)) {
            implied.push((name.to_owned(), node.span, true));
        }
    }
    for from in service.items_at("volumes_from") {
        let text = from
            .as_text()
            .filter(|text| !text.starts_with("container:"));
        let name = text.and_then(|text| text.split(':').next());
        implied.extend(name.map(|name| (name.to_owned(), from.span, false)));
    }
    if implied.is_empty() {
        return;
    }
    service.or_insert("depends_on", Node::mapping(service.span, Vec::new()));
    let Some(dependencies) = service.get_mut("depends_on") else {
        return;
    };
    for (name, span, restart) in implied {
        let mut entries = vec![
            Entry::new(span, "condition", Node::text(span, "service_started")),
            Entry::new(span, "required", Node::flag(span, true)),
        ];
        if restart {
            entries.push(Entry::new(span, "restart", Node::flag(span, true)));
        }
        dependencies
            .value
            .or_insert(&name, Node::mapping(span, entries));
    }
}

/// A request for devices that says neither how many nor which wants all.
fn complete_requests(service: &mut Node) {
    fn at<'n>(node: &'n mut Node, path: &[&str]) -> &'n mut [Node] {
        match path {
            [] => node.items_mut(),
            [key, below @ ..] => match node.get_mut(key) {
                Some(entry) => at(&mut entry.value, below),
                None => &mut [],
            },
        }
    }
    for path in [
        &["gpus"][..],
        &["deploy", "resources", "reservations", "devices"],
    ] {
        for request in at(service, path) {
            if request.get("device_ids").is_none() {
                request.or_insert("count", Node::new(request.span, Value::Integer(-1)));
            }
        }
    }
}

/// Reports keys of a service that exclude each other, or need one another.
fn exclusive(service: &Node, findings: &mut Findings) {
    let mut pair = |of: &Node, first: &str, second: &str| {
        if let (Some(first), Some(second)) = (of.get(first), of.get(second)) {
            let (a, b) = (&first.key.text, &second.key.text);
            let finding = Finding::error(
                first.key.span,
                format!("`{a}` and `{b}` exclude each other"),
            )
            .also(second.key.span, "and here")
            .help("remove one of them");
            findings.push(finding);
        }
    };
    pair(service, "network_mode", "networks");
    if let Some(build) = service.at("build") {
        pair(build, "dockerfile", "dockerfile_inline");
    }
    let deploy = service
        .at("deploy")
        .and_then(|deploy| deploy.at("resources"));
    let reserved = deploy.and_then(|resources| resources.at("reservations"));
    let requests = reserved.map_or(&[][..], |reserved| reserved.items_at("devices"));
    for request in requests.iter().chain(service.items_at("gpus")) {
        pair(request, "count", "device_ids");
    }
    if let (Some(platform), Some(build)) = (service.at("platform"), service.at("build")) {
        let built = build.texts_at("platforms").unwrap_or_default();
        let own = platform.as_text().unwrap_or_default();
        if !built.is_empty() && !built.iter().any(|built| built == own) {
            let finding = Finding::error(platform.span, format!("{own} is not built"))
                .help(format!("`build.platforms` has {}", built.join(", ")));
            findings.push(finding);
        }
    }
    let watches = service
        .at("develop")
        .map_or(&[][..], |develop| develop.items_at("watch"));
    for watch in watches {
        let action = watch.text_at("action").unwrap_or("rebuild");
        if watch.get("target").is_none() && !["rebuild", "restart"].contains(&action) {
            let finding = Finding::error(watch.span, format!("`{action}` needs a `target`"))
                .help("`target` is the path inside that is kept the same");
            findings.push(finding);
        }
    }
}
