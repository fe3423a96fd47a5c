//! What an app and its services are wished to be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Activation, AppName, Condition, Healthcheck, NetworkName, Owner, Restart, Scale, ServiceName,
    Signal, VolumeName,
};

/// What one compose file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// Its name.
    pub name: AppName,
    /// Its services; those of inactive profiles are not among them.
    pub services: BTreeMap<ServiceName, Arc<ServiceSpec>>,
    /// Its networks, `default` included when a service is on it.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// Its named volumes.
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
}

/// Where instances may go from a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// TCP to the outside.
    Tcp,
    /// The app's services only.
    None,
}

impl AppSpec {
    /// An app without services.
    #[must_use]
    pub fn new(name: AppName) -> Self {
        Self {
            name,
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
        }
    }

    /// Whether `caller` may call `callee`: they share a network. A service may call itself.
    #[must_use]
    pub fn may_call(&self, caller: &ServiceName, callee: &ServiceName) -> bool {
        let networks = |name| self.services.get(name).map(|service| &service.networks);
        caller == callee
            || networks(caller)
                .zip(networks(callee))
                .is_some_and(|(a, b)| a.keys().any(|network| b.contains_key(network)))
    }

    /// The services that `caller` may call, each with the names by which it may: the service's
    /// own, and its aliases on the networks that they share.
    #[must_use]
    pub fn names_for(&self, caller: &ServiceName) -> BTreeMap<ServiceName, BTreeSet<String>> {
        let mut names = BTreeMap::new();
        for (callee, spec) in &self.services {
            if !self.may_call(caller, callee) {
                continue;
            }
            let shared = |network: &NetworkName| {
                self.services
                    .get(caller)
                    .is_some_and(|c| c.networks.contains_key(network))
            };
            let aliases = spec.networks.iter().filter(|(network, _)| shared(network));
            let mut known: BTreeSet<String> = aliases.flat_map(|(_, a)| a.clone()).collect();
            known.insert(callee.as_str().to_owned());
            names.insert(callee.clone(), known);
        }
        names
    }

    /// Whether instances of `service` reach the outside: one of its networks is not internal.
    #[must_use]
    pub fn egress(&self, service: &ServiceName) -> Egress {
        let outward =
            |network: &NetworkName| self.networks.get(network).is_none_or(|spec| !spec.internal);
        match self.services.get(service) {
            Some(spec) if spec.networks.keys().any(outward) => Egress::Tcp,
            Some(_) | None => Egress::None,
        }
    }
}

/// A network of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkSpec {
    /// `internal: true`: services that are on internal networks only do not reach the outside.
    pub internal: bool,
}

/// A named volume of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeSpec {
    /// The name to look it up by when the app did not create it (`external: true`).
    pub external_name: Option<String>,
}

/// What a service's instances are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// `image: host`: this machine's own root file system under a private layer.
    Host,
    /// An image by reference, for the engines that have images.
    Reference(String),
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port that a service says it listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

/// What is spoken on a TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Recognised from the first bytes of each connection.
    #[default]
    Detect,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge, gRPC among it.
    Http2,
    /// Bytes.
    Tcp,
}

/// A port of a service made reachable on this machine (compose-spec, `ports`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The address to listen on; absent means every address.
    pub address: Option<IpAddr>,
    /// The port to listen on; absent means one that is free.
    pub published: Option<u16>,
    /// The service's port.
    pub target: Port,
}

/// A service that must be there before another starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What must be true of it.
    pub condition: Condition,
    /// `false`: its absence is only a warning.
    pub required: bool,
    /// `true`: the dependant restarts after it was replaced.
    pub restart: bool,
}

/// A file system inside an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A path of this machine.
    Bind {
        /// Absolute, on this machine.
        source: PathBuf,
        /// Absolute, inside.
        target: PathBuf,
        /// Whether the instance may write.
        read_only: bool,
        /// Whether a missing source is created as a folder (the short syntax).
        create_source: bool,
    },
    /// A volume.
    Volume {
        /// A named volume; absent means one that lives and dies with the instance.
        name: Option<VolumeName>,
        /// Absolute, inside.
        target: PathBuf,
        /// Whether the instance may write.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Absolute, inside.
        target: PathBuf,
        /// Its largest size in bytes; absent means the kernel's default.
        size_max: Option<u64>,
        /// Its permission bits; absent means 1777.
        mode: Option<u32>,
    },
}

/// A file inside an instance, which it cannot write: a secret or a config whose content the
/// compose file or the caller's environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    /// Absolute, inside.
    pub target: PathBuf,
    /// What it says.
    pub content: String,
    /// Its permission bits.
    pub mode: u32,
}

impl WrittenFile {
    /// The permission bits where the compose file says none.
    pub const MODE: u32 = 0o444;
}

/// What an instance may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_max: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_milli_max: Option<u32>,
    /// Processes and threads.
    pub pids_max: Option<u32>,
}

