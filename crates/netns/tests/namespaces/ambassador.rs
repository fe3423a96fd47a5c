//! What an instance's calls meet once an ambassador is installed in its namespace.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;

use netns::ambassador::{self, Egress, InstallError, UdpCapture, Wish};
use netns::{CAPTURE_PORT, DNS_ADDRESS, Namespace, Origin, UDP_CAPTURES_MAX};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::support::{self, PATIENCE, ambassador, fresh_namespace, skip, with_namespaces};

const RNG: Ipv4Addr = Ipv4Addr::new(127, 127, 0, 9);
const HASHER: Ipv4Addr = Ipv4Addr::new(127, 127, 0, 10);
/// An address of the outside, reserved for documentation: nobody has it.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A capture, or any socket that answers, as a blocking one that does not wait for ever.
fn listener(socket: &OwnedFd) -> TcpListener {
    let listener = TcpListener::from(socket.try_clone().unwrap());
    listener.set_nonblocking(false).unwrap();
    sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
    listener
}

fn datagrams(socket: &OwnedFd) -> UdpSocket {
    let socket = UdpSocket::from(socket.try_clone().unwrap());
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn dial(namespace: &Namespace, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    inside(namespace, || {
        TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE)
    })
}

fn inside<T: Send>(
    namespace: &Namespace,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    namespace.enter(work).map_err(|error| {
        let netns::NamespaceError::Inside { source } = error else {
            panic!("{error}")
        };
        source
    })
}

/// A UDP socket inside, connected, so that it hears of refusals.
fn datagram_caller(namespace: &Namespace, address: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = inside(namespace, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    socket.connect((address, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn origin(connection: &TcpStream) -> Origin {
    netns::original_destination(connection).unwrap()
}

fn captured(address: Ipv4Addr, port: u16) -> Origin {
    Origin::Captured(SocketAddrV4::new(address, port))
}

#[test]
fn a_call_to_any_port_of_a_service_arrives_with_its_destination() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        let capture = listener(&sockets.tcp[0]);
        for port in [1, 53, 80, 6379, CAPTURE_PORT, 65535] {
            let mut call = dial(&namespace, RNG, port).unwrap();
            let (mut connection, _) = capture.accept().unwrap();
            assert_eq!(origin(&connection), captured(RNG, port));
            assert_eq!(call.peer_addr().unwrap(), SocketAddr::from((RNG, port)));
            connection.write_all(b"hello").unwrap();
            let mut heard = [0; 5];
            call.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"hello");
        }
    });
}

#[test]
fn a_service_may_listen_on_the_port_that_it_calls_others_on() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        let capture = listener(&sockets.tcp[0]);
        let own = inside(&namespace, || {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80))
        })
        .unwrap();
        let _call = dial(&namespace, RNG, 80).unwrap();
        assert_eq!(origin(&capture.accept().unwrap().0), captured(RNG, 80));
        for address in [
            Ipv4Addr::LOCALHOST,
            netns::INSTANCE_ADDRESS,
            Ipv4Addr::new(127, 0, 0, 2),
        ] {
            let to_itself = dial(&namespace, address, 80).unwrap();
            let (_, from) = own.accept().unwrap();
            assert_eq!(from, to_itself.local_addr().unwrap());
        }
        own.set_nonblocking(true).unwrap();
        assert_eq!(own.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn an_endpoint_is_dialled_by_a_socket_made_inside() {
    with_namespaces(|| {
        let (namespace, _sockets) = ambassador(Egress::Tcp, &[]);
        let own = inside(&namespace, || TcpListener::bind((Ipv4Addr::LOCALHOST, 80))).unwrap();
        let socket = TcpStream::from(namespace.connect_socket().unwrap());
        assert!(socket.nodelay().unwrap());
        socket.set_nonblocking(false).unwrap();
        let address = own.local_addr().unwrap();
        let SocketAddr::V4(address) = address else {
            panic!("{address} is not IPv4")
        };
        rustix::net::connect(&socket, &address).unwrap();
        assert_eq!(own.accept().unwrap().1, socket.local_addr().unwrap());
        let datagrams = UdpSocket::from(namespace.datagram_socket().unwrap());
        datagrams.connect(address).unwrap();
    });
}

#[test]
fn only_captured_connections_are_tracked() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::Tcp, &[]);
        let tracked = || {
            let count = "/proc/sys/net/netfilter/nf_conntrack_count";
            let count = inside(&namespace, || std::fs::read_to_string(count)).unwrap();
            count.trim().parse::<usize>().unwrap()
        };
        let own = inside(&namespace, || TcpListener::bind((Ipv4Addr::LOCALHOST, 80))).unwrap();
        let calls: Vec<_> = (0..20)
            .map(|_| dial(&namespace, Ipv4Addr::LOCALHOST, 80).unwrap())
            .collect();
        assert_eq!(tracked(), 0);
        let _captured = dial(&namespace, RNG, 80).unwrap();
        assert_eq!(tracked(), 1);
        drop((own, sockets, calls));
    });
}

