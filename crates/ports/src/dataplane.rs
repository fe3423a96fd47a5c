//! What serves sockets.

use std::net::{IpAddr, SocketAddr};

use model::{AppName, InstanceId, Publish, ServiceName};

use crate::{Attachment, Pending};

/// Serves the sockets through which services are called, by the snapshots that it watches.
pub trait Dataplane: Send + Sync {
    /// Serves an instance's ambassador from now on, and dials the instance when it is an endpoint.
    /// Attached before a snapshot names the instance.
    fn attach(&self, instance: InstanceId, attachment: Attachment);

    /// Stops serving it; calls in flight end by themselves.
    fn detach(&self, instance: &InstanceId);

    /// Makes exactly these ports of an app reachable on this machine: opens what is missing,
    /// closes what is no longer wished. Done when the listeners that it reports accept.
    fn listen<'a>(
        &'a self,
        app: &'a AppName,
        wishes: Vec<(ServiceName, Publish)>,
    ) -> Pending<'a, Result<Vec<Listening>, Vec<ListenError>>>;
}

/// A published port that accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The service behind it.
    pub service: ServiceName,
    /// Its port there.
    pub target: u16,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A port that could not be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot publish port {port} of service {service} on {address}: {why}")]
pub struct ListenError {
    /// The service behind it.
    pub service: ServiceName,
    /// The address wished for.
    pub address: IpAddr,
    /// The port wished for; 0 means any.
    pub port: u16,
    /// Why, with the process that has it where that can be found.
    pub why: String,
}
