//! `x-roads` of a service, with what it has from that of the app.

use model::{ActivationMode, Owner, Rest, ServiceSpec};

use super::service::duration;
use super::{Finding, Lower, Node};

impl Lower<'_> {
    pub(super) fn roads(&mut self, service: &Node, spec: &mut ServiceSpec) {
        let roads = service.at("x-roads");
        let bounds = roads.and_then(|roads| roads.at("scale"));
        self.scale(service, bounds, spec);
        let Some(roads) = roads else {
            return;
        };
        spec.owner = self.parsed(roads, "owner", Owner::new);
        self.protocols(roads, spec);
        if let Some(bounds) = bounds {
            self.bounds(bounds);
        }
        if let Some(activation) = roads.at("activation") {
            self.activation(activation, spec);
        }
    }

    fn activation(&mut self, node: &Node, spec: &mut ServiceSpec) {
        let rest = self.rest(node);
        let activation = &mut spec.activation;
        match node.text_at("mode") {
            Some("always") => activation.mode = ActivationMode::Always,
            Some("on-demand") => activation.mode = ActivationMode::OnDemand,
            Some(_) | None => {}
        }
        activation.rest = rest.unwrap_or(activation.rest);
        activation.idle = duration(node, "idle").unwrap_or(activation.idle);
        if let Some(hold) = node.at("hold") {
            let requests = hold.number_at("requests");
            activation.hold.requests_max = requests.unwrap_or(activation.hold.requests_max);
            let timeout = duration(hold, "timeout");
            activation.hold.timeout = timeout.unwrap_or(activation.hold.timeout);
        }
    }

    fn rest(&mut self, node: &Node) -> Option<Rest> {
        let rest = node.at("rest")?;
        match rest.as_text()? {
            "frozen" => Some(Rest::Frozen),
            "absent" => {
                let finding = Finding::warning(rest.span, "`rest: absent` is not honoured")
                    .help("it is not honoured yet; the service rests as `stopped`");
                self.findings.push(finding);
                Some(Rest::Stopped)
            }
            _ => Some(Rest::Stopped),
        }
    }

    fn bounds(&mut self, node: &Node) {
        let (Some(entry), Some(min)) = (node.get("min"), node.number_at::<u32>("min")) else {
            return;
        };
        let max = node.number_at::<u32>("max");
        if let (Some(bound), Some(max)) = (node.at("max"), max)
            && min > max
        {
            let finding = Finding::error(entry.value.span, "`min` is above `max`")
                .also(bound.span, "at most this")
                .help("lower `min`, or raise `max`");
            self.findings.push(finding);
        } else if min > 0 {
            // None at all is what on-demand activation does.
            let finding = Finding::warning(entry.key.span, "`min` is not honoured")
                .help("as many instances run as `scale` or `deploy.replicas` says");
            self.findings.push(finding);
        }
    }
}
