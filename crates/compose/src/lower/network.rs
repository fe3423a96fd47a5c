//! Ports and networks of a service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use model::{Port, Protocol, Publish, Transport};

use super::*;

/// The most ports that the ranges of an app's services hold together.
const PORTS_MAX: usize = 1_000_000;

/// Why a text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPort {
    #[error("a port is a number from 1 to 65535, or a range of them such as 8000-8010")]
    Number,
    #[error("after the / stands tcp or udp")]
    Transport,
    #[error("{0} is no IP address; write [HOST_IP:]PUBLISHED:TARGET")]
    Address(String),
    #[error("the ranges have different lengths")]
    Ranges,
}

/// What a text in `ports` says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    address: Option<IpAddr>,
    published: Option<RangeInclusive<u16>>,
    target: RangeInclusive<u16>,
    transport: Transport,
}

impl Lower<'_> {
    pub(super) fn ports(&mut self, fields: &read::Fields<'_>, draft: &mut DraftService) {
        if let Some(node) = fields.get("expose") {
            for item in self.list(node, "`expose`") {
                self.exposed(item, draft);
            }
        }
        let Some(node) = fields.get("ports") else {
            return;
        };
        // Files that are merged may each have the same port.
        let mut known = BTreeSet::new();
        for item in self.list(node, "`ports`") {
            let mapping = self.port(item, draft);
            let publishes = mapping.map(|mapping| self.publishes(item, &mapping));
            for publish in publishes.into_iter().flatten() {
                draft.spec.expose.insert(publish.target);
                let is_new = known.insert((publish.address, publish.published, publish.target));
                if is_new || publish.published.is_none() {
                    draft.spec.publish.push(publish);
                    draft.publish.push(item.span);
                }
            }
        }
    }

    fn exposed(&mut self, node: &Node, draft: &mut DraftService) {
        let what = "each item of `expose`";
        let Some(text) = self.quantity(node, what) else {
            return;
        };
        match exposed(&text) {
            Ok((numbers, transport)) if self.afford(node, numbers.len()) => {
                let port = |number| Port { number, transport };
                draft.spec.expose.extend(numbers.map(port));
            }
            Ok(_) => {}
            Err(error) => self.invalid(node, what, error),
        }
    }

    /// Whether so many more ports may be read; the first that may not is reported.
    fn afford(&mut self, node: &Node, ports: usize) -> bool {
        // One port is one value of the text, and those are counted already.
        if ports == 1 {
            return true;
        }
        let before = self.ports;
        self.ports = before.saturating_add(ports);
        if before <= PORTS_MAX && self.ports > PORTS_MAX {
            let message = format!("the ranges hold more than {PORTS_MAX} ports");
            let finding = Finding::error(node.span, message);
            self.findings.push(finding.help("use smaller ranges"));
        }
        self.ports <= PORTS_MAX
    }

    fn port(&mut self, node: &Node, draft: &mut DraftService) -> Option<Mapping> {
        if let Value::Mapping(_) = node.value {
            return self.long_port(node, draft);
        }
        let what = "each item of `ports`";
        match short_port(&self.quantity(node, what)?) {
            Ok(mapping) => Some(mapping),
            Err(error) => {
                self.invalid(node, what, error);
                None
            }
        }
    }

    /// What a mapping publishes, port by port.
    fn publishes(&mut self, node: &Node, mapping: &Mapping) -> Vec<Publish> {
        let targets = mapping.target.len();
        let published = mapping.published.as_ref();
        if targets == 1 && published.is_some_and(|range| range.len() > 1) {
            let finding = Finding::warning(node.span, "a range is published for one port")
                .help("the first port of the range is taken");
            self.findings.push(finding);
        } else if published.is_some_and(|range| range.len() != targets) {
            self.invalid(node, "each item of `ports`", InvalidPort::Ranges);
            return Vec::new();
        }
        if !self.afford(node, targets) {
            return Vec::new();
        }
        let numbers = (0..).zip(mapping.target.clone());
        let publish = |(index, number)| Publish {
            address: mapping.address,
            published: published
                .map(|range| range.start().saturating_add(index))
                .filter(|port| *port != 0),
            target: Port {
                number,
                transport: mapping.transport,
            },
        };
        numbers.map(publish).collect()
    }

    fn long_port(&mut self, node: &Node, draft: &mut DraftService) -> Option<Mapping> {
        let fields = self.fields(node, &keys::PORT)?;
        let Some(target) = fields.get("target") else {
            let finding = Finding::error(node.span, "a port needs a `target`")
                .help("`target` is the port inside, `published` the one of this machine");
            self.findings.push(finding);
            return None;
        };
        let target = self.range(target, "`target`")?;
        let published = match fields.get("published") {
            Some(node) => Some(self.range_or_any(node, "`published`")?),
            None => None,
        };
        let address = match fields.get("host_ip") {
            Some(node) => Some(self.parsed(node, "`host_ip`", |text| {
                text.parse()
                    .map_err(|_| InvalidPort::Address(text.to_owned()))
            })?),
            None => None,
        };
        let transport = match fields.get("protocol") {
            Some(node) => self.parsed(node, "`protocol`", transport)?,
            None => Transport::Tcp,
        };
        if let Some(node) = fields.get("mode") {
            self.choice(node, "`mode`", &[("host", ()), ("ingress", ())])?;
        }
        if let Some(node) = fields.get("name") {
            self.text(node, "`name`")?;
        }
        if let Some(node) = fields.get("app_protocol") {
            let protocol = app_protocol(self.text(node, "`app_protocol`")?);
            let protocols = target.clone().map(|port| (port, protocol));
            draft.spec.protocols.extend(protocols);
        }
        Some(Mapping {
            address,
            published,
            target,
            transport,
        })
    }

    fn range(&mut self, node: &Node, what: &str) -> Option<RangeInclusive<u16>> {
        let text = self.quantity(node, what)?;
        match ports(&text) {
            Ok(range) => Some(range),
            Err(error) => {
                self.invalid(node, what, error);
                None
            }
        }
    }

    /// As [`Self::range`]; 0 and nothing mean any port that is free.
    fn range_or_any(&mut self, node: &Node, what: &str) -> Option<RangeInclusive<u16>> {
        match self.quantity(node, what)?.as_str() {
            "" | "0" => Some(0..=0),
            _ => self.range(node, what),
        }
    }

    pub(super) fn attachments(&mut self, fields: &read::Fields<'_>, draft: &mut DraftService) {
        let networks = fields.entry("networks");
        if let Some(mode) = fields.entry("network_mode") {
            if let Some(networks) = networks {
                let message = "`network_mode` and `networks` exclude each other";
                let finding = Finding::error(mode.key.span, message)
                    .also(networks.key.span, "and here")
                    .help("remove one of them");
                self.findings.push(finding);
                return;
            }
            match self.text(&mode.value, "`network_mode`") {
                Some("none") | None => return,
                Some(other) => {
                    let message = format!("`network_mode: {other}` is not honoured");
                    let finding = Finding::warning(mode.value.span, message)
                        .help("the service is on the app's `default` network");
                    self.findings.push(finding);
                }
            }
        }
        match networks.map(|entry| &entry.value) {
            None => {}
            Some(node) if matches!(node.value, Value::List(_)) => {
                for item in self.list(node, "`networks`") {
                    let what = "each item of `networks`";
                    if let Some(name) = self.parsed(item, what, NetworkName::new) {
                        attach(draft, name, item.span, BTreeSet::new());
                    }
                }
            }
            Some(node) => {
                for entry in self.mapping(node, "`networks`").unwrap_or_default() {
                    if let Some(name) = self.key_name(&entry.key, NetworkName::new)
                        && let Some(aliases) = self.aliases(&entry.value)
                    {
                        attach(draft, name, entry.key.span, aliases);
                    }
                }
            }
        }
        if draft.networks.is_empty() {
            let name = NetworkName::new("default").expect("`default` is a name");
            attach(draft, name, draft.span, BTreeSet::new());
        }
    }

    fn aliases(&mut self, node: &Node) -> Option<BTreeSet<String>> {
        let fields = self.fields(node, &keys::ATTACHMENT)?;
        let aliases = fields.get("aliases");
        let aliases = aliases.map(|node| self.texts(node, "`aliases`"));
        Some(aliases.unwrap_or_default().into_iter().collect())
    }
}

