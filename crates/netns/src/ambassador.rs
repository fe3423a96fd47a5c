//! Installing an ambassador: the sockets and rules inside one instance's network namespace.
//!
//! Most namespaces have no interface but `lo`, and the instance has no capability over them: an
//! ambassador is all there is between an instance and the rest of the world. A namespace that has
//! a way of its own to the outside keeps it ([`Egress::Own`]).
//!
//! After [`install`], in that namespace:
//!
//! | A call to | goes to |
//! |---|---|
//! | TCP, 127.127.0.0/16, any port | the TCP captures, 127.0.0.1:65127 |
//! | UDP, 127.127.0.1:53 | the DNS capture, 127.0.0.1:65127 |
//! | UDP, a declared address and port | its own capture, 127.0.0.1:65126 and down |
//! | anything else in 127.127.0.0/16 | nobody: refused at once (ICMP port unreachable) |
//! | TCP to the outside, [`Egress::Tcp`] | the TCP captures |
//! | TCP to the outside, [`Egress::None`] | nobody: the network is unreachable |
//! | anything else to the outside | nobody: `sendto` fails, EPERM or unreachable |
//! | anything to the outside, [`Egress::Own`] | where it would go without an ambassador |
//! | 127.0.0.0/8 otherwise, 10.127.0.1, `::1` | the instance itself, untouched |
//!
//! The outside is everything but 127.0.0.0/8 and 10.127.0.1. Calls of the instance to itself, and
//! the proxy's connections to 127.0.0.1, are not even tracked by the kernel (`notrack`), so they
//! cost next to nothing more than without the rules and take no place in the connection table.
//! Two calls to two services may share a source port; then the kernel gives the second one another
//! port on the capture side, and the caller sees none of it.
//!
//! Set where the machine lets us, and reported in [`Sockets::unset`] where not (everything else
//! must succeed):
//!
//! - `net.ipv4.ip_unprivileged_port_start` = 0: else an instance cannot bind ports below 1024.
//! - `net.ipv4.tcp_timestamps` = 2, no random offset for each destination: calls to two services
//!   from one source port look alike to a capture, and if the second's timestamps seem to lie
//!   before those of the first, which the capture had closed less than a minute ago, its first
//!   packet is taken for an old one and the call stalls for a second (about one in 2,000).
//! - `net.ipv4.ping_group_range`: else `ping` needs a capability.
//!
//! An instance that runs under our own user id could join the capture sockets with `SO_REUSEPORT`;
//! it would take its own calls from itself and nobody else's, since a capture has one caller.

mod interface;
mod rules;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{SocketType, sockopt};

pub use rules::KernelPart;

use crate::namespace::socket;
use crate::{CAPTURE_PORT, Namespace, NamespaceError, UDP_CAPTURE_PORT, UDP_CAPTURES_MAX};

/// How many connections may wait to be accepted at one capture socket.
const BACKLOG: i32 = 4096;

/// What an ambassador shall capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How many TCP capture sockets share the calls: one for each worker that accepts.
    pub tcp_captures: usize,
    /// The declared UDP ports of the services that the instance may call.
    pub udp: Vec<UdpCapture>,
    /// What becomes of calls to the outside.
    pub egress: Egress,
}

/// One UDP port of one service. A redirected datagram does not tell where it was sent, so each has
/// a capture socket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpCapture {
    /// The service's address.
    pub address: Ipv4Addr,
    /// The port that callers send to.
    pub port: u16,
}

/// What becomes of an instance's calls to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// TCP is captured, with the address that was called as its original destination.
    Tcp,
    /// Nothing leaves.
    None,
    /// They are left alone: the namespace has interfaces and routes of its own, or none. It also
    /// gets no [`crate::INSTANCE_ADDRESS`].
    Own,
}

/// The sockets of an installed ambassador: non-blocking, close-on-exec. The rules live as long as
/// the namespace; calls are refused once the sockets are closed.
#[derive(Debug)]
pub struct Sockets {
    /// Listening sockets; the kernel spreads connections over them.
    pub tcp: Vec<OwnedFd>,
    /// Receives the queries to [`crate::DNS_ADDRESS`], port 53; answer to where each came from.
    pub dns: OwnedFd,
    /// One socket for each wished capture, in the order of the wish.
    pub udp: Vec<(UdpCapture, OwnedFd)>,
    /// What this machine did not let us set.
    pub unset: Vec<Unset>,
}

