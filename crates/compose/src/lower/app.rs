//! The top of a file: networks, volumes, and the services with the app's own defaults.

use super::roads::RoadsDefaults;
use super::*;
use crate::tree::Key;

impl Lower<'_> {
    /// The app that a document describes.
    pub(crate) fn app(&mut self, name: AppName, document: &Node) -> Option<DraftApp> {
        let fields = self.fields(document, &keys::APP)?;
        let defaults = match fields.get("x-roads") {
            Some(node) => self.roads_app(node),
            None => RoadsDefaults::default(),
        };
        let networks = self.named(fields.get("networks"), "`networks`", |lower, entry| {
            let name = lower.key_name(&entry.key, NetworkName::new)?;
            Some((name, lower.network(&entry.value)?))
        });
        let volumes = self.named(fields.get("volumes"), "`volumes`", |lower, entry| {
            let name = lower.key_name(&entry.key, VolumeName::new)?;
            Some((name, lower.volume(entry)?))
        });
        let services = self.named(fields.get("services"), "`services`", |lower, entry| {
            let name = lower.key_name(&entry.key, ServiceName::new)?;
            Some((name.clone(), lower.service(name, entry, &defaults)?))
        });
        if fields.get("services").is_none() {
            let finding = Finding::error(document.span, "the file has no services")
                .help("services: { web: { image: host, command: … } }");
            self.findings.push(finding);
        }
        Some(DraftApp {
            name,
            services,
            networks,
            volumes,
        })
    }

    fn named<K: Ord, V>(
        &mut self,
        node: Option<&Node>,
        what: &str,
        mut read: impl FnMut(&mut Self, &Entry) -> Option<(K, V)>,
    ) -> BTreeMap<K, V> {
        let entries = node.and_then(|node| self.mapping(node, what));
        let entries = entries.unwrap_or_default().iter();
        entries
            .filter(|entry| !entry.key.text.starts_with("x-"))
            .filter_map(|entry| read(self, entry))
            .collect()
    }

    fn network(&mut self, node: &Node) -> Option<NetworkSpec> {
        let fields = self.fields(node, &keys::NETWORK)?;
        if let Some(external) = fields.entry("external")
            && self.external(&external.value)?.is_some()
        {
            let finding = Finding::warning(external.key.span, "`external` is not honoured")
                .help("networks belong to their app alone; this one is made for it");
            self.findings.push(finding);
        }
        let internal = match fields.get("internal") {
            Some(node) => self.flag(node, "`internal`")?,
            None => false,
        };
        Some(NetworkSpec { internal })
    }

    fn volume(&mut self, entry: &Entry) -> Option<VolumeSpec> {
        let fields = self.fields(&entry.value, &keys::VOLUME)?;
        if let Some(driver) = fields.get("driver")
            && self.text(driver, "`driver`")? != "local"
        {
            let finding = Finding::warning(driver.span, "this `driver` is not honoured")
                .help("the volume is a folder of this machine");
            self.findings.push(finding);
        }
        let external = match fields.get("external") {
            Some(node) => self.external(node)?,
            None => None,
        };
        let name = match fields.entry("name") {
            Some(name) => Some((name, self.text(&name.value, "`name`")?)),
            None => None,
        };
        let external_name = match (external, name) {
            (Some(External::Here), Some((_, name))) => Some(name.to_owned()),
            (Some(External::Here), None) => Some(entry.key.text.clone()),
            (Some(External::Named(name)), _) => Some(name),
            (None, Some((name, _))) => {
                self.name_of_volume(&name.key);
                None
            }
            (None, None) => None,
        };
        Some(VolumeSpec { external_name })
    }

    fn name_of_volume(&mut self, key: &Key) {
        let finding = Finding::warning(key.span, "`name` of a volume is not honoured")
            .help("a volume that is not external is known by its app and its key");
        self.findings.push(finding);
    }

    /// What `external` says: nothing when it is `false`.
    #[expect(
        clippy::option_option,
        reason = "the outer is whether it could be read"
    )]
    fn external(&mut self, node: &Node) -> Option<Option<External>> {
        if let Value::Mapping(_) = node.value {
            let fields = self.fields(node, &keys::EXTERNAL)?;
            let Some(name) = fields.get("name") else {
                return Some(Some(External::Here));
            };
            let name = self.text(name, "`external.name`")?.to_owned();
            return Some(Some(External::Named(name)));
        }
        let external = self.flag(node, "`external`")?;
        Some(external.then_some(External::Here))
    }
}

/// Something that the app did not create.
enum External {
    /// Under the name that the entry says otherwise.
    Here,
    Named(String),
}
