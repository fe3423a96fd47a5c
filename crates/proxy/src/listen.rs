//! Listeners in this machine's own namespace: the ingress and the published ports. Opened,
//! handed over from proxy to proxy, and closed; never served here.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use model::{AppName, Port, Publish, ServiceName, Transport};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::KeepListener;
use crate::desired::Listener;
use crate::holder::{Holder, holder};
use crate::worker::Destination;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A published port that accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The service behind it.
    pub service: ServiceName,
    /// Its port there.
    pub target: Port,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A port that could not be published.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish port {port} of service {service} on {address}: {why}")]
pub struct ListenError {
    /// The service behind it.
    pub service: ServiceName,
    /// The address wished for.
    pub address: IpAddr,
    /// The port wished for; 0 means any.
    pub port: u16,
    /// Why.
    pub why: BindError,
}

/// Why an address could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody has it.
    #[error("the address is in use{}", by(.0.as_ref()))]
    InUse(Option<Holder>),
    /// It is one of the low ports, and we are not root.
    #[error("ports below net.ipv4.ip_unprivileged_port_start are not allowed to this user")]
    LowPort,
    /// No interface of this machine has it.
    #[error("no interface of this machine has this address")]
    NotHere,
    /// Two wishes want the same address.
    #[error("service {0} of app {1} has it")]
    Ours(ServiceName, AppName),
    /// Another reason.
    #[error("the kernel refused it: {0}")]
    Refused(io::Error),
}

fn by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| format!(" by {holder}"))
}

/// A listener that is to be kept for a later proxy, or no longer.
#[derive(Debug)]
pub enum ListenerChange {
    /// It was opened.
    Opened {
        /// Its name, by which a later proxy knows it.
        name: String,
        /// A copy of its socket.
        socket: OwnedFd,
    },
    /// It was closed; the copy is to be closed too.
    Closed {
        /// Its name.
        name: String,
    },
}

/// What a listener is for, and so what it is called when it is handed over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// `SERVICE.APP.localhost`.
    Ingress,
    /// A published port.
    Published(Published),
}

/// A wish to publish a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Published {
    pub(crate) app: AppName,
    pub(crate) service: ServiceName,
    pub(crate) target: Port,
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Published {
    /// Where its connections go.
    pub(crate) fn destination(&self) -> Destination {
        let (app, service) = (self.app.clone(), self.service.clone());
        Destination {
            app,
            service,
            port: self.target.number,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Published(published) = self else {
            return f.write_str("ingress");
        };
        let Published {
            app,
            service,
            target,
            address,
            port,
        } = published;
        let transport = match target.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let address = address.map_or_else(|| "*".to_owned(), |address| address.to_string());
        let port = port.map_or_else(|| "*".to_owned(), |port| port.to_string());
        write!(
            f,
            "published/{app}/{service}/{transport}/{}/{address}/{port}",
            target.number
        )
    }
}

impl Place {
    /// Reads what `Display` writes.
    fn parse(text: &str) -> Option<Self> {
        if text == "ingress" {
            return Some(Self::Ingress);
        }
        let mut parts = text.strip_prefix("published/")?.split('/');
        let app = AppName::new(parts.next()?).ok()?;
        let service = ServiceName::new(parts.next()?).ok()?;
        let transport = match parts.next()? {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return None,
        };
        let target = Port {
            number: parts.next()?.parse().ok()?,
            transport,
        };
        let address = match parts.next()? {
            "*" => None,
            address => Some(address.parse().ok()?),
        };
        let port = match parts.next()? {
            "*" => None,
            port => Some(port.parse().ok()?),
        };
        Some(Self::Published(Published {
            app,
            service,
            target,
            address,
            port,
        }))
    }
}

/// The listeners that are open, and those that an earlier proxy left and nobody has wished for yet.
pub(crate) struct Openings {
    listeners: BTreeMap<Place, Arc<Listener>>,
    adopted: BTreeMap<Place, OwnedFd>,
    keep: KeepListener,
}

impl fmt::Debug for Openings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Openings")
            .field("listeners", &self.listeners)
            .field("adopted", &self.adopted)
            .finish_non_exhaustive()
    }
}

impl Openings {
    pub(crate) fn new(adopted: Vec<(String, OwnedFd)>, keep: KeepListener) -> Self {
        let mut known = BTreeMap::new();
        for (name, socket) in adopted {
            match Place::parse(&name) {
                Some(place) => drop(known.insert(place, socket)),
                None => keep(ListenerChange::Closed { name }),
            }
        }
        Self {
            listeners: BTreeMap::new(),
            adopted: known,
            keep,
        }
    }

