//! Our proxy, with one service in front of each server.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use model::{
    AddressBook, AppName, AppSpec, Image, InstanceId, Moment, Port, Protocol, Publish, Revision,
    ServiceName, ServiceSpec, Transport,
};
use proxy::{Attachment, Proxy, ProxyConfig};
use tokio::sync::watch;
use traffic::{Activity, App, Availability, Directory, Endpoint, Service, Snapshot};

/// A running proxy.
pub(crate) struct Bed {
    addresses: Vec<SocketAddr>,
    _proxy: Proxy,
    _snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Bed {
    /// Where the service at this place of `services` answers.
    pub(crate) fn address(&self, place: usize) -> SocketAddr {
        self.addresses[place]
    }

    /// Serves services, each by its endpoint's port and what that speaks.
    pub(crate) fn start(services: &[(u16, Protocol)]) -> Self {
        let app = AppName::new("bench").unwrap();
        let snapshots = watch::Sender::new(Arc::new(Snapshot::default()));
        let begin = Instant::now();
        let clock = Arc::new(move || Moment::from_zero(begin.elapsed()));
        let config = ProxyConfig::new(NonZeroUsize::MIN, clock);
        let proxy = Proxy::start(config, &snapshots.subscribe()).unwrap();
        let mut specs = BTreeMap::new();
        let mut routed = BTreeMap::new();
        let mut wishes = Vec::new();
        for (number, &(port, protocol)) in services.iter().enumerate() {
            let name = ServiceName::new(&format!("s{number}")).unwrap();
            let mut spec = ServiceSpec::new(name.clone(), Image::Host);
            spec.protocols.insert(port, protocol);
            let spec = Arc::new(spec);
            specs.insert(name.clone(), Arc::clone(&spec));
            routed.insert(name.clone(), Arc::new(service(&proxy, &app, spec)));
            wishes.push((name, publish(port)));
        }
        let spec = AppSpec {
            name: app.clone(),
            services: specs,
            networks: [].into(),
            volumes: [].into(),
        };
        let directory = Directory::new(Arc::new(spec), AddressBook::default()).unwrap();
        let routed = App {
            directory: Arc::new(directory),
            services: routed,
        };
        snapshots.send_modify(|snapshot| {
            *snapshot = Arc::new(snapshot.with(&app, Some(Arc::new(routed))));
        });
        let open = proxy.listen(&app, &wishes).unwrap();
        Self {
            addresses: open.iter().map(|listening| listening.address).collect(),
            _proxy: proxy,
            _snapshots: snapshots,
        }
    }
}

/// A service with one endpoint, which is in this namespace.
fn service(proxy: &Proxy, app: &AppName, spec: Arc<ServiceSpec>) -> Service {
    let id = InstanceId {
        app: app.clone(),
        service: spec.name.clone(),
        number: 1,
    };
    let attachment = Attachment {
        namespace: fs::File::open("/proc/self/ns/net").unwrap().into(),
        tcp: Vec::new(),
        udp: Vec::new(),
    };
    proxy.attach(id.clone(), attachment);
    let endpoint = Endpoint::new(id, Revision::FIRST, Arc::new(|| ()));
    Service {
        spec,
        endpoints: vec![Arc::new(endpoint)],
        availability: Availability::Held,
        activity: Arc::new(Activity::new(Arc::new(|| ()))),
    }
}

fn publish(port: u16) -> Publish {
    Publish {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        published: None,
        target: Port {
            number: port,
            transport: Transport::Tcp,
        },
    }
}