/// A call from a given source port, or with 0 from any.
fn dial_from(namespace: &Namespace, port: u16, service: Ipv4Addr) -> TcpStream {
    let call = || {
        let call = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&call, true)?;
        rustix::net::bind(&call, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        rustix::net::connect(&call, &SocketAddrV4::new(service, 80))?;
        Ok(TcpStream::from(call))
    };
    inside(namespace, call).unwrap()
}

#[test]
fn calls_that_share_a_source_port_reach_their_own_services() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        let capture = listener(&sockets.tcp[0]);
        let mut source = 0;
        let mut calls = Vec::new();
        for service in [RNG, HASHER, Ipv4Addr::new(127, 127, 255, 254)] {
            let mut call = dial_from(&namespace, source, service);
            source = call.local_addr().unwrap().port();
            let (mut connection, _) = capture.accept().unwrap();
            assert_eq!(origin(&connection), captured(service, 80));
            connection.write_all(&service.octets()).unwrap();
            let mut heard = [0; 4];
            call.read_exact(&mut heard).unwrap();
            assert_eq!(heard, service.octets());
            // Both ends stay open: the ports are in use together.
            calls.push((call, connection));
        }
    });
}

#[test]
fn a_source_port_of_a_closed_call_serves_the_next_service_at_once() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        if !sockets.unset.is_empty() {
            return skip("calls from a reused port", &format!("{:?}", sockets.unset));
        }
        let capture = listener(&sockets.tcp[0]);
        // The capture closes first, so it is the capture that remembers the ports.
        let call_and_close = |source: u16, service: Ipv4Addr| {
            let mut call = dial_from(&namespace, source, service);
            let (connection, seen_from) = capture.accept().unwrap();
            drop(connection);
            assert_eq!(call.read(&mut [0; 1]).unwrap(), 0);
            (call.local_addr().unwrap().port(), seen_from.port())
        };
        for _ in 0..50 {
            let (source, _) = call_and_close(0, RNG);
            // The port is taken at the capture, so this call gets another one there.
            let (_, replaced) = call_and_close(source, HASHER);
            // That other one may be taken over by a caller who has it himself.
            call_and_close(replaced, RNG);
        }
        let counters = || std::fs::read_to_string("/proc/thread-self/net/netstat");
        let counters = inside(&namespace, counters).unwrap();
        let mut rows = counters.lines().map(str::split_whitespace);
        let named = rows.next().unwrap().zip(rows.next().unwrap());
        let repeated = named
            .filter(|&(name, _)| name == "TCPSynRetrans")
            .map(|(_, count)| count);
        assert_eq!(
            repeated.collect::<Vec<_>>(),
            ["0"],
            "calls had to knock twice"
        );
    });
}

#[test]
fn calls_spread_over_all_capture_sockets() {
    with_namespaces(|| {
        let namespace = fresh_namespace().unwrap();
        let wish = Wish {
            tcp_captures: 4,
            udp: Vec::new(),
            egress: Egress::None,
        };
        let sockets = ambassador::install_in(&namespace, &wish).unwrap();
        let calls: Vec<_> = (0..200)
            .map(|_| dial(&namespace, RNG, 80).unwrap())
            .collect();
        let accepted = sockets.tcp.iter().map(|capture| {
            let capture = TcpListener::from(capture.try_clone().unwrap());
            capture.incoming().map_while(Result::ok).count()
        });
        let accepted: Vec<_> = accepted.collect();
        assert_eq!(accepted.iter().sum::<usize>(), calls.len());
        assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
    });
}

