//! One service: the keys that fit no other file, and the order of the others.

use super::environment::Environment;
use super::roads::RoadsDefaults;
use super::*;

impl Lower<'_> {
    pub(super) fn service(
        &mut self,
        name: ServiceName,
        entry: &Entry,
        defaults: &RoadsDefaults,
    ) -> Option<DraftService> {
        let span = entry.key.span;
        if entry.value.value == Value::Null {
            let message = format!("service {name} says nothing");
            let finding = Finding::error(span, message).help("give it an image: `image: host`");
            self.findings.push(finding);
            return None;
        }
        let fields = self.fields(&entry.value, &keys::SERVICE)?;
        let image = self.image(&fields, span).unwrap_or(Image::Host);
        let mut draft = DraftService {
            spec: ServiceSpec::new(name, image),
            span,
            profiles: Vec::new(),
            dependencies: BTreeMap::new(),
            networks: Vec::new(),
            volumes: Vec::new(),
            publish: Vec::new(),
            environment: Environment::default(),
        };
        if let Some(node) = fields.get("profiles") {
            draft.profiles = self.texts(node, "`profiles`");
        }
        self.process(&fields, &mut draft);
        draft.environment = self.environment(&fields);
        self.dependencies(&fields, &mut draft);
        self.ports(&fields, &mut draft);
        self.attachments(&fields, &mut draft);
        self.mounts(&fields, &mut draft);
        self.limits(&fields, &mut draft.spec);
        draft.spec.healthcheck = fields.get("healthcheck").and_then(|n| self.healthcheck(n));
        self.restart(&fields, &mut draft.spec);
        let roads = match fields.get("x-roads") {
            Some(node) => self.roads_service(node, &mut draft.spec),
            None => RoadsDefaults::default(),
        };
        let roads = roads.or(defaults);
        self.scale(&fields, roads.instances_max.as_ref(), &mut draft.spec);
        roads.apply(&mut draft.spec);
        Some(draft)
    }

    fn image(&mut self, fields: &read::Fields<'_>, span: Span) -> Option<Image> {
        let build = fields.entry("build");
        let Some(node) = fields.get("image") else {
            let at = build.map_or(span, |build| build.key.span);
            let message = "the service has no image";
            self.findings.push(match build {
                Some(_) => Finding::error(at, message)
                    .because("Roadstead does not build images yet")
                    .help(
                        "build comes with the docker engine; until then name an `image`, or \
                           `image: host` for a program of this machine",
                    ),
                None => Finding::error(at, message)
                    .help("add `image: host` for a program of this machine"),
            });
            return None;
        };
        if let Some(build) = build {
            let finding = Finding::warning(build.key.span, "`build` is not honoured")
                .help("nothing is built; `image` is used as it is");
            self.findings.push(finding);
        }
        let reference = self.text(node, "`image`")?;
        if reference.is_empty() || reference.contains(char::is_whitespace) {
            self.invalid(
                node,
                "`image`",
                "it is the name of an image, such as web:7, or host",
            );
            return None;
        }
        Some(match reference {
            "host" => Image::Host,
            reference => Image::Reference(reference.to_owned()),
        })
    }

    fn dependencies(&mut self, fields: &read::Fields<'_>, draft: &mut DraftService) {
        let Some(node) = fields.get("depends_on") else {
            return;
        };
        if let Value::List(items) = &node.value {
            for item in items {
                let what = "each item of `depends_on`";
                if let Some(name) = self.parsed(item, what, ServiceName::new) {
                    let started = Dependency {
                        condition: model::Condition::Started,
                        required: true,
                        restart: false,
                    };
                    draft.dependencies.insert(name.clone(), item.span);
                    draft.spec.depends_on.insert(name, started);
                }
            }
            return;
        }
        for entry in self.mapping(node, "`depends_on`").unwrap_or_default() {
            if let Some(name) = self.key_name(&entry.key, ServiceName::new)
                && let Some(dependency) = self.dependency(entry)
            {
                draft.dependencies.insert(name.clone(), entry.key.span);
                draft.spec.depends_on.insert(name, dependency);
            }
        }
    }

    fn dependency(&mut self, entry: &Entry) -> Option<Dependency> {
        use model::Condition;
        let fields = self.fields(&entry.value, &keys::DEPENDENCY)?;
        let condition = match fields.get("condition") {
            Some(node) => self.choice(
                node,
                "`condition`",
                &[
                    ("service_started", Condition::Started),
                    ("service_healthy", Condition::Healthy),
                    (
                        "service_completed_successfully",
                        Condition::CompletedSuccessfully,
                    ),
                ],
            )?,
            None => {
                let finding = Finding::error(entry.key.span, "a dependency needs a `condition`")
                    .help("without one, write a list: `depends_on: [NAME]`");
                self.findings.push(finding);
                return None;
            }
        };
        let required = match fields.get("required") {
            Some(node) => self.flag(node, "`required`")?,
            None => true,
        };
        let restart = match fields.get("restart") {
            Some(node) => self.flag(node, "`restart`")?,
            None => false,
        };
        Some(Dependency {
            condition,
            required,
            restart,
        })
    }
}
