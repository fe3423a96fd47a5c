//! One message in, one decision out (RFC 1035; 2782 for SRV, 6891 for EDNS, 8482 for ANY).
//!
//! Records of ours live under `internal`. A question about anything else is forwarded, except for
//! single-label names, which belong to nobody outside (RFC 8499 knows them as dotless).

use std::net::Ipv4Addr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Question, Ttl};
use domain::rdata::{A, Ptr, Srv};
use model::{ServiceAddress, ServiceName};
use traffic::{Callee, DOMAIN, Directory};

/// An address stays with its service while the app is up; this bounds what a later `up` changes.
const TTL: Ttl = Ttl::from_secs(5);
/// What a message without EDNS may hold (RFC 1035, 2.3.4).
const SIZE_CLASSIC: usize = 512;
/// The largest answer sent by UDP, whatever was offered (DNS flag day 2020).
const SIZE_UDP_MAX: usize = 1232;
/// What the length before a message on TCP can say (RFC 1035, 4.2.2).
const SIZE_STREAM_MAX: usize = 65_535;
/// An OPT record without options.
const SIZE_OPT: usize = 11;

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This is sent back.
    Reply(Vec<u8>),
    /// It is asked of this machine's resolvers.
    Forward,
    /// Nothing is sent back: it is no question.
    Ignore,
}

type Asked<'a> = Question<ParsedName<&'a [u8]>>;

/// How a message came, which bounds how large its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// UDP: 512 bytes, or what EDNS offers up to 1,232.
    Datagram,
    /// TCP: 65,535 bytes.
    Stream,
}

/// Decides on a message from an instance of `caller`.
#[must_use]
pub fn answer(directory: &Directory, caller: &ServiceName, message: &[u8], over: Over) -> Answer {
    let Ok(message) = Message::from_octets(message) else {
        return Answer::Ignore;
    };
    if message.header().qr() {
        return Answer::Ignore;
    }
    if message.header().opcode() != Opcode::QUERY {
        return reply(&message, Rcode::NOTIMP, over, &[]);
    }
    let Ok(question) = message.sole_question() else {
        return reply(&message, Rcode::FORMERR, over, &[]);
    };
    if question.qclass() != Class::IN {
        return reply(&message, Rcode::REFUSED, over, &[]);
    }
    match records(directory, caller, &question) {
        Found::Records(records) => reply(&message, Rcode::NOERROR, over, &records),
        Found::NoSuchName => reply(&message, Rcode::NXDOMAIN, over, &[]),
        Found::NotOurs => Answer::Forward,
    }
}

/// An answer that says why a question could not be forwarded; empty when it is no question.
#[must_use]
pub(crate) fn failure(message: &[u8], rcode: Rcode) -> Vec<u8> {
    let Ok(message) = Message::from_octets(message) else {
        return Vec::new();
    };
    match reply(&message, rcode, Over::Datagram, &[]) {
        Answer::Reply(reply) => reply,
        Answer::Forward | Answer::Ignore => Vec::new(),
    }
}

enum Found {
    Records(Vec<Record>),
    NoSuchName,
    NotOurs,
}

enum Record {
    Address(Ipv4Addr),
    Pointer(Name<Vec<u8>>),
    Service { port: u16, target: Name<Vec<u8>> },
}

fn records(directory: &Directory, caller: &ServiceName, question: &Asked<'_>) -> Found {
    let name = question.qname().to_string().to_ascii_lowercase();
    if let Some(ip) = reversed(&name) {
        return pointer(directory, caller, ip, question.qtype());
    }
    if name == "localhost" || name.ends_with(".localhost") {
        let local = Record::Address(Ipv4Addr::LOCALHOST);
        return Found::Records(only_addresses(question.qtype(), local));
    }
    let (wanted, host) = service_labels(&name);
    match directory.resolve(caller, host) {
        Some(callee) if wanted.is_none() && question.qtype() != Rtype::SRV => Found::Records(
            only_addresses(question.qtype(), Record::Address(callee.address.ip())),
        ),
        Some(callee) if question.qtype() == Rtype::SRV => {
            Found::Records(services(directory, callee, wanted))
        }
        Some(_) => Found::Records(Vec::new()),
        None if is_ours(&name) => Found::NoSuchName,
        None => Found::NotOurs,
    }
}

/// The record for A and ANY; nothing for any other type, AAAA included: the name is there, and
/// has no such record.
fn only_addresses(asked: Rtype, address: Record) -> Vec<Record> {
    if matches!(asked, Rtype::A | Rtype::ANY) {
        vec![address]
    } else {
        Vec::new()
    }
}

/// Single-label names and all of `internal` are answered here and nowhere else.
fn is_ours(name: &str) -> bool {
    !name.contains('.')
        || name == DOMAIN
        || name.strip_suffix(DOMAIN).is_some_and(|n| n.ends_with('.'))
}

