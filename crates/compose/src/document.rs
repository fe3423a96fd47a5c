//! The canonical, resolved form of an app: a compose document that says everything.
//!
//! It is the form in which a Spec crosses a process or is stored. [`load_document`] reads back
//! exactly what [`document`] was given; `load` reads it as well, since it is a compose file. Its
//! version is `x-roads.document`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use model::{
    Activation, ActivationMode, AppName, AppSpec, Condition, Dependency, HealthTest, Healthcheck,
    Hold, Image, Limits, Mount, Port, Protocol, Publish, Rest, Scale, ServiceSpec, Signal,
    Transport, VolumeSpec, WrittenFile,
};
use serde_json::{Map, Value, json};
use text::{Diagnostics, Entry, Finding, Findings, Key, Node, Source, Span};

use crate::load::{ReadFile, ReadFileError, Selection, Variables, resolved};
use crate::normalise::Scope;

mod yaml;

pub(crate) use yaml::block;
pub use yaml::yaml;

/// The version of the form.
pub(crate) const VERSION: u32 = 1;

/// The app as a compose document in JSON, indented.
///
/// It is total over the values that `load` makes. Of others: a path that is not UTF-8 loses what
/// is not, an `Image::Reference` of `host` becomes `Image::Host`, and a limit, retry or attempt
/// count of 0 becomes its default, as Docker has it.
#[must_use]
pub fn document(app: &AppSpec) -> String {
    let text = serde_json::to_string_pretty(&value(app));
    text.expect("a JSON value with text keys can be written")
}

/// The app as a JSON value.
fn value(app: &AppSpec) -> Value {
    let mut root = Map::new();
    root.insert("name".into(), app.name.as_str().into());
    root.insert("x-roads".into(), json!({ "document": VERSION }));
    let networks = app.networks.iter();
    let networks =
        networks.map(|(name, spec)| (name.to_string(), json!({ "internal": spec.internal })));
    root.insert("networks".into(), networks.collect::<Map<_, _>>().into());
    let volumes = app.volumes.iter();
    let volumes = volumes.map(|(name, spec)| (name.to_string(), volume(spec)));
    root.insert("volumes".into(), volumes.collect::<Map<_, _>>().into());
    let files = app.services.iter().flat_map(|(name, spec)| {
        let file = |(index, file)| (file_name(name.as_str(), index), content(file));
        (0..).zip(&spec.files).map(file)
    });
    let files: Map<_, _> = files.collect();
    if !files.is_empty() {
        root.insert("configs".into(), files.into());
    }
    let services = app.services.iter();
    let services = services.map(|(name, spec)| (name.to_string(), service(spec)));
    root.insert("services".into(), services.collect::<Map<_, _>>().into());
    root.into()
}

/// A file is written as a config of its own.
fn file_name(service: &str, index: usize) -> String {
    format!("{service}-file-{index}")
}

fn content(file: &WrittenFile) -> Value {
    json!({ "content": escape(&file.content) })
}

fn volume(spec: &VolumeSpec) -> Value {
    match &spec.external_name {
        Some(name) => json!({ "external": true, "name": escape(name) }),
        None => json!({}),
    }
}

/// The keys of a service, those left out that say the default.
struct Keys(Map<String, Value>);

impl Keys {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn put_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn put_filled(&mut self, key: &str, value: Value) {
        let empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        if !empty {
            self.put(key, value);
        }
    }
}

fn service(spec: &ServiceSpec) -> Value {
    let mut keys = Keys(Map::new());
    keys.put(
        "image",
        match &spec.image {
            Image::Host => "host".to_owned(),
            Image::Reference(reference) => escape(reference),
        },
    );
    keys.put_some("entrypoint", spec.entrypoint.as_deref().map(texts));
    keys.put_some("command", spec.command.as_deref().map(texts));
    keys.put_filled("environment", assignments(&spec.environment));
    keys.put_filled("labels", assignments(&spec.labels));
    keys.put_some("working_dir", spec.working_dir.as_deref().map(path));
    keys.put_some("user", spec.user.as_deref().map(escape));
    keys.put_some("hostname", spec.hostname.as_deref().map(escape));
    keys.put_filled("expose", spec.expose.iter().map(port).collect());
    keys.put_filled("ports", spec.publish.iter().map(publish).collect());
    let dependencies = spec.depends_on.iter();
    let dependencies = dependencies.map(|(name, d)| (name.to_string(), dependency(d)));
    keys.put_filled("depends_on", dependencies.collect::<Map<_, _>>().into());
    keys.put_some("healthcheck", spec.healthcheck.as_ref().map(healthcheck));
    keys.put("restart", spec.restart.to_string());
    keys.put("scale", spec.scale.instances);
    if spec.limits != Limits::default() {
        keys.put(
            "deploy",
            json!({ "resources": { "limits": limits(spec.limits) } }),
        );
    }
    networks(spec, &mut keys);
    keys.put_filled("volumes", spec.mounts.iter().map(mount).collect());
    let files = (0..).zip(&spec.files).map(|(index, file)| {
        json!({
            "source": file_name(spec.name.as_str(), index),
            "target": path(&file.target),
            "mode": format!("{:04o}", file.mode),
        })
    });
    keys.put_filled("configs", files.collect());
    keys.put("read_only", spec.read_only);
    keys.put("stop_signal", signal(spec.stop_signal));
    keys.put("stop_grace_period", duration(spec.stop_grace_period));
    keys.put_filled("x-roads", roads(spec));
    keys.0.into()
}