fn attach(draft: &mut DraftService, name: NetworkName, span: Span, aliases: BTreeSet<String>) {
    draft.networks.push((name.clone(), span));
    draft.spec.networks.insert(name, aliases);
}

/// `http` is what we speak; anything else is bytes to us.
fn app_protocol(name: &str) -> Protocol {
    match name.to_ascii_lowercase().as_str() {
        "http" | "http1" | "http/1.1" => Protocol::Http1,
        "http2" | "h2c" | "grpc" => Protocol::Http2,
        "detect" => Protocol::Detect,
        _ => Protocol::Tcp,
    }
}

/// Reads `[[ADDRESS:][PUBLISHED]:]TARGET[/TRANSPORT]`.
fn short_port(text: &str) -> Result<Mapping, InvalidPort> {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, target) = match text.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, text),
    };
    let (address, published) = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
        Some(Ok((address, published))) => (address, published),
        Some(Err(published)) => ("", published),
        None => ("", ""),
    };
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    let address = match bare.unwrap_or(address) {
        "" => None,
        bare => {
            let address = bare.parse();
            Some(address.map_err(|_| InvalidPort::Address(bare.to_owned()))?)
        }
    };
    let published = match published {
        "" | "0" => None,
        published => Some(ports(published)?),
    };
    Ok(Mapping {
        address,
        published,
        target: ports(target)?,
        transport: transport(protocol)?,
    })
}

