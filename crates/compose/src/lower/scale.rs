//! How many instances, and what each may use: `scale`, `deploy`, and the keys of limits.

use model::{Limits, Scale};

use super::*;
use crate::units;

/// A bound on the number of instances, and where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InstancesMax {
    pub(super) instances: u32,
    pub(super) span: Span,
}

impl Lower<'_> {
    pub(super) fn scale(
        &mut self,
        fields: &read::Fields<'_>,
        bound: Option<&InstancesMax>,
        spec: &mut ServiceSpec,
    ) {
        let scale = fields.get("scale");
        let replicas = fields.get("deploy").and_then(|node| node.get("replicas"));
        let replicas = replicas.map(|entry| &entry.value);
        let replicas = replicas.filter(|node| node.value != Value::Null);
        let wished = scale.and_then(|node| self.number::<u32>(node, "`scale`"));
        let deployed = replicas.and_then(|node| self.number::<u32>(node, "`replicas`"));
        if let (Some(scale_node), Some(replicas_node)) = (scale, replicas)
            && wished != deployed
        {
            self.distinct(scale_node, replicas_node, "`scale` and `deploy.replicas`");
        }
        let instances = wished.or(deployed).unwrap_or(1);
        let instances_max = match bound {
            Some(bound) => bound.instances,
            None => Scale::INSTANCES_MAX.max(instances),
        };
        if let (Some(bound), Some(node)) = (bound, scale.or(replicas))
            && instances > bound.instances
        {
            let message = format!("{instances} instances are more than the most that may be");
            let finding = Finding::error(node.span, message)
                .because("wished here")
                .also(bound.span, format!("at most {} here", bound.instances))
                .help("raise `x-roads.scale.max`, or wish for fewer");
            self.findings.push(finding);
        }
        spec.scale = Scale {
            instances: instances.min(instances_max),
            instances_max,
        };
    }

    pub(super) fn limits(&mut self, fields: &read::Fields<'_>, spec: &mut ServiceSpec) {
        let deploy = fields.get("deploy").and_then(|node| self.deploy(node));
        let deployed = |key| deploy.as_ref().and_then(|limits| limits.get(key));
        spec.limits = Limits {
            memory_max: self.limit(
                [fields.get("mem_limit"), deployed("memory")],
                "`mem_limit` and `deploy.resources.limits.memory`",
                |lower, node| {
                    lower
                        .bytes(node, "a limit of memory")
                        .filter(|bytes| *bytes != 0)
                },
            ),
            cpu_milli_max: self.limit(
                [fields.get("cpus"), deployed("cpus")],
                "`cpus` and `deploy.resources.limits.cpus`",
                Self::processors,
            ),
            pids_max: self.limit(
                [fields.get("pids_limit"), deployed("pids")],
                "`pids_limit` and `deploy.resources.limits.pids`",
                Self::pids,
            ),
        };
    }

    /// A limit that may be written in two places. As in Docker, 0 is no limit.
    fn limit<T: PartialEq>(
        &mut self,
        nodes: [Option<&Node>; 2],
        keys: &str,
        read: impl Fn(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        let [own, deployed] = nodes.map(|node| node.and_then(|node| read(self, node)));
        if let [Some(node), Some(deployed_node)] = nodes
            && own != deployed
        {
            self.distinct(node, deployed_node, keys);
        }
        own.or(deployed)
    }

    fn processors(&mut self, node: &Node) -> Option<u32> {
        match units::processors(&self.quantity(node, "`cpus`")?) {
            Ok(milli) => Some(milli).filter(|milli| *milli != 0),
            Err(error) => {
                self.invalid(node, "`cpus`", error);
                None
            }
        }
    }

    fn pids(&mut self, node: &Node) -> Option<u32> {
        let unlimited = node
            .scalar()
            .is_some_and(|text| text == "-1" || text == "0");
        (!unlimited)
            .then(|| self.number(node, "a limit of pids"))
            .flatten()
    }

    /// The limits below `deploy`, the rest of it checked.
    fn deploy<'n>(&mut self, node: &'n Node) -> Option<read::Fields<'n>> {
        let fields = self.fields(node, &keys::DEPLOY)?;
        if let Some(mode) = fields.get("mode")
            && let Some(name) = self.text(mode, "`mode`")
            && name != "replicated"
        {
            let finding = Finding::warning(mode.span, "this `mode` is not honoured")
                .help("as many instances run as `replicas` says");
            self.findings.push(finding);
        }
        let resources = self.fields(fields.get("resources")?, &keys::RESOURCES)?;
        self.fields(resources.get("limits")?, &keys::LIMITS)
    }

    fn distinct(&mut self, node: &Node, other: &Node, keys: &str) {
        let finding = Finding::error(node.span, format!("{keys} differ"))
            .also(other.span, "and here")
            .help("they mean the same; keep one");
        self.findings.push(finding);
    }
}
