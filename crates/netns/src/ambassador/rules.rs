//! The nftables ruleset, in the words that `nft list ruleset` would print it in:
//!
//! ```text
//! table ip roadstead {
//!   chain untracked {
//!     type filter hook output priority -300;
//!     tcp 127.0.0.1 to 127.0.0.1, neither port 65127, notrack
//!   }
//!   chain capture {
//!     type nat hook output priority -100;
//!     ip daddr 127.127.0.0/16 tcp redirect to :65127
//!     ip daddr 127.127.0.1 udp dport 53 redirect to :65127
//!     ip daddr ADDRESS udp dport PORT redirect to :CAPTURE          for each declared UDP port
//!     ip daddr != 127.0.0.0/8 ip daddr != 10.127.0.1 tcp redirect to :65127     for Egress::Tcp
//!   }
//!   chain outside {                                                      not for Egress::Own
//!     type filter hook output priority 0;
//!     ip daddr != 127.0.0.0/8 ip daddr != 10.127.0.1 reject
//!   }
//!   chain services {
//!     type filter hook prerouting priority 0;
//!     ip daddr 127.127.0.0/16 reject
//!   }
//! }
//! ```
//!
//! A chain of type nat may not reject, so there are chains that do; they see a captured packet
//! with its new destination, hence whatever still goes to a service or outside was not captured.
//! What goes to a service is rejected on its way in (there `sendto` has succeeded, and the answer
//! is ECONNREFUSED as from any closed port); what goes outside never comes in again, and is
//! rejected on its way out.
//!
//! The constants are those of `linux/netfilter/nf_tables.h`; each function below writes one
//! expression of it.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use super::{Egress, InstallError, UdpCapture};
use crate::netlink::{APPEND, Attributes, Batch, CREATE, EXCLUSIVE, ExchangeError, Socket};
use crate::{CAPTURE_PORT, DNS_ADDRESS, INSTANCE_ADDRESS, SERVICE_RANGE};

