//! Plain connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use model::{NetworkName, Protocol};

use crate::bed::{Bed, PATIENCE, patient, service, until, with_namespaces};
use crate::server::Server;

const STORE: u16 = 6379;

fn bed(protocol: Protocol) -> Bed {
    Bed::new(vec![
        service("store", STORE, protocol),
        service("client", 1, Protocol::Tcp),
    ])
}

#[test]
fn a_server_may_speak_first() {
    for protocol in [Protocol::Tcp, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(protocol);
            let (client, store) = (bed.instance("client", 1), bed.instance("store", 1));
            Server::start(&store, STORE, |_, mut stream| {
                stream.write_all(b"220 ready\r\n").unwrap();
                let mut heard = String::new();
                stream.read_to_string(&mut heard).unwrap();
                stream.write_all(heard.as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
            bed.ready(&[&store]);
            let mut stream = bed.call(&client, "store", STORE);
            let mut greeting = [0; 11];
            stream.read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"220 ready\r\n");
            assert_eq!(bed.load("store").connections, 1);
            stream.write_all(b"over and out").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut echo = String::new();
            stream.read_to_string(&mut echo).unwrap();
            assert_eq!(echo, "over and out");
            until("the connection has ended", || {
                bed.load("store").connections == 0
            });
        });
    }
}

#[test]
fn what_is_no_http_is_relayed_as_it_is() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let (client, store) = (bed.instance("client", 1), bed.instance("store", 1));
        Server::start(&store, STORE, |_, mut stream| {
            let mut command = [0; 14];
            while stream.read_exact(&mut command).is_ok() {
                stream.write_all(b"+PONG\r\n").unwrap();
            }
        });
        bed.ready(&[&store]);
        let mut stream = bed.call(&client, "store", STORE);
        for _ in 0..3 {
            stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"+PONG\r\n");
        }
    });
}

#[test]
fn an_endpoint_that_is_reset_resets_its_caller() {
    with_namespaces(|| {
        let bed = bed(Protocol::Tcp);
        let (client, store) = (bed.instance("client", 1), bed.instance("store", 1));
        Server::start(&store, STORE, |server, mut stream| {
            stream.write_all(b"x").unwrap();
            // Closing with unread bytes resets.
            stream.peek(&mut [0]).unwrap();
            server.forget();
        });
        bed.ready(&[&store]);
        let mut stream = bed.call(&client, "store", STORE);
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"y").unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_service_on_no_common_network_refuses_and_so_does_the_outside() {
    with_namespaces(|| {
        let mut hidden = service("hidden", STORE, Protocol::Tcp);
        hidden.networks =
            std::sync::Arc::new([(NetworkName::new("back").unwrap(), [].into())].into());
        let bed = Bed::new(vec![hidden, service("client", 1, Protocol::Tcp)]);
        let (client, hidden) = (bed.instance("client", 1), bed.instance("hidden", 1));
        let server = Server::answering(&hidden, STORE, "");
        bed.ready(&[&hidden]);
        // All networks of the bed are internal. 192.0.2.1 is nobody's address.
        let outside = SocketAddr::from(([192, 0, 2, 1], 80));
        let unknown = SocketAddr::from(([127, 127, 200, 200], 80));
        let hidden = SocketAddr::from((bed.address("hidden").ip(), STORE));
        for address in [outside, unknown, hidden] {
            // The reset may be seen by the connect already.
            let stream = client.inside(|| TcpStream::connect_timeout(&address, PATIENCE));
            let heard = stream.and_then(|stream| patient(stream).read(&mut [0]));
            let error = heard.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{address}");
        }
        assert_eq!(server.connections(), 0);
        assert_eq!(bed.load("hidden").calls, 0);
    });
}