/// Which of a service's ports an SRV name asks for: `_80._tcp.rng`, `_http._tcp.rng`.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    transport: model::Transport,
    port: Option<u16>,
}

fn service_labels(name: &str) -> (Option<Wanted>, &str) {
    let parsed = (|| {
        let (service, rest) = name.strip_prefix('_')?.split_once('.')?;
        let (protocol, host) = rest.strip_prefix('_')?.split_once('.')?;
        let transport = match protocol {
            "tcp" => model::Transport::Tcp,
            "udp" => model::Transport::Udp,
            _ => return None,
        };
        Some((
            Wanted {
                transport,
                port: service.parse().ok(),
            },
            host,
        ))
    })();
    match parsed {
        Some((wanted, host)) => (Some(wanted), host),
        None => (None, name),
    }
}

fn services(directory: &Directory, callee: Callee<'_>, wanted: Option<Wanted>) -> Vec<Record> {
    let Some(spec) = directory.service(callee.service) else {
        return Vec::new();
    };
    let target = format!("{}.{}.{DOMAIN}", callee.service, directory.app());
    let Ok(target) = Name::<Vec<u8>>::vec_from_str(&target) else {
        return Vec::new();
    };
    let asked = |port: &&model::Port| {
        wanted.is_none_or(|w| {
            w.transport == port.transport && w.port.is_none_or(|number| number == port.number)
        })
    };
    let record = |port: &model::Port| Record::Service {
        port: port.number,
        target: target.clone(),
    };
    spec.expose.iter().filter(asked).map(record).collect()
}

fn pointer(directory: &Directory, caller: &ServiceName, ip: Ipv4Addr, asked: Rtype) -> Found {
    let name = match ServiceAddress::from_ip(ip) {
        Some(address) => directory.canonical(caller, address),
        None if ip == ServiceAddress::NAME_SERVER => Some(format!("roads.{DOMAIN}")),
        None if ip.is_loopback() => Some("localhost".to_owned()),
        None => return Found::NotOurs,
    };
    let Some(name) = name.and_then(|name| Name::vec_from_str(&name).ok()) else {
        return Found::NoSuchName;
    };
    let is_pointer = matches!(asked, Rtype::PTR | Rtype::ANY);
    Found::Records(if is_pointer {
        vec![Record::Pointer(name)]
    } else {
        Vec::new()
    })
}

/// `5.0.127.127.in-addr.arpa` is 127.127.0.5 (RFC 1035, 3.5).
fn reversed(name: &str) -> Option<Ipv4Addr> {
    let reversed: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [a, b, c, d] = reversed.octets();
    Some(Ipv4Addr::new(d, c, b, a))
}

fn reply(message: &Message<&[u8]>, rcode: Rcode, over: Over, records: &[Record]) -> Answer {
    let offered = message
        .opt()
        .map_or(0, |opt| usize::from(opt.udp_payload_size()));
    let limit = match over {
        Over::Stream => SIZE_STREAM_MAX,
        Over::Datagram => offered.clamp(SIZE_CLASSIC, SIZE_UDP_MAX),
    };
    match build(message, rcode, limit, records) {
        Some(reply) => Answer::Reply(reply),
        None => Answer::Ignore,
    }
}

fn build(
    message: &Message<&[u8]>,
    rcode: Rcode,
    limit: usize,
    records: &[Record],
) -> Option<Vec<u8>> {
    let builder = MessageBuilder::from_target(Vec::with_capacity(SIZE_CLASSIC)).ok()?;
    let mut answer = builder.start_answer(message, rcode).ok()?;
    answer.header_mut().set_ra(true);
    answer
        .header_mut()
        .set_aa(rcode == Rcode::NOERROR || rcode == Rcode::NXDOMAIN);
    let opt = message.opt().is_some();
    // Beside the records there must be room for the OPT record.
    answer.set_push_limit(if opt { limit - SIZE_OPT } else { limit });
    let owner = message
        .first_question()
        .map(|question| question.into_qname());
    for record in records {
        if push(&mut answer, owner.as_ref()?, record).is_none() {
            answer.header_mut().set_tc(true);
            break;
        }
    }
    answer.clear_push_limit();
    let mut additional = answer.additional();
    if opt {
        let size = u16::try_from(SIZE_UDP_MAX).ok()?;
        additional
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                Ok(())
            })
            .ok()?;
    }
    Some(additional.finish())
}

fn push(
    answer: &mut AnswerBuilder<Vec<u8>>,
    owner: &ParsedName<&[u8]>,
    record: &Record,
) -> Option<()> {
    match record {
        Record::Address(ip) => answer.push((owner, Class::IN, TTL, A::new(*ip))),
        Record::Pointer(name) => answer.push((owner, Class::IN, TTL, Ptr::new(name))),
        Record::Service { port, target } => {
            answer.push((owner, Class::IN, TTL, Srv::new(0, 1, *port, target)))
        }
    }
    .ok()
}

#[cfg(test)]
mod tests;
