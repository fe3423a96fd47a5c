//! Which TCP ports an instance listens on, asked of the kernel without connecting to any.
//!
//! A connection would be accepted by the instance's program, and show in its logs; so we ask
//! `sock_diag` by a socket made inside the instance's namespace. Asking for one port is a lookup
//! ([`Listening::accepts`], some microseconds); listing all walks the kernel's whole table of
//! listeners ([`Listening::ports`]).

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::sockopt;

use crate::netlink::{self, Answer, Batch, DUMP, Socket};
use crate::{CAPTURE_PORT, Namespace, NamespaceError};

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// `AF_INET`, `AF_INET6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
/// `TCP_LISTEN` of `net/tcp_states.h`.
const LISTEN: u8 = 10;
/// `INET_DIAG_SKV6ONLY` of `linux/inet_diag.h`.
const V6_ONLY: u16 = 11;
/// The bytes of `struct inet_diag_msg`; attributes follow.
const RECORD: usize = 72;
/// How long a connection to a loopback address may take to be accepted or refused.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(10);

/// Watches the TCP ports that listen in one namespace and can be dialled at 127.0.0.1 there.
///
/// A listener on another address, or on IPv6 alone, does not count: the proxy cannot reach it.
#[derive(Debug)]
pub struct Listening {
    method: Method,
}

#[derive(Debug)]
enum Method {
    /// Ask the kernel, by a socket made inside.
    Ask { socket: Socket, buffer: Vec<u8> },
    /// This kernel cannot be asked (no `CONFIG_INET_DIAG`): connect, and see.
    Connect(Namespace),
}

impl Listening {
    /// Opens a watch on `namespace`. Where the kernel has no `inet_diag`, it will connect instead.
    ///
    /// # Errors
    /// [`NamespaceError`] if the namespace cannot be entered.
    pub fn open(namespace: &Namespace) -> Result<Self, NamespaceError> {
        let asking = namespace.visit(|| {
            let mut asking = Self::asking(Socket::open(Some(SOCK_DIAG))?);
            // Without the part for TCP the socket opens, and every question fails.
            asking.ports()?;
            Ok::<_, io::Error>(asking)
        })?;
        Ok(asking.unwrap_or_else(|_| Self::by_connecting(namespace)))
    }

    /// A watch that connects, as [`Listening::open`] makes it where the kernel cannot be asked.
    #[must_use]
    pub fn by_connecting(namespace: &Namespace) -> Self {
        Self {
            method: Method::Connect(namespace.clone()),
        }
    }

    /// The ports that listen now, without [`CAPTURE_PORT`].
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::Unsupported`] where it has no `inet_diag`.
    pub fn ports(&mut self) -> io::Result<BTreeSet<u16>> {
        let Method::Ask { socket, buffer } = &mut self.method else {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        };
        let mut ports = BTreeSet::new();
        for family in [IPV4, IPV6] {
            socket.send(question(DUMP, family, &[0; 48]).bytes())?;
            let found = |record: &[u8]| ports.extend(reachable_port(record));
            match collect(socket, buffer, found) {
                // A kernel without IPv6 has no listeners there.
                Err(Errno::NOENT) if family == IPV6 => {}
                outcome => outcome?,
            }
        }
        ports.remove(&CAPTURE_PORT);
        Ok(ports)
    }

    /// Whether something listens on 127.0.0.1:`port`, cheap enough to ask every millisecond.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn accepts(&mut self, port: u16) -> io::Result<bool> {
        match &mut self.method {
            Method::Ask { socket, buffer } => {
                socket.send(question(0, IPV4, &listener(port)).bytes())?;
                let piece = socket.receive(buffer)?;
                match netlink::answers(piece).next() {
                    Some(Answer::Data(record)) => Ok(record.get(1) == Some(&LISTEN)),
                    Some(Answer::Refused(_, Errno::NOENT)) | None => Ok(false),
                    Some(Answer::Refused(_, errno)) => Err(errno.into()),
                    Some(Answer::Done(_)) => Ok(false),
                }
            }
            Method::Connect(namespace) => connect(namespace, port),
        }
    }

    fn asking(socket: Socket) -> Self {
        Self {
            method: Method::Ask {
                socket,
                buffer: vec![0; 32 * 1024],
            },
        }
    }
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, `inet_diag_sockid`.
fn question(flags: u16, family: u8, socket: &[u8; 48]) -> Batch {
    let mut request = [0; 56];
    request[..2].copy_from_slice(&[family, TCP]);
    request[4..8].copy_from_slice(&(1u32 << LISTEN).to_ne_bytes());
    request[8..].copy_from_slice(socket);
    let mut batch = Batch::default();
    batch.message(BY_FAMILY, flags, &request, |_| {});
    batch
}

/// `struct inet_diag_sockid`: ports, source[4], destination[4], interface, cookie (none).
///
/// The destination is no address and port 0, which no connection has; so the kernel finds what
/// a first packet to the source would find.
fn listener(port: u16) -> [u8; 48] {
    let mut id = [0; 48];
    id[..2].copy_from_slice(&port.to_be_bytes());
    id[4..8].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    id[40..].fill(0xff);
    id
}

/// Hands each record of a dump to `found`.
fn collect(socket: &Socket, buffer: &mut [u8], mut found: impl FnMut(&[u8])) -> Result<(), Errno> {
    loop {
        let piece = socket
            .receive(buffer)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        for answer in netlink::answers(piece) {
            match answer {
                Answer::Data(record) => found(record),
                Answer::Done(_) => return Ok(()),
                Answer::Refused(_, errno) => return Err(errno),
            }
        }
    }
}

/// The port of a record (`struct inet_diag_msg` and attributes), if 127.0.0.1 reaches it.
fn reachable_port(record: &[u8]) -> Option<u16> {
    let fixed = record.first_chunk::<RECORD>()?;
    let port = u16::from_be_bytes([fixed[4], fixed[5]]);
    let address: [u8; 16] = *fixed[8..].first_chunk()?;
    let reached = if fixed[0] == IPV4 {
        let address = Ipv4Addr::from(*address.first_chunk::<4>()?);
        address.is_unspecified() || address == Ipv4Addr::LOCALHOST
    } else {
        let address = Ipv6Addr::from(address);
        let v6_only = netlink::attribute(&record[RECORD..], V6_ONLY) == Some(&[1]);
        (address.is_unspecified() && !v6_only)
            || address.to_ipv4_mapped() == Some(Ipv4Addr::LOCALHOST)
    };
    reached.then_some(port)
}

fn connect(namespace: &Namespace, port: u16) -> io::Result<bool> {
    let socket = namespace.connect_socket().map_err(io::Error::other)?;
    match rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) => return Ok(true),
        Err(Errno::INPROGRESS) => {}
        Err(Errno::CONNREFUSED) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    }
    let timeout = Timespec::try_from(CONNECT_TIMEOUT).expect("a timeout of milliseconds fits");
    let ready = rustix::event::poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout))?;
    Ok(ready == 1 && sockopt::socket_error(&socket)?.is_ok())
}