/// A kernel setting of the namespace that could not be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot set {name} in the network namespace")]
pub struct Unset {
    /// The setting, as `sysctl` names it.
    pub name: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// Why an ambassador could not be installed. Part of it may be in place; the namespace is spoilt.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(NamespaceError),
    /// More UDP captures than one namespace may have.
    #[error(
        "{wished} udp captures wished for one instance, at most {UDP_CAPTURES_MAX} are possible"
    )]
    TooManyUdp {
        /// How many were wished.
        wished: usize,
    },
    /// A capture socket could not be made.
    #[error("cannot make the {protocol} capture socket on 127.0.0.1:{port}")]
    Socket {
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// The port on 127.0.0.1.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// A netlink socket could not be made or used.
    #[error("cannot talk to the kernel over netlink to {step}")]
    Netlink {
        /// What was to be done.
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// We may not administer this namespace.
    #[error("not permitted to {step}: this needs CAP_NET_ADMIN over the network namespace")]
    Forbidden {
        /// What was to be done.
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel was built without something that the rules need, or cannot load its module.
    #[error("cannot {step}: this kernel has no {part}; load the module or use a kernel with it")]
    Missing {
        /// What was to be done.
        step: String,
        /// What is missing.
        part: KernelPart,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused for another reason.
    #[error("cannot {step}")]
    Refused {
        /// What was to be done.
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Installs an ambassador in the network namespace that the calling thread is in.
///
/// Uses the calling thread alone, so a freshly cloned child may call it. It may be called again in
/// the same namespace once the earlier sockets are closed: the rules are then replaced.
///
/// # Errors
/// [`InstallError`] says which step failed and what the machine lacks.
pub fn install(wish: &Wish) -> Result<Sockets, InstallError> {
    check_count(&wish.udp)?;
    interface::bring_up(wish.egress)?;
    let unset = interface::set_sysctls();
    let tcp = (0..wish.tcp_captures)
        .map(|_| tcp_capture())
        .collect::<Result<_, _>>()?;
    let dns = udp_capture(CAPTURE_PORT)?;
    let udp = udp_captures(&wish.udp)?;
    rules::install(wish.egress, with_ports(&wish.udp))?;
    Ok(Sockets {
        tcp,
        dns,
        udp,
        unset,
    })
}

/// Adds UDP captures to an ambassador in the namespace that the calling thread is in, which was
/// installed with none; so one may be installed before it is known what it is to capture.
///
/// # Errors
/// As [`install`].
pub fn add_udp(udp: &[UdpCapture]) -> Result<Vec<(UdpCapture, OwnedFd)>, InstallError> {
    check_count(udp)?;
    let captures = udp_captures(udp)?;
    if !udp.is_empty() {
        rules::add_udp(with_ports(udp))?;
    }
    Ok(captures)
}

/// Installs an ambassador in `namespace`; the thread is back in its own when this returns.
///
/// # Errors
/// As [`install`]; [`InstallError::Namespace`] if the namespace cannot be entered.
pub fn install_in(namespace: &Namespace, wish: &Wish) -> Result<Sockets, InstallError> {
    namespace
        .visit(|| install(wish))
        .map_err(InstallError::Namespace)?
}

fn check_count(udp: &[UdpCapture]) -> Result<(), InstallError> {
    let wished = udp.len();
    if wished > UDP_CAPTURES_MAX {
        return Err(InstallError::TooManyUdp { wished });
    }
    Ok(())
}

/// What is to be captured, each with the port of its capture.
fn with_ports(udp: &[UdpCapture]) -> impl Iterator<Item = (UdpCapture, u16)> + Clone {
    udp.iter().copied().zip((0..=UDP_CAPTURE_PORT).rev())
}

fn udp_captures(udp: &[UdpCapture]) -> Result<Vec<(UdpCapture, OwnedFd)>, InstallError> {
    let captures = with_ports(udp).map(|(wished, port)| Ok((wished, udp_capture(port)?)));
    captures.collect()
}

fn tcp_capture() -> Result<OwnedFd, InstallError> {
    let open = || {
        let capture = socket(SocketType::STREAM)?;
        sockopt::set_socket_reuseport(&capture, true)?;
        rustix::net::bind(
            &capture,
            &SocketAddrV4::new(Ipv4Addr::LOCALHOST, CAPTURE_PORT),
        )?;
        rustix::net::listen(&capture, BACKLOG)?;
        Ok(capture)
    };
    open().map_err(|source| InstallError::Socket {
        protocol: "tcp",
        port: CAPTURE_PORT,
        source,
    })
}

fn udp_capture(port: u16) -> Result<OwnedFd, InstallError> {
    let open = || {
        let capture = socket(SocketType::DGRAM)?;
        rustix::net::bind(&capture, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        Ok(capture)
    };
    open().map_err(|source| InstallError::Socket {
        protocol: "udp",
        port,
        source,
    })
}