/// A dollar begins a variable, so it is doubled.
fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

fn texts(texts: &[String]) -> Value {
    texts.iter().map(|text| escape(text)).collect()
}

fn path(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

fn duration(duration: std::time::Duration) -> String {
    text::units::duration_text(duration)
}

fn assignments(assignments: &BTreeMap<String, String>) -> Value {
    let entries = assignments.iter();
    let entries = entries.map(|(name, value)| (name.clone(), Value::from(escape(value))));
    entries.collect::<Map<_, _>>().into()
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn port(port: &Port) -> String {
    match port.transport {
        Transport::Tcp => port.number.to_string(),
        Transport::Udp => format!("{}/udp", port.number),
    }
}

fn publish(publish: &Publish) -> Value {
    let mut keys = Keys(Map::new());
    keys.put("target", publish.target.number);
    keys.put("protocol", transport(publish.target.transport));
    keys.put_some("published", publish.published.map(|port| port.to_string()));
    keys.put_some(
        "host_ip",
        publish.address.map(|address| address.to_string()),
    );
    keys.0.into()
}

fn dependency(dependency: &Dependency) -> Value {
    let condition = match dependency.condition {
        Condition::Started => "service_started",
        Condition::Healthy => "service_healthy",
        Condition::CompletedSuccessfully => "service_completed_successfully",
    };
    json!({
        "condition": condition,
        "required": dependency.required,
        "restart": dependency.restart,
    })
}

fn healthcheck(check: &Healthcheck) -> Value {
    let test = match &check.test {
        HealthTest::Command(words) => {
            let first = std::iter::once("CMD".to_owned());
            first.chain(words.iter().map(|word| escape(word))).collect()
        }
        HealthTest::Shell(line) => vec!["CMD-SHELL".to_owned(), escape(line)],
    };
    json!({
        "test": test,
        "interval": duration(check.interval),
        "timeout": duration(check.timeout),
        "retries": check.retries,
        "start_period": duration(check.start_period),
        "start_interval": duration(check.start_interval),
    })
}

fn limits(limits: Limits) -> Value {
    let mut keys = Keys(Map::new());
    let processors = |milli: u32| format!("{}.{:03}", milli / 1000, milli % 1000);
    keys.put_some("memory", limits.memory_max.map(|bytes| bytes.to_string()));
    keys.put_some("cpus", limits.cpu_milli_max.map(processors));
    keys.put_some("pids", limits.pids_max);
    keys.0.into()
}

fn networks(spec: &ServiceSpec, keys: &mut Keys) {
    if spec.networks.is_empty() {
        keys.put("network_mode", "none");
        return;
    }
    let attachment = |aliases: &BTreeSet<String>| {
        let aliases = aliases.iter().map(|alias| escape(alias));
        json!({ "aliases": aliases.collect::<Vec<_>>() })
    };
    let networks = spec.networks.iter();
    let networks = networks.map(|(name, aliases)| (name.to_string(), attachment(aliases)));
    keys.put("networks", networks.collect::<Map<_, _>>());
}

fn mount(mount: &Mount) -> Value {
    match mount {
        Mount::Bind {
            source,
            target,
            read_only,
            create_source,
        } => json!({
            "type": "bind",
            "source": path(source),
            "target": path(target),
            "read_only": read_only,
            "bind": { "create_host_path": create_source },
        }),
        Mount::Volume {
            name,
            target,
            read_only,
        } => {
            let mut keys = Keys(Map::new());
            keys.put("type", "volume");
            keys.put_some("source", name.as_ref().map(|name| name.as_str()));
            keys.put("target", path(target));
            keys.put("read_only", *read_only);
            keys.0.into()
        }
        Mount::Tmpfs {
            target,
            size_max,
            mode,
        } => {
            let mut options = Keys(Map::new());
            options.put_some("size", size_max.map(|size| size.to_string()));
            options.put_some("mode", mode.map(|mode| format!("{mode:04o}")));
            let mut keys = Keys(Map::new());
            keys.put("type", "tmpfs");
            keys.put("target", path(target));
            keys.put_filled("tmpfs", options.0.into());
            keys.0.into()
        }
    }
}

/// The signal by name, or by number where its name does not read back.
fn signal(signal: Signal) -> String {
    let name = signal.to_string();
    match Signal::parse(&name) {
        Ok(_) => name,
        Err(_) => signal.number().to_string(),
    }
}

fn roads(spec: &ServiceSpec) -> Value {
    let mut keys = Keys(Map::new());
    keys.put_some(
        "owner",
        spec.owner.as_ref().map(|owner| escape(owner.as_str())),
    );
    if spec.activation != Activation::default() {
        keys.put("activation", activation(spec.activation));
    }
    if spec.scale.instances_max != Scale::INSTANCES_MAX {
        keys.put("scale", json!({ "max": spec.scale.instances_max }));
    }
    let protocols = spec.protocols.iter().map(|(port, protocol)| {
        let name = match protocol {
            Protocol::Http1 => "http",
            Protocol::Http2 => "http2",
            Protocol::Tcp => "tcp",
            Protocol::Detect => "detect",
        };
        (port.to_string(), Value::from(name))
    });
    keys.put_filled("protocol", protocols.collect::<Map<_, _>>().into());
    keys.0.into()
}

fn activation(activation: Activation) -> Value {
    let mode = match activation.mode {
        ActivationMode::Always => "always",
        ActivationMode::OnDemand => "on-demand",
    };
    let rest = match activation.rest {
        Rest::Frozen => "frozen",
        Rest::Stopped => "stopped",
    };
    let Hold {
        requests_max,
        timeout,
    } = activation.hold;
    json!({
        "mode": mode,
        "idle": duration(activation.idle),
        "rest": rest,
        "hold": { "requests": requests_max, "timeout": duration(timeout) },
    })
}

/// Reads what [`document`] wrote; the result equals what it was given.
///
/// # Errors
/// What is not such a document, or is of another version.
pub fn load_document(text: &str) -> Result<AppSpec, Diagnostics> {
    let mut findings = Findings::default();
    let spec = read(text, &mut findings);
    let failed = findings.has_errors();
    let diagnostics = findings.finish();
    spec.filter(|_| !failed).ok_or(diagnostics)
}

fn read(text: &str, findings: &mut Findings) -> Option<AppSpec> {
    // A document has no places that mean something to anybody.
    let source = findings.sources.add(Source {
        path: "(document)".into(),
        text: String::new(),
    });
    let span = Span {
        source,
        ..Span::default()
    };
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => {
            let message = format!("the document is not JSON: {error}");
            findings.push(Finding::error(span, message));
            return None;
        }
    };
    let node = node(span, value);
    let version = node
        .get("x-roads")
        .and_then(|roads| roads.value.get("document"));
    if version.is_none() {
        findings.push(Finding::error(span, "the document has no version"));
    }
    let name = node.get("name").and_then(|entry| entry.value.scalar());
    let name = match AppName::new(&name.unwrap_or_default()) {
        Ok(name) => name,
        Err(error) => {
            findings.push(Finding::error(span, error.to_string()));
            return None;
        }
    };
    let scope = Scope {
        number: 0,
        directory: "/".into(),
        environment: Rc::default(),
        variables: Variables::Replaced,
    };
    let all = (&Selection::All, &BTreeSet::new());
    let mut app = resolved(name, vec![node], &scope, all, &NoFiles, findings)?;
    Some(app.lower(findings))
}

/// A document needs no other file.
struct NoFiles;

impl ReadFile for NoFiles {
    fn read(&self, _: &Path) -> Result<String, ReadFileError> {
        Err(ReadFileError::Missing)
    }
}

fn node(span: Span, value: Value) -> Node {
    let value = match value {
        Value::Null => text::Value::Null,
        Value::Bool(flag) => text::Value::Flag(flag),
        Value::Number(number) => match number.as_i128() {
            Some(integer) => text::Value::Integer(integer),
            None => text::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => text::Value::Text(text),
        Value::Array(items) => {
            text::Value::List(items.into_iter().map(|item| node(span, item)).collect())
        }
        Value::Object(entries) => {
            let entry = |(text, value)| Entry {
                key: Key { span, text },
                value: node(span, value),
            };
            text::Value::Mapping(entries.into_iter().map(entry).collect())
        }
    };
    Node::new(span, value)
}

#[cfg(test)]
mod tests;
