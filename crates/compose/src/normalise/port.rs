//! Ports and ranges of them.

use std::ops::RangeInclusive;

use text::{Entry, Finding};

use super::{Node, Normalise, Value, What};

/// The most ports that the ranges of an app's services hold together.
const PORTS_MAX: usize = 1_000_000;

/// Why a text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPort {
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
struct Short<'t> {
    address: &'t str,
    published: Option<RangeInclusive<u16>>,
    target: RangeInclusive<u16>,
    protocol: String,
}

impl Normalise<'_> {
    /// The ports that `[[ADDRESS:][PUBLISHED]:]TARGET[/PROTOCOL]` means, each in long syntax.
    pub(super) fn short_ports(&mut self, node: &Node, text: &str, what: What<'_>) -> Vec<Node> {
        let short = match short(text) {
            Ok(short) => short,
            Err(error) => return vec![self.invalid(node, what, error)],
        };
        let targets = short.target.len();
        if !self.afford(node, targets) {
            return vec![Node::broken(node.span)];
        }
        let whole = |published: &RangeInclusive<u16>| match published.len() {
            1 => published.start().to_string(),
            _ => format!("{}-{}", published.start(), published.end()),
        };
        let published = |index: u16| match &short.published {
            Some(range) if targets == 1 => Some(whole(range)),
            Some(range) => Some(range.start().saturating_add(index).to_string()),
            None => None,
        };
        let long = |(index, target): (u16, u16)| {
            let mut entries = vec![Entry::new(
                node.span,
                "mode",
                Node::text(node.span, "ingress"),
            )];
            let mut put = |key, value| {
                entries.push(Entry::new(node.span, key, Node::new(node.span, value)));
            };
            if !short.address.is_empty() {
                put("host_ip", Value::Text(short.address.to_owned()));
            }
            put("target", Value::Integer(target.into()));
            if let Some(published) = published(index) {
                put("published", Value::Text(published));
            }
            put("protocol", Value::Text(short.protocol.clone()));
            Node::mapping(node.span, entries)
        };
        (0..).zip(short.target.clone()).map(long).collect()
    }

    /// Whether so many more ports may be read; the first that may not is reported.
    pub(super) fn afford(&mut self, node: &Node, ports: usize) -> bool {
        // One port is one value of the text, and those are counted already.
        if ports == 1 {
            return true;
        }
        let before = *self.ports;
        *self.ports = before.saturating_add(ports);
        if before <= PORTS_MAX && *self.ports > PORTS_MAX {
            let message = format!("the ranges hold more than {PORTS_MAX} ports");
            let finding = Finding::error(node.span, message);
            self.findings.push(finding.help("use smaller ranges"));
        }
        *self.ports <= PORTS_MAX
    }
}

fn short(text: &str) -> Result<Short<'_>, InvalidPort> {
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
    let address = bare.unwrap_or(address);
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(InvalidPort::Address(address.to_owned()));
    }
    let published = match published {
        "" => None,
        "0" => Some(0..=0),
        published => Some(range(published)?),
    };
    let target = range(target)?;
    let published_len = published
        .as_ref()
        .map_or(target.len(), ExactSizeIterator::len);
    if target.len() > 1 && published_len != target.len() {
        return Err(InvalidPort::Ranges);
    }
    Ok(Short {
        address,
        published,
        target,
        protocol: known_protocol(protocol)?,
    })
}

fn known_protocol(text: &str) -> Result<String, InvalidPort> {
    let protocol = text.to_ascii_lowercase();
    match protocol.as_str() {
        "tcp" | "udp" | "sctp" => Ok(protocol),
        _ => Err(InvalidPort::Transport),
    }
}

/// How many ports `80`, `80/udp` or `8000-8010` are.
pub(super) fn exposed(text: &str) -> Result<usize, InvalidPort> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    known_protocol(protocol)?;
    Ok(range(numbers)?.len())
}

/// Reads `80` or `8000-8010`.
pub(crate) fn range(text: &str) -> Result<RangeInclusive<u16>, InvalidPort> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port_number(first)?, port_number(last)?) {
        (first, last) if first <= last => Ok(first..=last),
        (_, _) => Err(InvalidPort::Number),
    }
}

/// Reads a port; 0 is none.
pub(crate) fn port_number(text: &str) -> Result<u16, InvalidPort> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number != 0);
    number.ok_or(InvalidPort::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match short(text) {
            Err(error) => format!("error: {error}"),
            Ok(short) => {
                let range =
                    |range: RangeInclusive<u16>| format!("{}-{}", range.start(), range.end());
                let published = short.published.map(range);
                format!(
                    "{:?} {} {} {}",
                    short.address,
                    published.unwrap_or_else(|| "?".to_owned()),
                    range(short.target),
                    short.protocol
                )
            }
        }
    }

    #[test]
    fn a_short_port_is_read_as_compose_reads_it() {
        for (text, meaning) in [
            ("80", "\"\" ? 80-80 tcp"),
            ("8080:80", "\"\" 8080-8080 80-80 tcp"),
            ("127.0.0.1:8080:80", "\"127.0.0.1\" 8080-8080 80-80 tcp"),
            ("127.0.0.1::80", "\"127.0.0.1\" ? 80-80 tcp"),
            ("[::1]:8080:80", "\"::1\" 8080-8080 80-80 tcp"),
            ("::1:8080:80", "\"::1\" 8080-8080 80-80 tcp"),
            ("6060:6060/UDP", "\"\" 6060-6060 6060-6060 udp"),
            ("3000-3005", "\"\" ? 3000-3005 tcp"),
            ("9090-9091:8080-8081", "\"\" 9090-9091 8080-8081 tcp"),
            ("9090-9099:8080", "\"\" 9090-9099 8080-8080 tcp"),
            ("0:80", "\"\" 0-0 80-80 tcp"),
        ] {
            assert_eq!(shown(text), meaning, "{text}");
        }
        for text in [
            "", "x", "0", "65536", "80:", "80/icmp", "host:1:2", "5-3", "-1", "+1", "1:2:3:4",
            "1-2:1-3",
        ] {
            assert!(shown(text).starts_with("error"), "{text}: {}", shown(text));
        }
    }
}
