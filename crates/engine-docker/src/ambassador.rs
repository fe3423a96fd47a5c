//! The ambassador of a container: installed from outside, and its sockets held.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use model::ServiceAddress;
use netns::Namespace;
use netns::ambassador::{self, Egress, InstallError, Sockets};
use ports::{Attachment, UdpCapture};

/// What an ambassador is to be. It is written beside the instance, since Docker may start the
/// container again when nobody is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// How many TCP captures.
    pub(crate) captures: usize,
    /// The UDP ports that are captured.
    pub(crate) udp: Vec<UdpCapture>,
}

/// An ambassador that is installed, and the namespace that it is in.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) namespace: Namespace,
    tcp: Vec<OwnedFd>,
    dns: OwnedFd,
    udp: Vec<(UdpCapture, OwnedFd)>,
}

impl Wish {
    /// `CAPTURES`, then `ADDRESS PORT` for each UDP port, a line each.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = format!("{}\n", self.captures);
        for UdpCapture { address, port } in &self.udp {
            text.push_str(&format!("{address} {port}\n"));
        }
        fs::write(path, text)
    }

    /// Reads what [`Wish::write`] writes.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        Self::parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let captures = lines.next()?.parse().ok()?;
        let capture = |line: &str| {
            let (address, port) = line.split_once(' ')?;
            let address = ServiceAddress::from_ip(address.parse::<Ipv4Addr>().ok()?)?;
            let port = port.parse().ok()?;
            Some(UdpCapture { address, port })
        };
        let udp = lines.map(capture).collect::<Option<_>>()?;
        Some(Self { captures, udp })
    }
}

impl Held {
    /// Installs an ambassador. The bridge of the container stays its way to the outside.
    pub(crate) fn install(namespace: Namespace, wish: &Wish) -> Result<Self, InstallError> {
        let capture = |capture: &UdpCapture| ambassador::UdpCapture {
            address: capture.address.ip(),
            port: capture.port,
        };
        let installed = ambassador::install_in(
            &namespace,
            &ambassador::Wish {
                tcp_captures: wish.captures,
                udp: wish.udp.iter().map(capture).collect(),
                egress: Egress::Own,
            },
        )?;
        let Sockets {
            tcp,
            dns,
            udp,
            unset,
        } = installed;
        for setting in unset {
            tracing::debug!(%setting, "Docker's stays");
        }
        let sockets = udp.into_iter().map(|(_, socket)| socket);
        Ok(Self {
            namespace,
            tcp,
            dns,
            udp: wish.udp.iter().copied().zip(sockets).collect(),
        })
    }

    /// Whether it is in this namespace.
    pub(crate) fn is_in(&self, other: &Namespace) -> bool {
        match (identity(&self.namespace), identity(other)) {
            (Ok(own), Ok(other)) => own == other,
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    /// Its sockets, for who serves them.
    pub(crate) fn attachment(&self) -> io::Result<Attachment> {
        let copy = |socket: &OwnedFd| socket.try_clone();
        let udp = self.udp.iter();
        Ok(Attachment {
            namespace: self.namespace.as_fd().try_clone_to_owned()?,
            tcp: self.tcp.iter().map(copy).collect::<io::Result<_>>()?,
            dns: copy(&self.dns)?,
            udp: udp
                .map(|(capture, socket)| Ok((*capture, copy(socket)?)))
                .collect::<io::Result<_>>()?,
        })
    }

    /// All that it holds, in the order that [`Held::from_kept`] takes.
    pub(crate) fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let Attachment {
            namespace,
            tcp,
            dns,
            udp,
        } = self.attachment()?;
        let udp = udp.into_iter().map(|(_, socket)| socket);
        let all = [namespace, dns].into_iter().chain(tcp).chain(udp);
        Ok(all.collect())
    }

    /// What a daemon before held; `None` when that was something else than is wished.
    pub(crate) fn from_kept(kept: Vec<OwnedFd>, wish: &Wish) -> Option<Self> {
        if kept.len() != 2 + wish.captures + wish.udp.len() {
            return None;
        }
        let mut kept = kept.into_iter();
        let namespace = Namespace::from_fd(kept.next()?);
        let dns = kept.next()?;
        let tcp = kept.by_ref().take(wish.captures).collect();
        Some(Self {
            namespace,
            tcp,
            dns,
            udp: wish.udp.iter().copied().zip(kept).collect(),
        })
    }
}

/// The address that a container has on its bridge; its loopback address when it has no way out.
pub(crate) fn own_address(namespace: &Namespace) -> IpAddr {
    // To connect a UDP socket sends nothing: it asks for the route. The address is one that
    // nobody has (RFC 5737).
    let ask = || {
        let socket = UdpSocket::from(namespace.datagram_socket().ok()?);
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ask().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The kernel's number of a namespace.
fn identity(namespace: &Namespace) -> io::Result<(u64, u64)> {
    let found = rustix::fs::fstat(namespace.as_fd())?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_reads_back_what_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ambassador");
        let address = ServiceAddress::from_ip(Ipv4Addr::new(127, 127, 0, 9)).unwrap();
        for udp in [vec![], vec![UdpCapture { address, port: 53 }]] {
            let wish = Wish { captures: 2, udp };
            wish.write(&path).unwrap();
            assert_eq!(Wish::read(&path).unwrap(), wish);
        }
        assert_eq!(Wish::parse(""), None);
        assert_eq!(Wish::parse("2\n10.0.0.1 5\n"), None);
    }
}
