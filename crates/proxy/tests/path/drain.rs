//! The end of a proxy.

use model::Protocol;
use tokio::runtime::Builder;

use crate::bed::{Bed, PATIENCE, service, until, with_namespaces};
use crate::server::Server;
use crate::wire::Peer;

#[test]
fn a_shutdown_lets_calls_in_flight_end_and_ends_idle_connections() {
    with_namespaces(|| {
        let bed = Bed::new(vec![service("web", 80, Protocol::Http1)]);
        let web = bed.instance("web", 1);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = std::sync::Arc::new(std::sync::Mutex::new(gone));
        Server::start(&web, 80, move |_, stream| {
            let mut peer = Peer::new(stream);
            while peer.receive().is_some() {
                gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
            }
        });
        bed.ready(&[&web]);
        let (mut idle, mut busy) = (Peer::new(bed.ingress()), Peer::new(bed.ingress()));
        go.send(()).unwrap();
        assert_eq!(idle.get("web.app.localhost", "/").status(), 200);
        busy.send("GET / HTTP/1.1\r\nHost: web.app.localhost\r\n\r\n");
        until("the call is in flight", || bed.load("web").in_flight == 1);
        std::thread::scope(|scope| {
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            let stopping = scope.spawn(move || runtime.block_on(bed.proxy.shutdown(PATIENCE)));
            assert!(idle.receive().is_none());
            go.send(()).unwrap();
            let answer = busy.receive().unwrap();
            assert_eq!(
                (answer.field("connection"), &*answer.body),
                (Some("close"), "last")
            );
            stopping.join().unwrap();
        });
    });
}