    /// What is open.
    pub(crate) fn listeners(&self) -> &BTreeMap<Place, Arc<Listener>> {
        &self.listeners
    }

    /// Opens the ingress, or takes over the earlier proxy's if it is on this address.
    pub(crate) fn open_ingress(&mut self, address: SocketAddr) -> Result<(), BindError> {
        if let Some(listener) = self.adopt(&Place::Ingress)
            && (listener.address == address || address.port() == 0)
        {
            self.listeners.insert(Place::Ingress, Arc::new(listener));
            return Ok(());
        }
        self.open(Place::Ingress, Transport::Tcp, address).map(drop)
    }

    /// Makes exactly these ports of an app open.
    pub(crate) fn reconcile(
        &mut self,
        app: &AppName,
        wishes: &[(ServiceName, Publish)],
    ) -> Result<Vec<Listening>, Vec<ListenError>> {
        let wished: Vec<Published> = wishes
            .iter()
            .map(|(service, publish)| published(app, service, publish))
            .collect();
        self.close_unwished(app, &wished);
        let (mut open, mut failed) = (Vec::new(), Vec::new());
        for wish in wished {
            let (service, target) = (wish.service.clone(), wish.target);
            let (address, port) = (wish.address, wish.port.unwrap_or(0));
            match self.open_published(wish) {
                Ok(address) => open.push(Listening {
                    service,
                    target,
                    address,
                }),
                Err(why) => {
                    let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
                    failed.push(ListenError {
                        service,
                        address,
                        port,
                        why,
                    });
                }
            }
        }
        if failed.is_empty() {
            Ok(open)
        } else {
            Err(failed)
        }
    }

    fn close_unwished(&mut self, app: &AppName, wished: &[Published]) {
        let unwished = |place: &Place| match place {
            Place::Ingress => false,
            Place::Published(published) => published.app == *app && !wished.contains(published),
        };
        let keep = &self.keep;
        let closed = |place: &Place| {
            keep(ListenerChange::Closed {
                name: place.to_string(),
            })
        };
        self.listeners
            .retain(|place, _| !unwished(place) || (closed(place), false).1);
        self.adopted
            .retain(|place, _| !unwished(place) || (closed(place), false).1);
    }

    /// Where it listens.
    fn open_published(&mut self, wish: Published) -> Result<SocketAddr, BindError> {
        let (transport, address, port) =
            (wish.target.transport, wish.address, wish.port.unwrap_or(0));
        let place = Place::Published(wish);
        if let Some(listener) = self.listeners.get(&place) {
            return Ok(listener.address);
        }
        if let Some(listener) = self.adopt(&place) {
            let address = listener.address;
            self.listeners.insert(place, Arc::new(listener));
            return Ok(address);
        }
        if let Some(address) = address {
            return self.open(place, transport, SocketAddr::new(address, port));
        }
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        match self.open(place.clone(), transport, everywhere) {
            // This machine has no IPv6.
            Err(BindError::Refused(_) | BindError::NotHere) => {
                let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
                self.open(place, transport, everywhere)
            }
            outcome => outcome,
        }
    }

    fn adopt(&mut self, place: &Place) -> Option<Listener> {
        let socket = self.adopted.remove(place)?;
        let address = rustix::net::getsockname(&socket).ok()?.try_into().ok()?;
        let transport = match place {
            Place::Ingress => Transport::Tcp,
            Place::Published(published) => published.target.transport,
        };
        Some(Listener {
            transport,
            socket,
            address,
        })
    }

    /// Where it is bound.
    fn open(
        &mut self,
        place: Place,
        transport: Transport,
        address: SocketAddr,
    ) -> Result<SocketAddr, BindError> {
        let socket =
            bind(transport, address).map_err(|errno| self.why_not(errno, transport, address))?;
        let refused = |errno: Errno| BindError::Refused(errno.into());
        let bound = rustix::net::getsockname(&socket).map_err(refused)?;
        let address = bound.try_into().map_err(refused)?;
        match socket.try_clone() {
            Ok(socket) => {
                (self.keep)(ListenerChange::Opened {
                    name: place.to_string(),
                    socket,
                });
            }
            Err(error) => tracing::warn!(%place, %error, "cannot keep a listener"),
        }
        let listener = Listener {
            transport,
            socket,
            address,
        };
        self.listeners.insert(place, Arc::new(listener));
        Ok(address)
    }

