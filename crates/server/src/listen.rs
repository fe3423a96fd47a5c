//! The socket, its connections, and their end.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::routes::{Parts, router};

/// Connections at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long requests may take to end once the server is to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after the kernel could not accept, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}", path.display())]
pub struct BindError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The bound socket. Dropping it removes it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds the socket, in place of one that was left behind. The caller holds the lock that
    /// says that no other daemon is there.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError {
            path: path.to_owned(),
            source,
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        // Until the mode is set, the folder, which is its user's alone, keeps others out.
        let listener = UnixListener::bind(path).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It is one that a daemon to come replaces anyway.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Serves the API.
#[derive(Debug)]
pub struct Server {
    router: Router,
    leave: CancellationToken,
    sessions: TaskTracker,
    connections: watch::Sender<usize>,
}

impl Server {
    /// A server that answers by these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let sessions = TaskTracker::new();
        let leave = parts.leave.clone();
        Self {
            router: router(parts, sessions.clone()),
            leave,
            sessions,
            connections: watch::channel(0).0,
        }
    }

    /// How many connections there are; commands that run `exec` count while they run. A daemon
    /// that has nothing else to do leaves when there is none.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.connections.subscribe()
    }

    /// Serves until it is to leave, and then until what is under way ended, two seconds at most.
    pub async fn serve(self, listener: Listener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = self.leave.cancelled() => break,
                accepted = listener.listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    match accepted.and_then(|(stream, _)| own(stream)) {
                        Ok(stream) => {
                            connections.spawn(self.connection(stream));
                        }
                        Err(error) => {
                            warn!(%error, "a connection was not accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
                Some(_ended) = connections.join_next() => {}
            }
        }
        drop(listener);
        self.sessions.close();
        let ended = async {
            while connections.join_next().await.is_some() {}
            self.sessions.wait().await;
        };
        if tokio::time::timeout(LEAVE_TIMEOUT, ended).await.is_err() {
            warn!("requests that did not end were cut off");
        }
    }

    fn connection(&self, stream: UnixStream) -> impl Future<Output = ()> + Send + use<> {
        let counted = Counted::new(self.connections.clone());
        let service = TowerToHyperService::new(self.router.clone());
        let leave = self.leave.clone();
        async move {
            let _counted = counted;
            let connection = Builder::new().serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection.with_upgrades());
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = leave.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection failed");
            }
        }
    }
}

/// The stream, if its peer is this user or root.
fn own(stream: UnixStream) -> io::Result<UnixStream> {
    let peer = stream.peer_cred()?.uid();
    let user = rustix::process::geteuid().as_raw();
    if peer == user || peer == 0 {
        return Ok(stream);
    }
    let why = format!("user {peer} may not use the daemon of user {user}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// One more while it lives.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