fn exposed(text: &str) -> Result<(RangeInclusive<u16>, Transport), InvalidPort> {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Ok((ports(text)?, transport(protocol)?))
}

fn transport(text: &str) -> Result<Transport, InvalidPort> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Transport::Tcp),
        "udp" => Ok(Transport::Udp),
        _ => Err(InvalidPort::Transport),
    }
}

/// Reads `80` or `8000-8010`.
fn ports(text: &str) -> Result<RangeInclusive<u16>, InvalidPort> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port_number(first)?, port_number(last)?) {
        (first, last) if first <= last => Ok(first..=last),
        (_, _) => Err(InvalidPort::Number),
    }
}

/// Reads a port; 0 is none.
pub(super) fn port_number(text: &str) -> Result<u16, InvalidPort> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number != 0);
    number.ok_or(InvalidPort::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match short_port(text) {
            Err(error) => format!("error: {error}"),
            Ok(mapping) => {
                let published = mapping
                    .published
                    .map(|r| format!("{}-{}", r.start(), r.end()));
                format!(
                    "{} {} {}-{} {:?}",
                    mapping.address.map_or("*".to_owned(), |a| a.to_string()),
                    published.unwrap_or_else(|| "?".to_owned()),
                    mapping.target.start(),
                    mapping.target.end(),
                    mapping.transport
                )
            }
        }
    }

    #[test]
    fn a_short_port_is_read_as_compose_reads_it() {
        for (text, meaning) in [
            ("80", "* ? 80-80 Tcp"),
            ("8080:80", "* 8080-8080 80-80 Tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080-8080 80-80 Tcp"),
            ("127.0.0.1::80", "127.0.0.1 ? 80-80 Tcp"),
            ("[::1]:8080:80", "::1 8080-8080 80-80 Tcp"),
            ("::1:8080:80", "::1 8080-8080 80-80 Tcp"),
            ("6060:6060/udp", "* 6060-6060 6060-6060 Udp"),
            ("3000-3005", "* ? 3000-3005 Tcp"),
            ("9090-9091:8080-8081", "* 9090-9091 8080-8081 Tcp"),
            ("0:80", "* ? 80-80 Tcp"),
        ] {
            assert_eq!(shown(text), meaning, "{text}");
        }
        for text in [
            "", "x", "0", "65536", "80:", "80/sctp", "host:1:2", "5-3", "-1", "+1", "1:2:3:4",
        ] {
            assert!(shown(text).starts_with("error"), "{text}: {}", shown(text));
        }
    }
}
