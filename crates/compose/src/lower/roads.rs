//! `x-roads`, our own knobs: of the app, and of a service over them.
//!
//! ```yaml
//! x-roads:
//!   owner: TEAM
//!   activation: { mode: always|on-demand, idle: 5m, rest: frozen|stopped,
//!                 hold: { requests: 1000, timeout: 30s } }    # or just the mode
//!   scale: { min: 0, max: 8 }
//!   protocol: { "80": http|tcp|detect }                       # of a service only
//! ```

use std::time::Duration;

use model::{ActivationMode, Hold, Protocol, Rest};

use super::network::port_number;
use super::scale::InstancesMax;
use super::*;

/// The knobs that an app may set for its services.
#[derive(Debug, Clone, Default)]
pub(super) struct RoadsDefaults {
    owner: Option<Owner>,
    mode: Option<ActivationMode>,
    idle: Option<Duration>,
    rest: Option<Rest>,
    requests_max: Option<u32>,
    timeout: Option<Duration>,
    pub(super) instances_max: Option<InstancesMax>,
}

impl RoadsDefaults {
    /// These, and where they say nothing, those of the app.
    pub(super) fn or(self, app: &Self) -> Self {
        Self {
            owner: self.owner.or_else(|| app.owner.clone()),
            mode: self.mode.or(app.mode),
            idle: self.idle.or(app.idle),
            rest: self.rest.or(app.rest),
            requests_max: self.requests_max.or(app.requests_max),
            timeout: self.timeout.or(app.timeout),
            instances_max: self.instances_max.or(app.instances_max),
        }
    }

    /// Writes them into a spec, except for the scale.
    pub(super) fn apply(self, spec: &mut ServiceSpec) {
        let activation = &mut spec.activation;
        spec.owner = self.owner;
        activation.mode = self.mode.unwrap_or(activation.mode);
        activation.idle = self.idle.unwrap_or(activation.idle);
        activation.rest = self.rest.unwrap_or(activation.rest);
        activation.hold = Hold {
            requests_max: self.requests_max.unwrap_or(activation.hold.requests_max),
            timeout: self.timeout.unwrap_or(activation.hold.timeout),
        };
    }
}

const MODES: [(&str, ActivationMode); 2] = [
    ("always", ActivationMode::Always),
    ("on-demand", ActivationMode::OnDemand),
];

impl Lower<'_> {
    pub(super) fn roads_app(&mut self, node: &Node) -> RoadsDefaults {
        let Some(fields) = self.fields(node, &keys::ROADS_APP) else {
            return RoadsDefaults::default();
        };
        if let Some(node) = fields.get("document")
            && let Some(version) = self.number::<u32>(node, "`document`")
            && version != crate::document::VERSION
        {
            let why = format!("this is version {}", crate::document::VERSION);
            self.invalid(node, "the version of a resolved document", why);
        }
        self.roads(&fields)
    }

    pub(super) fn roads_service(&mut self, node: &Node, spec: &mut ServiceSpec) -> RoadsDefaults {
        let Some(fields) = self.fields(node, &keys::ROADS_SERVICE) else {
            return RoadsDefaults::default();
        };
        if let Some(node) = fields.get("protocol") {
            self.protocols(node, spec);
        }
        self.roads(&fields)
    }

    fn roads(&mut self, fields: &read::Fields<'_>) -> RoadsDefaults {
        let mut roads = RoadsDefaults {
            owner: fields
                .get("owner")
                .and_then(|node| self.parsed(node, "`owner`", Owner::new)),
            ..RoadsDefaults::default()
        };
        if let Some(node) = fields.get("activation") {
            self.activation(node, &mut roads);
        }
        if let Some(node) = fields.get("scale") {
            roads.instances_max = self.roads_scale(node);
        }
        roads
    }

    fn activation(&mut self, node: &Node, roads: &mut RoadsDefaults) {
        if let Value::Text(_) = node.value {
            roads.mode = self.choice(node, "`activation`", &MODES);
            return;
        }
        let Some(fields) = self.fields(node, &keys::ACTIVATION) else {
            return;
        };
        if let Some(node) = fields.get("mode") {
            roads.mode = self.choice(node, "`mode`", &MODES);
        }
        if let Some(node) = fields.get("idle") {
            roads.idle = self.duration(node, "`idle`");
        }
        if let Some(node) = fields.get("rest") {
            roads.rest = self.rest(node);
        }
        let hold = fields.get("hold");
        let Some(hold) = hold.and_then(|node| self.fields(node, &keys::HOLD)) else {
            return;
        };
        if let Some(node) = hold.get("requests") {
            roads.requests_max = self.number(node, "`requests`");
        }
        if let Some(node) = hold.get("timeout") {
            roads.timeout = self.duration(node, "`timeout`");
        }
    }

    fn rest(&mut self, node: &Node) -> Option<Rest> {
        let rests = [
            ("frozen", Some(Rest::Frozen)),
            ("stopped", Some(Rest::Stopped)),
            ("absent", None),
        ];
        let rest = self.choice(node, "`rest`", &rests)?;
        if rest.is_none() {
            let finding = Finding::warning(node.span, "`rest: absent` is not honoured")
                .help("it is not honoured yet; the service rests as `stopped`");
            self.findings.push(finding);
        }
        Some(rest.unwrap_or(Rest::Stopped))
    }

    fn roads_scale(&mut self, node: &Node) -> Option<InstancesMax> {
        let fields = self.fields(node, &keys::ROADS_SCALE)?;
        let instances_max = match fields.get("max") {
            Some(node) => Some(InstancesMax {
                instances: self.number(node, "`max`")?,
                span: node.span,
            }),
            None => None,
        };
        if let Some(entry) = fields.entry("min") {
            let min = self.number::<u32>(&entry.value, "`min`")?;
            if let Some(max) = instances_max.filter(|max| min > max.instances) {
                let finding = Finding::error(entry.value.span, "`min` is above `max`")
                    .also(max.span, "at most this")
                    .help("lower `min`, or raise `max`");
                self.findings.push(finding);
            } else if min > 0 {
                // None at all is what on-demand activation does.
                let finding = Finding::warning(entry.key.span, "`min` is not honoured")
                    .help("as many instances run as `scale` or `deploy.replicas` says");
                self.findings.push(finding);
            }
        }
        instances_max
    }

    fn protocols(&mut self, node: &Node, spec: &mut ServiceSpec) {
        let choices = [
            ("http", Protocol::Http1),
            ("http2", Protocol::Http2),
            ("tcp", Protocol::Tcp),
            ("detect", Protocol::Detect),
        ];
        for entry in self.mapping(node, "`protocol`").unwrap_or_default() {
            let protocol = self.choice(&entry.value, "a protocol", &choices);
            match port_number(&entry.key.text) {
                Ok(port) => {
                    spec.protocols
                        .extend(protocol.map(|protocol| (port, protocol)));
                }
                Err(error) => {
                    let message = format!("{:?} is no port", entry.key.text);
                    let finding = Finding::error(entry.key.span, message).help(error.to_string());
                    self.findings.push(finding);
                }
            }
        }
    }
}