    fn why_not(&self, errno: Errno, transport: Transport, address: SocketAddr) -> BindError {
        match errno {
            Errno::ADDRINUSE => self.who_has(transport, address),
            Errno::ACCESS => BindError::LowPort,
            Errno::ADDRNOTAVAIL => BindError::NotHere,
            errno => BindError::Refused(errno.into()),
        }
    }

    fn who_has(&self, transport: Transport, address: SocketAddr) -> BindError {
        let ours = self.listeners.iter().find(|(_, listener)| {
            listener.transport == transport && listener.address.port() == address.port()
        });
        match ours {
            Some((Place::Published(published), _)) => {
                BindError::Ours(published.service.clone(), published.app.clone())
            }
            Some((Place::Ingress, _)) | None => BindError::InUse(holder(transport, address.port())),
        }
    }
}

fn published(app: &AppName, service: &ServiceName, publish: &Publish) -> Published {
    Published {
        app: app.clone(),
        service: service.clone(),
        target: publish.target,
        address: publish.address,
        port: publish.published,
    }
}

/// A bound, non-blocking socket; a TCP one listens. No other process may share the address.
fn bind(transport: Transport, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    if transport == Transport::Tcp {
        // Connections of an earlier listener that linger do not keep the address.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if transport == Transport::Tcp {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn publish(port: u16, transport: Transport) -> Publish {
        Publish {
            address: Some(Ipv4Addr::LOCALHOST.into()),
            published: (port != 0).then_some(port),
            target: Port {
                number: 80,
                transport,
            },
        }
    }

    fn names() -> (AppName, ServiceName) {
        (
            AppName::new("app").unwrap(),
            ServiceName::new("web").unwrap(),
        )
    }

    type Kept = Arc<Mutex<BTreeMap<String, OwnedFd>>>;

    fn openings(adopted: Vec<(String, OwnedFd)>) -> (Openings, Kept) {
        let kept = Kept::default();
        let keep = Arc::clone(&kept);
        let change = Arc::new(move |change| {
            let mut kept = keep.lock().unwrap();
            match change {
                ListenerChange::Opened { name, socket } => drop(kept.insert(name, socket)),
                ListenerChange::Closed { name } => drop(kept.remove(&name)),
            }
        });
        (Openings::new(adopted, change), kept)
    }

    #[test]
    fn a_place_reads_back_what_it_prints() {
        let (app, service) = names();
        let everywhere = Publish {
            address: None,
            published: None,
            target: Port {
                number: 53,
                transport: Transport::Udp,
            },
        };
        for publish in [
            publish(0, Transport::Tcp),
            publish(80, Transport::Udp),
            everywhere,
        ] {
            let place = Place::Published(published(&app, &service, &publish));
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        assert_eq!(Place::parse("ingress"), Some(Place::Ingress));
        assert_eq!(Place::parse("published/app"), None);
    }

    #[test]
    fn exactly_the_wished_ports_are_open() {
        let (app, web) = names();
        let (mut openings, kept) = openings(Vec::new());
        let wish = [(web.clone(), publish(0, Transport::Tcp))];
        let open = openings.reconcile(&app, &wish).unwrap();
        assert_eq!(openings.reconcile(&app, &wish).unwrap(), open);
        assert!(std::net::TcpStream::connect(open[0].address).is_ok());
        assert_eq!(kept.lock().unwrap().len(), 1);
        assert_eq!(openings.reconcile(&app, &[]).unwrap(), []);
        assert!(kept.lock().unwrap().is_empty());
        assert!(std::net::TcpStream::connect(open[0].address).is_err());
    }

    #[test]
    fn a_listener_is_handed_over_without_being_closed() {
        let (app, web) = names();
        let wish = [(web, publish(0, Transport::Tcp))];
        let (mut first, kept) = openings(Vec::new());
        let open = first.reconcile(&app, &wish).unwrap();
        let kept = std::mem::take(&mut *kept.lock().unwrap());
        drop(first);
        let (mut second, _kept) = openings(kept.into_iter().collect());
        assert_eq!(second.reconcile(&app, &wish).unwrap(), open);
    }

    #[test]
    fn a_taken_port_names_the_process_that_has_it() {
        let (app, web) = names();
        for transport in [Transport::Tcp, Transport::Udp] {
            let taken = bind(transport, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = SocketAddr::try_from(rustix::net::getsockname(&taken).unwrap()).unwrap();
            let (mut openings, _kept) = openings(Vec::new());
            let wish = [(web.clone(), publish(address.port(), transport))];
            let failed = openings.reconcile(&app, &wish).unwrap_err();
            let words = failed[0].to_string();
            let process = format!("(process {})", std::process::id());
            assert!(words.contains(&process), "{words}");
        }
    }
}
