//! Servers inside instances: threads of the test that play an endpoint's program.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::bed::{Instance, patient};
use crate::wire::{Message, Peer};

/// What a server has seen.
#[derive(Clone, Default)]
pub(crate) struct Server {
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Message>>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    listener: Arc<Mutex<Option<TcpListener>>>,
}

impl Server {
    /// Gives each connection to `serve`, on a thread of its own.
    pub(crate) fn start(
        instance: &Instance,
        port: u16,
        serve: impl Fn(&Self, TcpStream) + Send + Sync + Clone + 'static,
    ) -> Self {
        let listener = instance.listen(port);
        let server = Self::default();
        *server.listener.lock().unwrap() = Some(listener.try_clone().unwrap());
        let own = server.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                own.connections.fetch_add(1, Ordering::SeqCst);
                own.streams
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                let (own, serve) = (own.clone(), serve.clone());
                thread::spawn(move || serve(&own, patient(stream)));
            }
        });
        server
    }

    /// Answers every request with 200 and this body.
    pub(crate) fn answering(instance: &Instance, port: u16, body: &'static str) -> Self {
        Self::start(instance, port, move |server, stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.receive() {
                server.saw(request);
                let length = body.len();
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
                ));
            }
        })
    }

    /// Reads each request and ends the connection.
    pub(crate) fn dying(instance: &Instance, port: u16) -> Self {
        Self::start(instance, port, |server, stream| {
            if let Some(request) = Peer::new(stream.try_clone().unwrap()).receive() {
                server.saw(request);
            }
            // The list of streams keeps it open otherwise.
            let _ = stream.shutdown(Shutdown::Both);
        })
    }

    pub(crate) fn saw(&self, request: Message) {
        self.requests.lock().unwrap().push(request);
    }

    pub(crate) fn requests(&self) -> Vec<Message> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Keeps no connection open by itself.
    pub(crate) fn forget(&self) {
        self.streams.lock().unwrap().clear();
    }

    /// Ends as a killed program does: nothing listens, and all connections are cut.
    pub(crate) fn kill(&self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        }
        self.cut();
    }

    /// Cuts all its connections.
    pub(crate) fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
