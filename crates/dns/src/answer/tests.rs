//! Tables of questions, and hostile messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::rdata::AllRecordData;
use model::{
    AddressBook, AppName, AppSpec, Image, NetworkName, NetworkSpec, Port, ServiceSpec,
    Transport::{Tcp, Udp},
};
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// `rng` and `worker` on x, `hidden` on y; addresses by name: hidden .2, rng .3, worker .4.
fn directory() -> Directory {
    let service = |service: &str, network: &str| {
        let mut spec = ServiceSpec::new(name(service), Image::Host);
        Arc::make_mut(&mut spec.networks).insert(
            NetworkName::new(network).unwrap(),
            ["dice".to_owned()].into(),
        );
        spec.expose.insert(Port {
            number: 80,
            transport: Tcp,
        });
        spec.expose.insert(Port {
            number: 514,
            transport: Udp,
        });
        (name(service), Arc::new(spec))
    };
    let spec = AppSpec {
        name: AppName::new("coins").unwrap(),
        services: [
            service("rng", "x"),
            service("worker", "x"),
            service("hidden", "y"),
        ]
        .into(),
        networks: ["x", "y"]
            .map(|n| (NetworkName::new(n).unwrap(), NetworkSpec::default()))
            .into(),
        volumes: BTreeMap::new(),
    };
    Directory::new(Arc::new(spec), AddressBook::default()).unwrap()
}

fn question(text: &str, rtype: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_id(77);
    builder.header_mut().set_rd(true);
    builder
        .push((Name::<Vec<u8>>::vec_from_str(text).unwrap(), rtype))
        .unwrap();
    builder.finish()
}

/// The answer in words: the code and the records' data.
fn ask(text: &str, rtype: Rtype) -> String {
    match answer(
        &directory(),
        &name("worker"),
        &question(text, rtype),
        Over::Datagram,
    ) {
        Answer::Reply(reply) => {
            let message = Message::from_octets(reply).unwrap();
            assert_eq!(message.header().id(), 77);
            let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
            let data: Vec<_> = records.map(|r| r.unwrap().data().to_string()).collect();
            format!("{} {}", message.header().rcode(), data.join(", "))
                .trim_end()
                .to_owned()
        }
        Answer::Forward => "forward".to_owned(),
        Answer::Ignore => "ignore".to_owned(),
    }
}

#[test]
fn every_spelling_has_the_address_and_what_may_not_be_called_has_none() {
    for (text, rtype, expected) in [
        ("rng", Rtype::A, "NOERROR 127.127.0.3"),
        ("RNG.Coins", Rtype::A, "NOERROR 127.127.0.3"),
        ("rng.coins.internal", Rtype::A, "NOERROR 127.127.0.3"),
        ("rng.coins.internal", Rtype::AAAA, "NOERROR"),
        ("rng", Rtype::MX, "NOERROR"),
        ("rng", Rtype::ANY, "NOERROR 127.127.0.3"),
        ("hidden", Rtype::A, "NXDOMAIN"),
        ("hidden.coins.internal", Rtype::A, "NXDOMAIN"),
        ("nobody", Rtype::A, "NXDOMAIN"),
        ("example.com.coins.internal", Rtype::A, "NXDOMAIN"),
        ("localhost", Rtype::A, "NOERROR 127.0.0.1"),
        ("example.com", Rtype::A, "forward"),
        ("coins", Rtype::A, "NXDOMAIN"),
        ("worker", Rtype::A, "NOERROR 127.127.0.4"),
    ] {
        assert_eq!(ask(text, rtype), expected, "{text} {rtype}");
    }
}

#[test]
fn ports_and_addresses_have_names() {
    for (text, rtype, expected) in [
        (
            "rng",
            Rtype::SRV,
            "NOERROR 0 1 80 rng.coins.internal, 0 1 514 rng.coins.internal",
        ),
        (
            "_80._tcp.rng",
            Rtype::SRV,
            "NOERROR 0 1 80 rng.coins.internal",
        ),
        (
            "_http._tcp.rng.coins",
            Rtype::SRV,
            "NOERROR 0 1 80 rng.coins.internal",
        ),
        (
            "_syslog._udp.rng",
            Rtype::SRV,
            "NOERROR 0 1 514 rng.coins.internal",
        ),
        ("_81._tcp.rng", Rtype::SRV, "NOERROR"),
        (
            "3.0.127.127.in-addr.arpa",
            Rtype::PTR,
            "NOERROR rng.coins.internal.",
        ),
        ("2.0.127.127.in-addr.arpa", Rtype::PTR, "NXDOMAIN"),
        (
            "1.0.127.127.in-addr.arpa",
            Rtype::PTR,
            "NOERROR roads.internal.",
        ),
        ("8.8.8.8.in-addr.arpa", Rtype::PTR, "forward"),
    ] {
        assert_eq!(ask(text, rtype), expected, "{text} {rtype}");
    }
}

#[test]
fn an_answer_that_does_not_fit_says_so() {
    let mut app = (**directory().spec()).clone();
    let rng = Arc::make_mut(app.services.get_mut("rng").unwrap());
    rng.expose.extend((1000..1100).map(|number| Port {
        number,
        transport: Tcp,
    }));
    let directory = Directory::new(Arc::new(app), AddressBook::default()).unwrap();
    let question = question("rng", Rtype::SRV);
    for (over, truncated) in [(Over::Datagram, true), (Over::Stream, false)] {
        let Answer::Reply(reply) = answer(&directory, &name("worker"), &question, over) else {
            panic!("no reply")
        };
        let message = Message::from_octets(&reply[..]).unwrap();
        assert_eq!(message.header().tc(), truncated);
        assert!(
            reply.len() <= if truncated { 512 } else { 65_535 },
            "{}",
            reply.len()
        );
        assert_eq!(message.header_counts().ancount() == 102, !truncated);
    }
}

#[test]
fn what_is_no_question_is_not_answered() {
    let directory = directory();
    let mut response = question("rng", Rtype::A);
    response[2] |= 0x80;
    for message in [&b""[..], b"short", &response] {
        assert_eq!(
            answer(&directory, &name("worker"), message, Over::Datagram),
            Answer::Ignore
        );
    }
    let mut update = question("rng", Rtype::A);
    update[2] = 5 << 3;
    let Answer::Reply(reply) = answer(&directory, &name("worker"), &update, Over::Datagram) else {
        panic!("no reply")
    };
    assert_eq!(
        Message::from_octets(reply).unwrap().header().rcode(),
        Rcode::NOTIMP
    );
}

proptest! {
    #[test]
    fn no_message_panics(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = answer(&directory(), &name("worker"), &message, Over::Datagram);
    }

    #[test]
    fn no_damaged_question_panics(at in 0usize..40, to in any::<u8>()) {
        let mut message = question("_80._tcp.rng.coins.internal", Rtype::SRV);
        if let Some(byte) = message.get_mut(at) {
            *byte = to;
        }
        let _ = answer(&directory(), &name("worker"), &message, Over::Datagram);
    }
}