/// What one service is wished to be; two that are equal need no rollout between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// The team that answers for it.
    pub owner: Option<Owner>,
    /// What instances are made from.
    pub image: Image,
    /// The program that `command` is given to.
    pub entrypoint: Option<Vec<String>>,
    /// The command, or its arguments when there is an entrypoint.
    pub command: Option<Vec<String>>,
    /// The environment, complete: `env_file` and the caller's variables are resolved.
    pub environment: BTreeMap<String, String>,
    /// Where the program starts; absolute.
    pub working_dir: Option<PathBuf>,
    /// `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// The name of an instance on itself; absent means its short id.
    pub hostname: Option<String>,
    /// The ports it says it listens on (`expose`, and the targets of `ports`).
    pub expose: BTreeSet<Port>,
    /// The ports to publish on this machine.
    pub publish: Vec<Publish>,
    /// What is spoken on a port, where the file says so.
    pub protocols: BTreeMap<u16, Protocol>,
    /// What must be there before it starts.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// How readiness is probed; absent means by its ports.
    pub healthcheck: Option<Healthcheck>,
    /// What happens when its program ends.
    pub restart: Restart,
    /// How many instances.
    pub scale: Scale,
    /// What an instance may use.
    pub limits: Limits,
    /// The networks it is on, each with the service's further names there. Services that are on the
    /// same ones may share it.
    pub networks: Arc<BTreeMap<NetworkName, BTreeSet<String>>>,
    /// File systems inside.
    pub mounts: Vec<Mount>,
    /// Files inside that come from nowhere on this machine.
    pub files: Vec<WrittenFile>,
    /// `read_only: true`: the root file system cannot be written.
    pub read_only: bool,
    /// What asks the program to end.
    pub stop_signal: Signal,
    /// How long it may take to end before it is killed.
    pub stop_grace_period: Duration,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it runs and how it rests.
    pub activation: Activation,
}

impl ServiceSpec {
    /// The grace period where the file names none (compose-spec, `stop_grace_period`).
    pub const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);

    /// A service of this name and image with the specification's defaults for the rest.
    #[must_use]
    pub fn new(name: ServiceName, image: Image) -> Self {
        Self {
            name,
            owner: None,
            image,
            entrypoint: None,
            command: None,
            environment: BTreeMap::new(),
            working_dir: None,
            user: None,
            hostname: None,
            expose: BTreeSet::new(),
            publish: Vec::new(),
            protocols: BTreeMap::new(),
            depends_on: BTreeMap::new(),
            healthcheck: None,
            restart: Restart::No,
            scale: Scale::default(),
            limits: Limits::default(),
            networks: Arc::default(),
            mounts: Vec::new(),
            files: Vec::new(),
            read_only: false,
            stop_signal: Signal::TERM,
            stop_grace_period: Self::STOP_GRACE_PERIOD,
            labels: BTreeMap::new(),
            activation: Activation::default(),
        }
    }

    /// The program and its arguments, as the file says; empty when the image must say.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        self.entrypoint
            .iter()
            .chain(&self.command)
            .flatten()
            .cloned()
            .collect()
    }

    /// The declared TCP ports, lowest first.
    pub fn tcp_ports(&self) -> impl Iterator<Item = u16> {
        self.ports_of(Transport::Tcp)
    }

    /// The declared UDP ports, lowest first.
    pub fn udp_ports(&self) -> impl Iterator<Item = u16> {
        self.ports_of(Transport::Udp)
    }

    fn ports_of(&self, transport: Transport) -> impl Iterator<Item = u16> {
        self.expose
            .iter()
            .filter(move |port| port.transport == transport)
            .map(|port| port.number)
    }

    /// What is spoken on a port.
    #[must_use]
    pub fn protocol(&self, port: u16) -> Protocol {
        self.protocols.get(&port).copied().unwrap_or_default()
    }

    /// Whether an instance of `other` is as good as one of this: nothing that its program can see
    /// differs. Such a change keeps the revision, and no instance is replaced for it.
    #[must_use]
    pub fn runs_like(&self, other: &Self) -> bool {
        self.seen_by_program() == other.seen_by_program()
    }

    /// This, with the defaults for all that its program cannot see.
    #[must_use]
    pub fn seen_by_program(&self) -> Self {
        Self {
            owner: None,
            publish: Vec::new(),
            protocols: BTreeMap::new(),
            depends_on: BTreeMap::new(),
            healthcheck: None,
            restart: Restart::No,
            scale: Scale::default(),
            stop_signal: Signal::TERM,
            stop_grace_period: Self::STOP_GRACE_PERIOD,
            activation: Activation::default(),
            ..self.clone()
        }
    }

    /// The port that answers as `http://SERVICE.APP.localhost`: the first declared as HTTP, else
    /// 80 or 8080 or the lowest declared that is not declared as plain TCP.
    #[must_use]
    pub fn http_port(&self) -> Option<u16> {
        let maybe = || {
            self.tcp_ports()
                .filter(|&port| self.protocol(port) != Protocol::Tcp)
        };
        maybe()
            .find(|&port| matches!(self.protocol(port), Protocol::Http1 | Protocol::Http2))
            .or_else(|| maybe().find(|port| [80, 8080].contains(port)))
            .or_else(|| maybe().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ActivationMode;

    #[test]
    fn only_what_a_program_sees_asks_for_a_new_instance() {
        let spec = ServiceSpec::new(ServiceName::new("web").unwrap(), Image::Host);
        let mut lazy = spec.clone();
        lazy.activation.mode = ActivationMode::OnDemand;
        lazy.scale.instances = 3;
        assert!(spec.runs_like(&lazy));
        let mut other = spec.clone();
        other.environment.insert("A".to_owned(), "b".to_owned());
        assert!(!spec.runs_like(&other));
    }
}
