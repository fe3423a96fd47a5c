//! Readiness without a connection: which ports an instance listens on.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};

use netns::ambassador::Egress;
use netns::{CAPTURE_PORT, Listening, Namespace};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::support::{PATIENCE, ambassador, with_namespaces};

fn listen(namespace: &Namespace, address: impl Into<std::net::IpAddr>, port: u16) -> TcpListener {
    let address = SocketAddr::from((address.into(), port));
    namespace.enter(|| TcpListener::bind(address)).unwrap()
}

/// A listener on IPv6 alone, where `TcpListener` would also take IPv4.
fn listen_on_ipv6_alone(namespace: &Namespace, port: u16) -> TcpListener {
    let make = || {
        let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None)?;
        sockopt::set_ipv6_v6only(&socket, true)?;
        rustix::net::bind(
            &socket,
            &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0),
        )?;
        rustix::net::listen(&socket, 1)?;
        Ok(TcpListener::from(socket))
    };
    namespace.enter(make).unwrap()
}

#[test]
fn the_ports_found_are_those_that_localhost_reaches() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::Tcp, &[]);
        let mut listening = Listening::open(&namespace).unwrap();
        assert_eq!(listening.ports().unwrap(), BTreeSet::new());
        let reached = [
            listen(&namespace, Ipv4Addr::UNSPECIFIED, 80),
            listen(&namespace, Ipv4Addr::LOCALHOST, 81),
            listen(&namespace, Ipv6Addr::UNSPECIFIED, 82),
            listen(&namespace, Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 83),
        ];
        let not_reached = [
            listen(&namespace, Ipv6Addr::LOCALHOST, 84),
            listen_on_ipv6_alone(&namespace, 85),
            listen(&namespace, netns::INSTANCE_ADDRESS, 86),
        ];
        assert_eq!(listening.ports().unwrap(), BTreeSet::from([80, 81, 82, 83]));
        for port in 79..88 {
            assert_eq!(
                listening.accepts(port).unwrap(),
                (80..84).contains(&port),
                "{port}"
            );
        }
        assert!(listening.accepts(CAPTURE_PORT).unwrap());
        for listener in reached.iter().chain(&not_reached) {
            listener.set_nonblocking(true).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        drop((reached, not_reached, sockets));
        assert_eq!(listening.ports().unwrap(), BTreeSet::new());
        assert!(!listening.accepts(80).unwrap());
    });
}

#[test]
fn a_connection_without_its_listener_is_no_listener() {
    with_namespaces(|| {
        let (namespace, _sockets) = ambassador(Egress::None, &[]);
        let mut listening = Listening::open(&namespace).unwrap();
        let listener = listen(&namespace, Ipv4Addr::LOCALHOST, 80);
        let address = listener.local_addr().unwrap();
        let call = namespace
            .enter(|| TcpStream::connect_timeout(&address, PATIENCE))
            .unwrap();
        let connection = listener.accept().unwrap();
        drop(listener);
        assert!(!listening.accepts(80).unwrap());
        assert_eq!(listening.ports().unwrap(), BTreeSet::new());
        drop((call, connection));
    });
}

#[test]
fn without_inet_diag_a_connection_tells_whether_a_port_listens() {
    with_namespaces(|| {
        let (namespace, _sockets) = ambassador(Egress::None, &[]);
        let mut listening = Listening::by_connecting(&namespace);
        assert!(!listening.accepts(80).unwrap());
        let _listener = listen(&namespace, Ipv6Addr::UNSPECIFIED, 80);
        assert!(listening.accepts(80).unwrap());
        assert_eq!(
            listening.ports().unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    });
}

#[test]
fn hundreds_of_listeners_are_all_found() {
    with_namespaces(|| {
        let (namespace, _sockets) = ambassador(Egress::None, &[]);
        let mut listening = Listening::open(&namespace).unwrap();
        let ports: BTreeSet<u16> = (1000..1500).collect();
        let made: Vec<_> = ports
            .iter()
            .map(|&port| listen(&namespace, Ipv4Addr::UNSPECIFIED, port))
            .collect();
        assert_eq!(listening.ports().unwrap(), ports);
        drop(made);
    });
}
