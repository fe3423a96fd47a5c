//! Accepting connections, and finding out what each one is for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use http1::request::Trust;
use model::{Egress, InstanceId, ServiceAddress};
use netns::Origin;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{Instrument, debug, debug_span, warn};

use crate::connection::{self, Caller};
use crate::relay::{abort, relay};
use crate::worker::{Destination, Worker};
use crate::{http, ingress};

/// The port of the name server.
const DNS_PORT: u16 = 53;

/// How long a connection to the outside may take to be made.
const EGRESS_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two tries to accept while the machine has nothing to accept with.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Accepts for ever.
pub(crate) async fn accept(
    worker: &Worker,
    listener: &TcpListener,
    accepted: impl Fn(TcpStream, SocketAddr),
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // We write whole messages, and waiting to fill segments only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "a connection was gone before it was served");
                    continue;
                }
                accepted(stream, peer);
            }
            Err(error) if concerns_one_connection(&error) => debug!(%error, "accept failed"),
            Err(error) => {
                warn!(%error, "cannot accept; trying again");
                worker.pool.clear();
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Whether the next accept may well succeed (accept(2), "Error handling").
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Serves the connections of one instance.
pub(crate) fn capture(
    worker: Rc<Worker>,
    caller: InstanceId,
) -> impl Fn(TcpStream, SocketAddr) + 'static {
    move |stream, _| {
        let span = debug_span!("capture", %caller);
        let serving = captured(Rc::clone(&worker), caller.clone(), stream);
        worker.spawn(serving.instrument(span));
    }
}

/// Serves the connections to a published port.
pub(crate) fn published(
    worker: Rc<Worker>,
    destination: Destination,
) -> impl Fn(TcpStream, SocketAddr) + 'static {
    move |stream, peer| {
        keep_alive(&stream);
        let span = debug_span!("published", %destination, %peer);
        let (own, destination) = (Rc::clone(&worker), destination.clone());
        let serving =
            async move { connection::serve(&own, stream, &destination, outside(peer)).await };
        worker.spawn(serving.instrument(span));
    }
}

/// Serves the connections to `SERVICE.APP.localhost`.
pub(crate) fn ingress(
    worker: Rc<Worker>,
    address: SocketAddr,
) -> impl Fn(TcpStream, SocketAddr) + 'static {
    let port = address.port();
    move |stream, peer| {
        let span = debug_span!("ingress", %peer);
        let own = Rc::clone(&worker);
        let serving = async move {
            let route = http::Route::ByHost(ingress::Hosts { port });
            http::serve(&own, stream, route, outside(peer), http::Opening::default()).await;
        };
        worker.spawn(serving.instrument(span));
    }
}

fn outside(peer: SocketAddr) -> Caller {
    Caller {
        address: peer.ip().to_canonical(),
        trust: Trust::Nobody,
    }
}

/// A peer on another machine may vanish without a word.
fn keep_alive(stream: &TcpStream) {
    if let Err(error) = sockopt::set_socket_keepalive(stream, true) {
        debug!(%error, "cannot ask for keep-alive probes");
    }
}

async fn captured(worker: Rc<Worker>, caller: InstanceId, client: TcpStream) {
    let called = match netns::original_destination(&client) {
        Ok(Origin::Captured(called)) => called,
        Ok(Origin::Direct) => return abort(client),
        Err(error) => {
            debug!(%error, "a captured connection does not tell where it wanted to go");
            return abort(client);
        }
    };
    if *called.ip() == ServiceAddress::NAME_SERVER && called.port() == DNS_PORT {
        match client.into_std() {
            Ok(stream) => (worker.dns_over_tcp)(caller, stream),
            Err(error) => debug!(%error, "cannot hand a connection to the name server"),
        }
    } else if netns::is_service_address(*called.ip()) {
        let address = ServiceAddress::from_ip(*called.ip());
        match address.and_then(|address| callee(&worker, &caller, address, called.port())) {
            Some((destination, from)) => {
                connection::serve(&worker, client, &destination, from).await;
            }
            None => abort(client),
        }
    } else {
        // In a box, so that calls to services do not keep room for it.
        Box::pin(egress(&worker, &caller, client, called.into())).await;
    }
}

/// The service that an instance called, and as whom: by its own service's address, which names it
/// by DNS, since all instances have the same address to the kernel.
fn callee(
    worker: &Worker,
    caller: &InstanceId,
    address: ServiceAddress,
    port: u16,
) -> Option<(Destination, Caller)> {
    let snapshot = worker.snapshots.borrow();
    let directory = &snapshot.apps.get(&caller.app)?.directory;
    match directory.callee(&caller.service, address) {
        Ok(service) => {
            let (app, service) = (caller.app.clone(), service.clone());
            let own = directory.addresses().get(&caller.service)?;
            let from = Caller {
                address: IpAddr::V4(own.ip()),
                trust: Trust::Client,
            };
            Some((Destination { app, service, port }, from))
        }
        Err(denied) => {
            debug!(%denied, "a call was refused");
            None
        }
    }
}

/// The service that the datagrams to a UDP capture are for.
pub(crate) fn udp_callee(
    worker: &Worker,
    caller: &InstanceId,
    address: ServiceAddress,
    port: u16,
) -> Option<Destination> {
    callee(worker, caller, address, port).map(|(destination, _)| destination)
}

/// Connects an instance with the outside, from this machine's own namespace.
async fn egress(worker: &Worker, caller: &InstanceId, client: TcpStream, called: SocketAddr) {
    let allowed = {
        let snapshot = worker.snapshots.borrow();
        let app = snapshot.apps.get(&caller.app);
        app.map(|app| app.directory.spec().egress(&caller.service))
    };
    match allowed {
        Some(Egress::Tcp) if !called.ip().is_loopback() => {}
        Some(Egress::Tcp | Egress::None) | None => {
            debug!(%called, "a call to the outside was refused");
            return abort(client);
        }
    }
    let connecting = timeout(EGRESS_CONNECT_TIMEOUT, TcpStream::connect(called));
    let outcome = tokio::select! {
        outcome = connecting => outcome,
        () = connection::gone(&client, connection::HELD_GRACE) => return,
    };
    match outcome {
        Ok(Ok(outside)) => {
            keep_alive(&outside);
            if let Err(error) = relay(&worker.buffers, client, outside).await {
                debug!(%called, %error, "a connection to the outside broke");
            }
        }
        Ok(Err(error)) => {
            debug!(%called, %error, "cannot connect to the outside");
            abort(client);
        }
        Err(_elapsed) => abort(client),
    }
}
