//! A proxy with instances around it, each a fresh network namespace with an ambassador.
//!
//! A test is wrapped in [`with_namespaces`]: as root its body runs here; as an ordinary user the
//! test program runs itself again, for that one test, as root of a user namespace. Where the
//! machine allows neither the test says so, and fails if `CI=true`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use model::{
    AddressBook, AppName, AppSpec, Image, InstanceId, NetworkName, NetworkSpec, Port, Protocol,
    Revision, ServiceAddress, ServiceName, ServiceSpec, Transport,
};
use netns::Namespace;
use netns::ambassador::{self, Egress, UdpCapture, Wish};
use proxy::{Attachment, Proxy, ProxyConfig};
use rustix::thread::UnshareFlags;
use tokio::sync::watch;
use traffic::{Activity, App, Availability, Directory, Endpoint, Load, Service, Snapshot};

/// No test waits longer for something that must happen; it is a failure, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const INSIDE: &str = "PROXY_TEST_INSIDE";

/// Runs `body`, a closure of a test, where namespaces can be made.
pub(crate) fn with_namespaces<F: FnOnce()>(body: F) {
    if fresh_namespace().is_ok() {
        return body();
    }
    // The closure's type is named for the test: `path::tcp::TEST::{{closure}}`.
    let parts = std::any::type_name::<F>().split("::").skip(1);
    let name: Vec<_> = parts.take_while(|part| !part.contains('{')).collect();
    let name = name.join("::");
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    let again = std::env::var_os(INSIDE).is_some();
    match status {
        Ok(status) if !again && status.code() != Some(1) => {
            assert!(status.success(), "{name} failed inside a user namespace");
        }
        Ok(_) | Err(_) => {
            eprintln!("skipped: {name}: network namespaces cannot be made here");
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "in CI nothing may be skipped"
            );
        }
    }
}

fn fresh_namespace() -> io::Result<Namespace> {
    let make = || {
        #[expect(
            deprecated,
            reason = "safe for this flag, which shares no descriptor table"
        )]
        rustix::thread::unshare(UnshareFlags::NEWNET)?;
        Namespace::current().map_err(io::Error::other)
    };
    thread::spawn(make).join().unwrap()
}

/// The Spec of a service with one declared TCP port.
pub(crate) fn service(name: &str, port: u16, protocol: Protocol) -> ServiceSpec {
    let mut spec = ServiceSpec::new(ServiceName::new(name).unwrap(), Image::Host);
    spec.expose.insert(Port {
        number: port,
        transport: Transport::Tcp,
    });
    spec.protocols.insert(port, protocol);
    let default = NetworkName::new("default").unwrap();
    spec.networks = Arc::new([(default, BTreeSet::new())].into());
    spec
}

/// A proxy and the app that it serves.
pub(crate) struct Bed {
    app: AppName,
    directory: Arc<Directory>,
    pub(crate) proxy: Proxy,
    snapshots: watch::Sender<Arc<Snapshot>>,
    activities: BTreeMap<ServiceName, Arc<Activity>>,
    wakes: Mutex<Receiver<ServiceName>>,
}