#[test]
fn a_direct_connection_to_the_capture_port_asks_for_no_service() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        let capture = listener(&sockets.tcp[0]);
        let _call = dial(&namespace, Ipv4Addr::LOCALHOST, CAPTURE_PORT).unwrap();
        assert_eq!(origin(&capture.accept().unwrap().0), Origin::Direct);
    });
}

#[test]
fn dns_queries_are_captured_and_answered_from_the_address_asked() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        let caller = datagram_caller(&namespace, DNS_ADDRESS, 53);
        converse(&caller, &datagrams(&sockets.dns));
        let _call = dial(&namespace, DNS_ADDRESS, 53).unwrap();
        let (connection, _) = listener(&sockets.tcp[0]).accept().unwrap();
        assert_eq!(origin(&connection), captured(DNS_ADDRESS, 53));
    });
}

#[test]
fn each_declared_udp_port_has_a_capture_of_its_own() {
    with_namespaces(|| {
        let udp = [(RNG, 53), (RNG, 514), (HASHER, 514)];
        let udp = udp.map(|(address, port)| UdpCapture { address, port });
        let (namespace, sockets) = ambassador(Egress::Tcp, &udp);
        assert_eq!(
            sockets
                .udp
                .iter()
                .map(|(wished, _)| *wished)
                .collect::<Vec<_>>(),
            udp
        );
        for (UdpCapture { address, port }, capture) in &sockets.udp {
            let caller = datagram_caller(&namespace, *address, *port);
            converse(&caller, &datagrams(capture));
        }
    });
}

#[test]
fn udp_captures_can_be_added_later() {
    with_namespaces(|| {
        let udp = [(RNG, 514), (HASHER, 514)];
        let udp = udp.map(|(address, port)| UdpCapture { address, port });
        let (namespace, _sockets) = ambassador(Egress::Tcp, &[]);
        let added = namespace.enter(|| Ok(netns::ambassador::add_udp(&udp).unwrap()));
        let added = added.unwrap();
        assert_eq!(added.len(), udp.len());
        for (UdpCapture { address, port }, capture) in &added {
            let caller = datagram_caller(&namespace, *address, *port);
            converse(&caller, &datagrams(capture));
        }
    });
}

/// The caller is connected, so it hears only an answer from the address that it called.
fn converse(caller: &UdpSocket, capture: &UdpSocket) {
    caller.send(b"question").unwrap();
    let mut buffer = [0; 16];
    let (length, from) = capture.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    capture.send_to(b"answer", from).unwrap();
    let length = caller.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
}

#[test]
fn undeclared_udp_to_a_service_is_refused_at_once() {
    with_namespaces(|| {
        let udp = [UdpCapture {
            address: RNG,
            port: 514,
        }];
        let (namespace, _sockets) = ambassador(Egress::Tcp, &udp);
        for (address, port) in [(RNG, 515), (HASHER, 514), (RNG, 53), (DNS_ADDRESS, 54)] {
            let caller = datagram_caller(&namespace, address, port);
            caller.send(b"question").unwrap();
            let refused = caller.recv(&mut [0; 16]).unwrap_err();
            assert_eq!(
                refused.kind(),
                ErrorKind::ConnectionRefused,
                "{address}:{port}"
            );
        }
    });
}

#[test]
fn tcp_to_the_outside_is_captured_with_its_destination() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::Tcp, &[]);
        let capture = listener(&sockets.tcp[0]);
        for address in [
            OUTSIDE,
            Ipv4Addr::new(10, 127, 0, 2),
            Ipv4Addr::new(169, 254, 169, 254),
        ] {
            let call = dial(&namespace, address, 443).unwrap();
            let (connection, from) = capture.accept().unwrap();
            assert_eq!(origin(&connection), captured(address, 443));
            assert_eq!(from, call.local_addr().unwrap());
        }
    });
}