const TABLE: &str = "roadstead";
const UNTRACKED: &str = "untracked";
const CAPTURE: &str = "capture";
const OUTSIDE: &str = "outside";
const SERVICES: &str = "services";

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`: the kernel takes what is between as one.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `NFT_MSG_*`, under `NFNL_SUBSYS_NFTABLES`.
const NEW_TABLE: u16 = 10 << 8;
const DELETE_TABLE: u16 = (10 << 8) | 2;
const NEW_CHAIN: u16 = (10 << 8) | 3;
const NEW_RULE: u16 = (10 << 8) | 6;
/// `struct nfgenmsg`: family (`NFPROTO_IPV4`), version, resource.
const IPV4: [u8; 4] = [2, 0, 0, 0];
/// The same of a batch: any family, and as resource the subsystem nf_tables in network order.
const ANY: [u8; 4] = [0, 0, 0, 10];
/// `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_OUT`.
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;
/// The loopback network, 127.0.0.0/8.
const LOOPBACK: [u8; 1] = [127];
const TCP: u8 = 6;
const UDP: u8 = 17;
/// `NFT_REG_1`: the register that every match loads and compares.
const REGISTER: u32 = 1;

/// A part of the kernel that the rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelPart {
    /// Tables of rules, and the netlink family that they are written by.
    Tables,
    /// Chains that translate addresses.
    Nat,
    /// Leading a call to a port of the same namespace.
    Redirect,
    /// Refusing a packet with an answer.
    Reject,
    /// Leaving packets untracked.
    Untrack,
}

/// What the table with our name is at the end of a batch.
#[derive(Debug, Clone, Copy)]
enum Table {
    /// It was not there.
    New,
    /// It was there, with other rules.
    Replaced,
}

/// A comparison of a match.
#[derive(Debug, Clone, Copy)]
enum Comparison {
    /// `NFT_CMP_EQ`
    Equal = 0,
    /// `NFT_CMP_NEQ`
    Unequal = 1,
}

/// Where in a packet a match looks: `NFT_PAYLOAD_NETWORK_HEADER` or `_TRANSPORT_HEADER`, offset.
#[derive(Debug, Clone, Copy)]
struct Field(u32, u32);

/// The source address of an IPv4 packet, directly followed by its destination.
const SOURCE: Field = Field(1, 12);
const DESTINATION: Field = Field(1, 16);
/// The source and destination port of a TCP or UDP packet.
const SOURCE_PORT: Field = Field(2, 0);
const DESTINATION_PORT: Field = Field(2, 2);

/// The ruleset while it is written, with the words for each message should it be refused.
#[derive(Debug, Default)]
struct Ruleset {
    batch: Batch,
    steps: Vec<(String, KernelPart)>,
}

/// The expressions of the rule that is being written; a packet must pass each to meet the next.
struct Rule<'a, 'b>(&'a mut Attributes<'b>);

impl fmt::Display for KernelPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tables => "nf_tables (module nf_tables, CONFIG_NF_TABLES_IPV4)",
            Self::Nat => "nftables nat (modules nf_nat and nft_chain_nat, CONFIG_NFT_NAT)",
            Self::Redirect => "nftables redirect (module nft_redir, CONFIG_NFT_REDIR)",
            Self::Reject => "nftables reject (module nft_reject_ipv4, CONFIG_NFT_REJECT)",
            Self::Untrack => "nftables notrack (module nft_ct, CONFIG_NFT_CT)",
        })
    }
}

/// Writes the ruleset of the current namespace, in place of an earlier one; each declared UDP port
/// comes with the port of its capture.
///
/// Replacing is tried second: after a deletion the kernel makes us wait some 10 ms, until no
/// processor can be using the old rules any more, when we close the netlink socket.
pub(super) fn install(
    egress: Egress,
    udp: impl Iterator<Item = (UdpCapture, u16)> + Clone,
) -> Result<(), InstallError> {
    match Ruleset::write(Table::New, egress, udp.clone()).load() {
        Err(InstallError::Refused { source, .. })
            if source.kind() == io::ErrorKind::AlreadyExists =>
        {
            Ruleset::write(Table::Replaced, egress, udp).load()
        }
        outcome => outcome,
    }
}

/// Adds captures to the ruleset of the current namespace.
pub(super) fn add_udp(udp: impl Iterator<Item = (UdpCapture, u16)>) -> Result<(), InstallError> {
    let mut ruleset = Ruleset::default();
    ruleset.begin();
    ruleset.capture_udp(udp);
    ruleset.end();
    ruleset.load()
}

impl Ruleset {
    fn write(table: Table, egress: Egress, udp: impl Iterator<Item = (UdpCapture, u16)>) -> Self {
        let mut ruleset = Self::default();
        ruleset.begin();
        ruleset.table(table);
        ruleset.untrack_the_instance_itself();
        ruleset.capture(egress, udp);
        ruleset.refuse_the_rest(egress);
        ruleset.end();
        ruleset
    }

    fn begin(&mut self) {
        let step = "begin the rules";
        self.message(step, KernelPart::Tables, BATCH_BEGIN, 0, |_| {});
    }

    /// The answer is asked for the last rule: it says that all before it are in place too.
    fn end(&mut self) {
        self.batch.acknowledge_last();
        let step = "end the rules";
        self.message(step, KernelPart::Tables, BATCH_END, 0, |_| {});
    }

    fn load(&self) -> Result<(), InstallError> {
        let socket = Socket::open(Some(NETFILTER)).map_err(ExchangeError::Transport);
        let outcome = socket.and_then(|socket| socket.exchange(&self.batch));
        outcome.map_err(|error| explain(error, &self.steps))
    }

    /// To replace a table is to delete it and make it again, all in this one batch.
    fn table(&mut self, table: Table) {
        let messages: &[(u16, u16)] = match table {
            Table::New => &[(NEW_TABLE, CREATE | EXCLUSIVE)],
            Table::Replaced => &[(DELETE_TABLE, 0), (NEW_TABLE, CREATE)],
        };
        for &(kind, flags) in messages {
            let step = "make the nftables table";
            self.message(step, KernelPart::Tables, kind, flags, |table| {
                table.text(1, TABLE)
            });
        }
    }

    fn untrack_the_instance_itself(&mut self) {
        self.chain(UNTRACKED, "filter", OUTPUT, -300, KernelPart::Tables);
        let capture = CAPTURE_PORT.to_be_bytes();
        self.rule(
            UNTRACKED,
            "leave the instance's own calls alone",
            KernelPart::Untrack,
            |rule| {
                rule.protocol(TCP)
                    .field(SOURCE, Comparison::Equal, &[127, 0, 0, 1, 127, 0, 0, 1])
                    .field(SOURCE_PORT, Comparison::Unequal, &capture)
                    .field(DESTINATION_PORT, Comparison::Unequal, &capture)
                    .untrack();
            },
        );
    }

    fn capture(&mut self, egress: Egress, udp: impl Iterator<Item = (UdpCapture, u16)>) {
        let part = KernelPart::Redirect;
        self.chain(CAPTURE, "nat", OUTPUT, -100, KernelPart::Nat);
        self.rule(CAPTURE, "capture tcp to services", part, |rule| {
            rule.protocol(TCP).for_services().redirect(CAPTURE_PORT);
        });
        let dns = UdpCapture {
            address: DNS_ADDRESS,
            port: 53,
        };
        self.capture_udp([(dns, CAPTURE_PORT)].into_iter().chain(udp));
        match egress {
            Egress::Tcp => self.rule(CAPTURE, "capture tcp to the outside", part, |rule| {
                rule.protocol(TCP).for_the_outside().redirect(CAPTURE_PORT);
            }),
            Egress::None | Egress::Own => {}
        }
    }

    fn capture_udp(&mut self, udp: impl Iterator<Item = (UdpCapture, u16)>) {
        for (UdpCapture { address, port }, capture) in udp {
            let step = format!("capture udp to {address}:{port}");
            self.rule(CAPTURE, &step, KernelPart::Redirect, |rule| {
                rule.protocol(UDP)
                    .field(DESTINATION, Comparison::Equal, &address.octets())
                    .field(DESTINATION_PORT, Comparison::Equal, &port.to_be_bytes())
                    .redirect(capture);
            });
        }
    }

    fn refuse_the_rest(&mut self, egress: Egress) {
        let part = KernelPart::Reject;
        match egress {
            Egress::Tcp | Egress::None => {
                self.chain(OUTSIDE, "filter", OUTPUT, 0, KernelPart::Tables);
                self.rule(OUTSIDE, "refuse calls to the outside", part, |rule| {
                    rule.for_the_outside().reject();
                });
            }
            Egress::Own => {}
        }
        self.chain(SERVICES, "filter", PREROUTING, 0, KernelPart::Tables);
        self.rule(
            SERVICES,
            "refuse undeclared calls to services",
            part,
            |rule| {
                rule.for_services().reject();
            },
        );
    }

    /// `NFTA_CHAIN_*`: 1 table, 3 name, 4 hook (1 number, 2 priority), 7 type.
    fn chain(&mut self, name: &str, kind: &str, hook: u32, priority: i32, part: KernelPart) {
        let step = format!("make the nftables chain {name}");
        self.message(&step, part, NEW_CHAIN, CREATE, |chain| {
            chain.text(1, TABLE);
            chain.text(3, name);
            chain.nest(4, |attributes| {
                attributes.number(1, hook);
                attributes.number(2, priority.cast_unsigned());
            });
            chain.text(7, kind);
        });
    }

    /// `NFTA_RULE_*`: 1 table, 2 chain, 4 expressions.
    fn rule(
        &mut self,
        chain: &str,
        step: &str,
        part: KernelPart,
        body: impl FnOnce(&mut Rule<'_, '_>),
    ) {
        self.message(step, part, NEW_RULE, CREATE | APPEND, |rule| {
            rule.text(1, TABLE);
            rule.text(2, chain);
            rule.nest(4, |expressions| body(&mut Rule(expressions)));
        });
    }

    fn message(
        &mut self,
        step: &str,
        part: KernelPart,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        let fixed = if matches!(kind, BATCH_BEGIN | BATCH_END) {
            &ANY
        } else {
            &IPV4
        };
        self.batch.message(kind, flags, fixed, body);
        self.steps.push((step.to_owned(), part));
    }
}

impl Rule<'_, '_> {
    fn for_services(&mut self) -> &mut Self {
        self.field(DESTINATION, Comparison::Equal, &SERVICE_RANGE.octets()[..2])
    }

    fn for_the_outside(&mut self) -> &mut Self {
        self.field(DESTINATION, Comparison::Unequal, &LOOPBACK)
            .field(DESTINATION, Comparison::Unequal, &INSTANCE_ADDRESS.octets())
    }

    /// `NFTA_META_*`: 1 register, 2 key (`NFT_META_L4PROTO`).
    fn protocol(&mut self, protocol: u8) -> &mut Self {
        self.expression("meta", |meta| {
            meta.number(1, REGISTER);
            meta.number(2, 16);
        });
        self.compare(Comparison::Equal, &[protocol])
    }

    /// `NFTA_PAYLOAD_*`: 1 register, 2 header, 3 offset, 4 length.
    fn field(&mut self, field: Field, comparison: Comparison, value: &[u8]) -> &mut Self {
        let length = u32::try_from(value.len()).expect("a field is some bytes long");
        self.expression("payload", |payload| {
            payload.number(1, REGISTER);
            payload.number(2, field.0);
            payload.number(3, field.1);
            payload.number(4, length);
        });
        self.compare(comparison, value)
    }

    /// `NFTA_CMP_*`: 1 register, 2 operation, 3 data (1 value).
    fn compare(&mut self, comparison: Comparison, value: &[u8]) -> &mut Self {
        self.expression("cmp", |compare| {
            compare.number(1, REGISTER);
            compare.number(2, comparison as u32);
            compare.nest(3, |data| data.put(1, value));
        })
    }

    /// `NFTA_IMMEDIATE_*`: 1 register, 2 data (1 value); `NFTA_REDIR_REG_PROTO_MIN`: 1.
    fn redirect(&mut self, port: u16) {
        self.expression("immediate", |immediate| {
            immediate.number(1, REGISTER);
            immediate.nest(2, |data| data.put(1, &port.to_be_bytes()));
        });
        self.expression("redir", |redirect| redirect.number(1, REGISTER));
    }

    /// `NFTA_REJECT_*`: 1 type (`NFT_REJECT_ICMP_UNREACH`), 2 code (`ICMP_PORT_UNREACH`).
    fn reject(&mut self) {
        self.expression("reject", |reject| {
            reject.number(1, 0);
            reject.put(2, &[3]);
        });
    }

    fn untrack(&mut self) {
        self.expression("notrack", |_| {});
    }

    /// `NFTA_LIST_ELEM` (1) with `NFTA_EXPR_*`: 1 name, 2 data.
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.0.nest(1, |expression| {
            expression.text(1, name);
            expression.nest(2, data);
        });
        self
    }
}

/// Turns a refusal into words. A kernel without a part says EOPNOTSUPP for the whole subsystem,
/// ENOENT for a chain type or expression, EPROTONOSUPPORT for the netlink family.
fn explain(error: ExchangeError, steps: &[(String, KernelPart)]) -> InstallError {
    let (number, source) = match error {
        ExchangeError::Transport(source) => (0, source),
        ExchangeError::Refused(number, errno) => (number as usize, io::Error::from(errno)),
    };
    let (step, part) = steps.get(number).unwrap_or(&steps[0]).clone();
    match Errno::from_io_error(&source) {
        Some(Errno::PERM | Errno::ACCESS) => InstallError::Forbidden { step, source },
        Some(Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => {
            InstallError::Missing { step, part, source }
        }
        Some(_) => InstallError::Refused { step, source },
        None => InstallError::Netlink { step, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a user reads when the kernel refuses message `number` with `errno`.
    fn refusal(number: u32, errno: Errno) -> (InstallError, String) {
        let ruleset = Ruleset::write(Table::New, Egress::Tcp, std::iter::empty());
        let error = explain(ExchangeError::Refused(number, errno), &ruleset.steps);
        let words = error.to_string();
        (error, words)
    }

    #[test]
    fn a_kernel_without_a_part_is_told_by_the_part() {
        let parts = [
            (0, Errno::OPNOTSUPP, "CONFIG_NF_TABLES"),
            (3, Errno::NOENT, "CONFIG_NFT_CT"),
            (4, Errno::NOENT, "CONFIG_NFT_NAT"),
            (5, Errno::NOENT, "CONFIG_NFT_REDIR"),
            (9, Errno::NOENT, "CONFIG_NFT_REJECT"),
        ];
        for (number, errno, option) in parts {
            let (error, words) = refusal(number, errno);
            assert!(matches!(error, InstallError::Missing { .. }), "{words}");
            assert!(words.contains(option), "{words}");
        }
    }

    #[test]
    fn a_kernel_without_netfilter_netlink_has_no_tables() {
        let ruleset = Ruleset::write(Table::New, Egress::None, std::iter::empty());
        let error = ExchangeError::Transport(Errno::PROTONOSUPPORT.into());
        let words = explain(error, &ruleset.steps).to_string();
        assert!(words.contains("nf_tables"), "{words}");
    }

    #[test]
    fn other_refusals_name_the_step() {
        let (error, words) = refusal(0, Errno::PERM);
        assert!(matches!(error, InstallError::Forbidden { .. }), "{words}");
        let (error, words) = refusal(5, Errno::NOMEM);
        assert!(matches!(error, InstallError::Refused { .. }), "{words}");
        assert_eq!(words, "cannot capture tcp to services");
    }
}
