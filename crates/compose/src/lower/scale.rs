//! How many instances, and what each may use: `scale`, `deploy`, and the keys of limits.

use model::{Limits, Scale, ServiceSpec};
use text::units;

use super::{Finding, Lower, Node};

impl Lower<'_> {
    /// How many instances, of which `knobs` says how many there may be.
    pub(super) fn scale(&mut self, node: &Node, knobs: Option<&Node>, spec: &mut ServiceSpec) {
        let deploy = node.at("deploy");
        if let Some(mode) = deploy.and_then(|deploy| deploy.at("mode"))
            && mode.as_text() != Some("replicated")
        {
            let finding = Finding::warning(mode.span, "this `mode` is not honoured")
                .help("as many instances run as `replicas` says");
            self.findings.push(finding);
        }
        let wished = self.number::<u32>(node, "scale");
        let deployed = deploy.and_then(|deploy| self.number::<u32>(deploy, "replicas"));
        let replicas = deploy.and_then(|deploy| deploy.at("replicas"));
        if let (Some(scale), Some(replicas)) = (node.at("scale"), replicas)
            && wished != deployed
        {
            self.distinct(scale, replicas, "`scale` and `deploy.replicas`");
        }
        let instances = wished.or(deployed).unwrap_or(1);
        let bound = knobs.and_then(|knobs| Some((knobs.at("max")?, knobs.number_at("max")?)));
        let instances_max = bound.map_or(Scale::INSTANCES_MAX.max(instances), |(_, max)| max);
        if let (Some((bound, max)), Some(wish)) = (bound, node.at("scale").or(replicas))
            && instances > max
        {
            let message = format!("{instances} instances are more than the most that may be");
            let finding = Finding::error(wish.span, message)
                .because("wished here")
                .also(bound.span, format!("at most {max} here"))
                .help("raise `x-roads.scale.max`, or wish for fewer");
            self.findings.push(finding);
        }
        spec.scale = Scale {
            instances: instances.min(instances_max),
            instances_max,
        };
    }

    pub(super) fn limits(&mut self, node: &Node) -> Limits {
        let deploy = node.at("deploy").and_then(|deploy| deploy.at("resources"));
        let deployed = deploy.and_then(|resources| resources.at("limits"));
        let deployed = |key| deployed.and_then(|limits| limits.at(key));
        let reserved = deploy.and_then(|resources| resources.at("reservations"));
        let reserved = reserved.and_then(|reservations| reservations.at("memory"));
        self.limit(
            [node.at("mem_reservation"), reserved],
            "`mem_reservation` and `deploy.resources.reservations.memory`",
            |_, node| bytes(node),
        );
        Limits {
            memory_max: self.limit(
                [node.at("mem_limit"), deployed("memory")],
                "`mem_limit` and `deploy.resources.limits.memory`",
                |_, node| bytes(node),
            ),
            cpu_milli_max: self.limit(
                [node.at("cpus"), deployed("cpus")],
                "`cpus` and `deploy.resources.limits.cpus`",
                Self::processors,
            ),
            pids_max: self.limit(
                [node.at("pids_limit"), deployed("pids")],
                "`pids_limit` and `deploy.resources.limits.pids`",
                Self::pids,
            ),
        }
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
        match units::processors(&node.scalar()?) {
            Ok(milli) => Some(milli).filter(|milli| *milli != 0),
            Err(error) => {
                self.findings.invalid(node, "`cpus`", error);
                None
            }
        }
    }

    fn pids(&mut self, node: &Node) -> Option<u32> {
        match node.as_number::<i64>()? {
            -1 | 0 => None,
            pids => {
                let max = u32::try_from(pids).ok();
                if max.is_none() {
                    let why = "it is a number, or -1 for no limit";
                    self.findings.invalid(node, "a limit of pids", why);
                }
                max
            }
        }
    }

    fn distinct(&mut self, node: &Node, other: &Node, keys: &str) {
        let finding = Finding::error(node.span, format!("{keys} differ"))
            .also(other.span, "and here")
            .help("they mean the same; keep one");
        self.findings.push(finding);
    }
}

/// Bytes, of which 0 is no limit.
fn bytes(node: &Node) -> Option<u64> {
    node.as_text()?.parse().ok().filter(|bytes| *bytes != 0)
}