#[test]
fn udp_to_the_outside_fails_at_once() {
    with_namespaces(|| {
        let (namespace, _sockets) = ambassador(Egress::Tcp, &[]);
        let caller = datagram_caller(&namespace, OUTSIDE, 53);
        assert_eq!(
            caller.send(b"question").unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
    });
}

#[test]
fn without_egress_the_outside_is_unreachable() {
    with_namespaces(|| {
        let (namespace, _sockets) = ambassador(Egress::None, &[]);
        let refused = dial(&namespace, OUTSIDE, 443).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NetworkUnreachable);
        let caller = inside(&namespace, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
        let refused = caller.connect((OUTSIDE, 53)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NetworkUnreachable);
    });
}

#[test]
fn calls_are_refused_once_the_captures_are_closed() {
    with_namespaces(|| {
        let udp = [UdpCapture {
            address: RNG,
            port: 514,
        }];
        let (namespace, sockets) = ambassador(Egress::Tcp, &udp);
        drop(sockets);
        for address in [RNG, OUTSIDE] {
            let refused = dial(&namespace, address, 80).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        let caller = datagram_caller(&namespace, RNG, 514);
        caller.send(b"question").unwrap();
        let refused = caller.recv(&mut [0; 16]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn installing_again_replaces_the_rules() {
    with_namespaces(|| {
        let udp = [UdpCapture {
            address: RNG,
            port: 514,
        }];
        let (namespace, sockets) = ambassador(Egress::Tcp, &udp);
        drop(sockets);
        let udp = vec![UdpCapture {
            address: HASHER,
            port: 514,
        }];
        let wish = Wish {
            tcp_captures: 1,
            udp,
            egress: Egress::Tcp,
        };
        let sockets = ambassador::install_in(&namespace, &wish).unwrap();
        converse(
            &datagram_caller(&namespace, HASHER, 514),
            &datagrams(&sockets.udp[0].1),
        );
        let caller = datagram_caller(&namespace, RNG, 514);
        caller.send(b"question").unwrap();
        let refused = caller.recv(&mut [0; 16]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_most_udp_captures_fit_and_one_more_is_an_error() {
    with_namespaces(|| {
        let udp = |count: usize| -> Vec<_> {
            let ports = (1..).map(|port| UdpCapture { address: RNG, port });
            ports.take(count).collect()
        };
        let (namespace, sockets) = ambassador(Egress::Tcp, &udp(UDP_CAPTURES_MAX));
        let (last, capture) = sockets.udp.last().unwrap();
        converse(
            &datagram_caller(&namespace, RNG, last.port),
            &datagrams(capture),
        );
        let wish = Wish {
            tcp_captures: 1,
            udp: udp(UDP_CAPTURES_MAX + 1),
            egress: Egress::Tcp,
        };
        let refused = ambassador::install_in(&namespace, &wish).unwrap_err();
        assert!(matches!(refused, InstallError::TooManyUdp { .. }));
    });
}

#[test]
fn an_instance_may_bind_low_ports_and_ping_itself() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        if !sockets.unset.is_empty() {
            return skip("settings of a namespace", &format!("{:?}", sockets.unset));
        }
        let read = |name: &str| {
            let path = format!("/proc/sys/net/ipv4/{name}");
            inside(&namespace, || std::fs::read_to_string(path)).unwrap()
        };
        assert_eq!(read("ip_unprivileged_port_start").trim(), "0");
        assert_eq!(read("tcp_timestamps").trim(), "2");
        assert!(read("ping_group_range").starts_with('0'));
    });
}

#[test]
fn without_permission_the_error_says_what_is_needed() {
    with_namespaces(|| {
        let powerless = || {
            support::move_into_a_fresh_namespace().unwrap();
            let empty = CapabilitySet::empty();
            let sets = CapabilitySets {
                effective: empty,
                permitted: empty,
                inheritable: empty,
            };
            set_capabilities(None, sets).unwrap();
            let wish = Wish {
                tcp_captures: 1,
                udp: Vec::new(),
                egress: Egress::None,
            };
            ambassador::install(&wish).unwrap_err()
        };
        let refused = thread::spawn(powerless).join().unwrap();
        let words = refused.to_string();
        assert!(matches!(refused, InstallError::Forbidden { .. }), "{words}");
        assert!(words.contains("CAP_NET_ADMIN"), "{words}");
    });
}

#[test]
fn ipv6_programs_that_call_by_a_mapped_address_are_captured() {
    with_namespaces(|| {
        let (namespace, sockets) = ambassador(Egress::None, &[]);
        let address = SocketAddr::from((RNG.to_ipv6_mapped(), 80));
        let _call = inside(&namespace, || {
            TcpStream::connect_timeout(&address, PATIENCE)
        })
        .unwrap();
        let (connection, _) = listener(&sockets.tcp[0]).accept().unwrap();
        assert_eq!(origin(&connection), captured(RNG, 80));
    });
}
