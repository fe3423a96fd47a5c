//! Calls from this machine's own programs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use model::{Port, Protocol, Publish, Transport};

use crate::bed::{Bed, patient, service, with_namespaces};
use crate::server::Server;
use crate::wire::Peer;

fn publish(port: u16) -> Publish {
    let target = Port {
        number: port,
        transport: Transport::Tcp,
    };
    Publish {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        published: None,
        target,
    }
}

#[test]
fn a_host_names_a_service_call_by_call() {
    with_namespaces(|| {
        let one = service("one", 80, Protocol::Detect);
        let two = service("Two.v2", 8080, Protocol::Http1);
        let bed = Bed::new(vec![one, two, service("store", 6379, Protocol::Tcp)]);
        let (one, two) = (bed.instance("one", 1), bed.instance("Two.v2", 1));
        let server = Server::answering(&one, 80, "one");
        Server::answering(&two, 8080, "two");
        bed.ready(&[&one, &two]);
        let mut peer = Peer::new(bed.ingress());
        for (host, body) in [
            ("one.app.localhost", "one"),
            ("ONE.app.localhost:7080", "one"),
            ("two.v2.app.localhost.", "two"),
        ] {
            assert_eq!(peer.get(host, "/").body, body);
        }
        // What the outside claims about earlier hops is not believed.
        peer.send(
            "GET / HTTP/1.1\r\nHost: one.app.localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
        );
        assert_eq!(peer.receive().unwrap().status(), 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(seen.field("host"), Some("one.app.localhost"));
        for host in [
            "nobody.app.localhost",
            "one.other.localhost",
            "localhost",
            "one.app",
        ] {
            let answer = peer.get(host, "/");
            assert_eq!(answer.status(), 404);
            assert!(
                answer.body.contains("http://one.app.localhost:"),
                "{}",
                answer.body
            );
            assert!(!answer.body.contains("store"), "{}", answer.body);
        }
        let answer = peer.get("store.app.localhost", "/");
        assert_eq!(answer.status(), 404);
        assert!(
            answer.body.contains("no tcp port that may speak http"),
            "{}",
            answer.body
        );
    });
}

#[test]
fn a_published_port_speaks_the_protocol_of_its_target() {
    with_namespaces(|| {
        let bed = Bed::new(vec![
            service("web", 80, Protocol::Detect),
            service("store", 6379, Protocol::Tcp),
        ]);
        let (web, store) = (bed.instance("web", 1), bed.instance("store", 1));
        Server::answering(&web, 80, "web");
        Server::start(&store, 6379, |_, mut stream| {
            stream.write_all(b"hello").unwrap()
        });
        bed.ready(&[&web, &store]);
        let wishes = [
            (web.id.service.clone(), publish(80)),
            (store.id.service.clone(), publish(6379)),
        ];
        let open = bed.proxy.listen(&web.id.app, &wishes).unwrap();
        let dial = |at: usize| patient(TcpStream::connect(open[at].address).unwrap());
        assert_eq!(Peer::new(dial(0)).get("anything", "/").body, "web");
        let mut greeting = [0; 5];
        dial(1).read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"hello");
    });
}
