//! Where a captured connection wanted to go.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;

use rustix::net::sockopt;

use crate::CAPTURE_PORT;

/// How a connection came to a capture socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The ruleset led it here; the instance had called this address.
    Captured(SocketAddrV4),
    /// The instance dialled the capture port itself, so it asks for no service.
    Direct,
}

/// Where the peer of an accepted connection had wanted to go (`SO_ORIGINAL_DST`).
///
/// The kernel looks in the namespace of the socket, so this may be asked from anywhere.
///
/// # Errors
/// What the kernel says, if `connection` is not an IPv4 TCP socket.
pub fn original_destination(connection: impl AsFd) -> io::Result<Origin> {
    let capture = SocketAddrV4::new(Ipv4Addr::LOCALHOST, CAPTURE_PORT);
    match sockopt::ip_original_dst(connection) {
        Ok(destination) if destination == capture => Ok(Origin::Direct),
        Ok(destination) => Ok(Origin::Captured(destination)),
        Err(rustix::io::Errno::NOENT) => Ok(Origin::Direct),
        Err(error) => Err(error.into()),
    }
}
