//! Ports and networks of a service.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{NetworkName, Port, Protocol, Publish, ServiceSpec, Transport};

use super::{Finding, Lower, Node};
use crate::normalise::{port_number, range};

impl Lower<'_> {
    pub(super) fn ports(&mut self, node: &Node, spec: &mut ServiceSpec) {
        for item in node.items_at("expose") {
            let text = item.as_text().unwrap_or_default();
            let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            match (range(numbers), transport(protocol)) {
                (Ok(numbers), Some(transport)) => {
                    let port = |number| Port { number, transport };
                    spec.expose.extend(numbers.map(port));
                }
                (_, None) => self.no_transport(item, "each item of `expose`"),
                (Err(_), Some(_)) => {}
            }
        }
        for item in node.items_at("ports") {
            if let Some(publish) = self.publish(item, spec) {
                spec.expose.insert(publish.target);
                spec.publish.push(publish);
            }
        }
    }

    fn publish(&mut self, node: &Node, spec: &mut ServiceSpec) -> Option<Publish> {
        let number: u16 = node.number_at("target")?;
        let protocol = node.at("protocol");
        let Some(transport) = transport(protocol.and_then(Node::as_text).unwrap_or("tcp")) else {
            self.no_transport(protocol.unwrap_or(node), "`protocol`");
            return None;
        };
        if let Some(protocol) = node.text_at("app_protocol") {
            spec.protocols.insert(number, app_protocol(protocol));
        }
        let published = node.text_at("published").and_then(|text| range(text).ok());
        if published.as_ref().is_some_and(|range| range.len() > 1) {
            let finding = Finding::warning(node.span, "a range is published for one port")
                .help("the first port of the range is taken");
            self.findings.push(finding);
        }
        Some(Publish {
            address: node
                .text_at("host_ip")
                .and_then(|address| address.parse().ok()),
            published: published.map(|range| *range.start()),
            target: Port { number, transport },
        })
    }

    fn no_transport(&mut self, node: &Node, what: &str) {
        self.findings.invalid(node, what, "it is tcp or udp");
    }

    pub(super) fn attachments(&mut self, node: &Node, spec: &mut ServiceSpec) {
        if let Some(mode) = node.at("network_mode") {
            let text = mode.as_text().unwrap_or_default();
            if text == "none" {
                return;
            }
            let message = format!("`network_mode: {text}` is not honoured");
            let finding = Finding::warning(mode.span, message)
                .help("the service is on the app's `default` network");
            self.findings.push(finding);
        }
        let networks = Arc::make_mut(&mut spec.networks);
        for entry in node.entries_at("networks") {
            if let Some(name) = self.named(&entry.key, NetworkName::new) {
                let aliases = entry.value.texts_at("aliases").unwrap_or_default();
                networks.insert(name, aliases.into_iter().collect());
            }
        }
        if networks.is_empty() {
            let name = NetworkName::new("default").expect("`default` is a name");
            networks.insert(name, BTreeSet::new());
        }
    }

    pub(super) fn protocols(&mut self, node: &Node, spec: &mut ServiceSpec) {
        for entry in node.entries_at("protocol") {
            let protocol = match entry.value.as_text() {
                Some("http") => Protocol::Http1,
                Some("http2") => Protocol::Http2,
                Some("tcp") => Protocol::Tcp,
                Some(_) | None => Protocol::Detect,
            };
            match port_number(&entry.key.text) {
                Ok(port) => {
                    spec.protocols.insert(port, protocol);
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

fn transport(protocol: &str) -> Option<Transport> {
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        _ => None,
    }
}

/// `http` and `http2` are what we speak; anything else is bytes to us.
fn app_protocol(name: &str) -> Protocol {
    match name.to_ascii_lowercase().as_str() {
        "http" | "http1" | "http/1.1" => Protocol::Http1,
        "http2" | "h2c" | "grpc" => Protocol::Http2,
        "detect" => Protocol::Detect,
        _ => Protocol::Tcp,
    }
}
