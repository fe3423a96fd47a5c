//! `dns` under any bytes: it ends, an answer is to the question asked and fits where it must, and never names what
//! the caller may not call.

use std::collections::BTreeMap;
use std::sync::Arc;

use dns::{Answer, Over, answer};
use model::{
    AddressBook, AppName, AppSpec, Image, NetworkName, NetworkSpec, Port, ServiceName, ServiceSpec,
    Transport,
};
use traffic::Directory;

/// Asks the bytes as the service `worker`, which may call `rng` and not `hidden` (127.127.0.2).
///
/// # Panics
/// On a finding.
pub fn run(data: &[u8]) {
    let directory = directory();
    let worker = ServiceName::new("worker").expect("a valid name");
    for (over, size_max) in [(Over::Datagram, 1232), (Over::Stream, 65_535)] {
        let Answer::Reply(reply) = answer(&directory, &worker, data, over) else {
            continue;
        };
        assert!(
            reply.len() >= 12 && reply.len() <= size_max,
            "{} bytes",
            reply.len()
        );
        assert_eq!(reply[..2], data[..2], "the id of the question");
        assert!(reply[2] & 0x80 != 0, "a response");
        assert!(
            !reply[12..].ends_with(&[127, 127, 0, 2]),
            "an address that may not be called"
        );
    }
}

fn directory() -> Directory {
    let service = |name: &str, network: &str| {
        let mut spec = ServiceSpec::new(ServiceName::new(name).expect("a valid name"), Image::Host);
        Arc::make_mut(&mut spec.networks).insert(
            NetworkName::new(network).expect("a valid name"),
            ["dice".to_owned()].into(),
        );
        spec.expose.extend((80..200).map(|number| Port {
            number,
            transport: Transport::Tcp,
        }));
        (spec.name.clone(), spec.into())
    };
    let networks = ["x", "y"].map(|name| {
        (
            NetworkName::new(name).expect("a valid name"),
            NetworkSpec::default(),
        )
    });
    let app = AppSpec {
        name: AppName::new("coins").expect("a valid name"),
        services: [
            service("hidden", "y"),
            service("rng", "x"),
            service("worker", "x"),
        ]
        .into(),
        networks: networks.into(),
        volumes: BTreeMap::new(),
    };
    Directory::new(Arc::new(app), AddressBook::default()).expect("three addresses")
}
