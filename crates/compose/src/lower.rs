//! From the resolved tree to the model, one file for each group of keys.
//!
//! The tree is long and its types are right, so what is reported here is about meaning: a name
//! that is none, a policy that is none, two keys that say different things. Nothing stops at the
//! first error: what is wrong is reported and its default taken.

mod network;
mod roads;
mod scale;
mod service;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{
    AppName, AppSpec, InvalidName, NetworkName, NetworkSpec, ServiceName, VolumeName, VolumeSpec,
};

use text::{Entry, Finding, Findings, Key, Node};

use crate::normalise::absolute;

/// What lowering may look at, and where it reports.
pub(crate) struct Lower<'a> {
    findings: &'a mut Findings,
    /// The variables that secrets and configs may come from.
    environment: &'a BTreeMap<String, String>,
    /// The tree of the whole app.
    app: &'a Node,
    /// The services that a provider would run.
    provided: BTreeSet<&'a str>,
}

impl<'a> Lower<'a> {
    pub(crate) fn new(
        app: &'a Node,
        environment: &'a BTreeMap<String, String>,
        findings: &'a mut Findings,
    ) -> Self {
        let services = app.entries_at("services").iter();
        let provided = services.filter(|service| service.value.get("provider").is_some());
        Self {
            provided: provided.map(|service| service.key.text.as_str()).collect(),
            findings,
            environment,
            app,
        }
    }

    /// The app that the tree describes.
    pub(crate) fn app(&mut self, name: AppName) -> AppSpec {
        let app = self.app;
        if app.get("services").is_none() {
            // As in Compose: such a file may still declare volumes, or be merged with others.
            let finding = Finding::warning(app.span, "the file has no services")
                .help("services: { web: { image: host, command: … } }");
            self.findings.push(finding);
        }
        if let Some(roads) = app.at("x-roads") {
            self.version(roads);
        }
        // Most services are on the same networks as another.
        let mut memberships = BTreeSet::new();
        AppSpec {
            name,
            networks: self.section("networks", |lower, entry| {
                let name = lower.named(&entry.key, NetworkName::new)?;
                Some((name, lower.network(&entry.value)))
            }),
            volumes: self.section("volumes", |lower, entry| {
                let name = lower.named(&entry.key, VolumeName::new)?;
                Some((name, lower.volume(entry)))
            }),
            services: self.section("services", |lower, entry| {
                if !lower.runs(&entry.key.text) {
                    return None;
                }
                let name = lower.named(&entry.key, ServiceName::new)?;
                let mut spec = lower.service(name.clone(), entry);
                match memberships.get(&spec.networks) {
                    Some(same) => spec.networks = Arc::clone(same),
                    None => drop(memberships.insert(Arc::clone(&spec.networks))),
                }
                Some((name, Arc::new(spec)))
            }),
        }
    }

    /// Whether instances of a service are run, which a provider would otherwise.
    fn runs(&self, service: &str) -> bool {
        !self.provided.contains(service)
    }

    /// Refuses a resolved document of another version.
    fn version(&mut self, roads: &Node) {
        let ours = crate::document::VERSION;
        if let Some(version) = roads.at("document")
            && version.as_number() != Some(ours)
        {
            let what = "the version of a resolved document";
            let why = format!("this is version {ours}");
            self.findings.invalid(version, what, why);
        }
    }

    fn section<K: Ord, V>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Self, &'a Entry) -> Option<(K, V)>,
    ) -> BTreeMap<K, V> {
        let entries = self.app.entries_at(key).iter();
        entries.filter_map(|entry| read(self, entry)).collect()
    }

    fn network(&mut self, node: &Node) -> NetworkSpec {
        if let Some(external) = node.get("external")
            && node.flag_at("external") == Some(true)
        {
            let finding = Finding::warning(external.key.span, "`external` is not honoured")
                .help("networks belong to their app alone; this one is made for it");
            self.findings.push(finding);
        }
        let internal = node.flag_at("internal") == Some(true);
        NetworkSpec { internal }
    }

    fn volume(&mut self, entry: &Entry) -> VolumeSpec {
        let node = &entry.value;
        if let Some(driver) = node.at("driver")
            && driver.as_text() != Some("local")
        {
            let finding = Finding::warning(driver.span, "this `driver` is not honoured")
                .help("the volume is a folder of this machine");
            self.findings.push(finding);
        }
        let external = node.flag_at("external") == Some(true);
        let name = node.text_at("name").unwrap_or(&entry.key.text);
        let external_name = external.then(|| name.to_owned());
        VolumeSpec { external_name }
    }

    /// A key as a name.
    fn named<T>(&mut self, key: &Key, parse: fn(&str) -> Result<T, InvalidName>) -> Option<T> {
        match parse(&key.text) {
            Ok(name) => Some(name),
            Err(error) => {
                let message = format!("{:?} is no name of a {}", key.text, error.kind);
                let help = format!("a name is {}", error.rule);
                self.findings
                    .push(Finding::error(key.span, message).help(help));
                None
            }
        }
    }

    /// The text of a key by its own reader, whose error says what would do.
    fn parsed<T, E: fmt::Display>(
        &mut self,
        node: &Node,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = node.at(key)?;
        match parse(value.as_text()?) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.findings.invalid(value, format!("`{key}`"), error);
                None
            }
        }
    }

    /// A number that fits its type; what does not is reported.
    fn number<T: TryFrom<i128>>(&mut self, node: &Node, key: &str) -> Option<T> {
        let value = node.at(key)?;
        let number = value.as_number();
        if number.is_none() {
            self.findings
                .invalid(value, format!("`{key}`"), "it is too large");
        }
        number
    }

    /// An absolute path inside an instance, without `.` and `..`.
    fn inside(&mut self, node: &Node, what: &str, path: &str) -> Option<PathBuf> {
        if path.starts_with('/') {
            return Some(absolute(Path::new("/"), path));
        }
        let span = node.span.narrow(&self.findings.sources, path);
        let finding = Finding::error(span, format!("{what} must be an absolute path"))
            .because("this does not begin with /")
            .help(format!("inside an instance it is perhaps /{path}"));
        self.findings.push(finding);
        None
    }
}