/// A network namespace with an ambassador that the proxy serves.
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) namespace: Namespace,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Bed {
    /// An app of these services, all asleep.
    pub(crate) fn new(specs: Vec<ServiceSpec>) -> Self {
        let app = AppName::new("app").unwrap();
        let networks = specs.iter().flat_map(|spec| spec.networks.keys().cloned());
        let spec = AppSpec {
            name: app.clone(),
            networks: networks
                .map(|name| (name, NetworkSpec { internal: true }))
                .collect(),
            services: specs
                .into_iter()
                .map(|spec| (spec.name.clone(), Arc::new(spec)))
                .collect(),
            volumes: BTreeMap::new(),
        };
        let (woke, wakes) = mpsc::channel();
        let activity = |name: &ServiceName| {
            let (woke, own) = (woke.clone(), name.clone());
            let wake = Arc::new(move || drop(woke.send(own.clone())));
            (name.clone(), Arc::new(Activity::new(wake)))
        };
        let activities = spec.services.keys().map(activity).collect();
        let directory = Directory::new(Arc::new(spec), AddressBook::default()).unwrap();
        let snapshots = watch::Sender::new(Arc::new(Snapshot::default()));
        let begin = Instant::now();
        let clock = Arc::new(move || model::Moment::from_zero(begin.elapsed()));
        let mut config = ProxyConfig::new(NonZeroUsize::new(2).unwrap(), clock);
        config.ingress = Some((Ipv4Addr::LOCALHOST, 0).into());
        let proxy = Proxy::start(config, &snapshots.subscribe()).unwrap();
        let directory = Arc::new(directory);
        let bed = Self {
            app,
            directory,
            proxy,
            snapshots,
            activities,
            wakes: Mutex::new(wakes),
        };
        bed.ready(&[]);
        bed
    }

    /// A new instance, attached.
    pub(crate) fn instance(&self, service: &str, number: u32) -> Instance {
        let (app, service) = (self.app.clone(), ServiceName::new(service).unwrap());
        let id = InstanceId {
            app,
            service,
            number,
        };
        let namespace = fresh_namespace().unwrap();
        let callees = self.directory.udp_callees(&id.service);
        let udp = callees
            .iter()
            .map(|&(a, port)| UdpCapture {
                address: a.ip(),
                port,
            })
            .collect();
        let wish = Wish {
            tcp_captures: 2,
            udp,
            egress: Egress::Tcp,
        };
        let sockets = ambassador::install_in(&namespace, &wish).unwrap();
        let udp = callees
            .into_iter()
            .zip(sockets.udp.into_iter().map(|(_, socket)| socket));
        let attachment = Attachment {
            namespace: rustix::io::dup(&namespace).unwrap(),
            tcp: sockets.tcp,
            udp: udp.collect(),
        };
        self.proxy.attach(id.clone(), attachment);
        let endpoint = Arc::new(Endpoint::new(id.clone(), Revision::FIRST, Arc::new(|| ())));
        Instance {
            id,
            namespace,
            endpoint,
        }
    }

    /// From now on exactly these instances are ready, and calls to the others are held.
    pub(crate) fn ready(&self, instances: &[&Instance]) {
        self.publish(instances, &Availability::Held);
    }

    /// From now on no instance is ready, and calls are refused.
    pub(crate) fn refuse(&self, reason: &str) {
        self.publish(&[], &Availability::Refused(reason.into()));
    }

    fn publish(&self, instances: &[&Instance], availability: &Availability) {
        let of = |(name, spec): (&ServiceName, &Arc<ServiceSpec>)| {
            let own = instances
                .iter()
                .filter(|instance| instance.id.service == *name);
            let service = Service {
                spec: Arc::clone(spec),
                endpoints: own.map(|instance| Arc::clone(&instance.endpoint)).collect(),
                availability: availability.clone(),
                activity: Arc::clone(&self.activities[name]),
            };
            (name.clone(), Arc::new(service))
        };
        let services = self.directory.spec().services.iter().map(of).collect();
        let app = Arc::new(App {
            directory: Arc::clone(&self.directory),
            services,
        });
        self.snapshots.send_modify(|snapshot| {
            *snapshot = Arc::new(snapshot.with(&self.app, Some(app)));
        });
    }

    /// The counters of a service.
    pub(crate) fn load(&self, service: &str) -> Load {
        self.activities[service].load()
    }

    /// Waits until a call to some service is held.
    pub(crate) fn woken(&self) -> ServiceName {
        self.wakes.lock().unwrap().recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn address(&self, service: &str) -> ServiceAddress {
        self.directory
            .addresses()
            .get(&ServiceName::new(service).unwrap())
            .unwrap()
    }

    /// A connection from inside an instance to a port of a service.
    pub(crate) fn call(&self, from: &Instance, service: &str, port: u16) -> TcpStream {
        let address = SocketAddr::from((self.address(service).ip(), port));
        let stream = from.inside(|| TcpStream::connect_timeout(&address, PATIENCE));
        patient(stream.unwrap())
    }

    /// A connection to the ingress.
    pub(crate) fn ingress(&self) -> TcpStream {
        patient(TcpStream::connect(self.proxy.ingress().unwrap()).unwrap())
    }
}

impl Instance {
    /// Runs `work` inside its namespace.
    pub(crate) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.namespace.enter(work).map_err(|error| {
            let netns::NamespaceError::Inside { source } = error else {
                panic!("{error}")
            };
            source
        })
    }

    /// A listener inside.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .unwrap()
    }

    /// A UDP socket inside.
    pub(crate) fn datagrams(&self, address: Ipv4Addr, port: u16) -> UdpSocket {
        let socket = self.inside(|| UdpSocket::bind((address, port))).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// A stream that does not wait for ever.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "never came true: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
