//! The connection to Docker: where it is, and what answers there.

use std::env;
use std::path::{Path, PathBuf};

use bollard::{API_DEFAULT_VERSION, Docker};
use ports::EngineError;
use tokio::sync::Mutex;

use crate::{failure, rights};

/// Where Docker listens unless told otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// Seconds until an answer must begin. A container's start is answered when it has started.
const TIMEOUT: u64 = 120;

/// Where Docker's API is: a unix socket of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(PathBuf);

/// Docker's API is somewhere that this engine cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidHost {
    /// What DOCKER_HOST says.
    pub host: String,
}

/// What answers at a [`Host`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name and release: `Docker Engine 20.10.24`.
    pub release: String,
    /// The version of the API that is spoken with it.
    pub api: String,
}

impl std::fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "DOCKER_HOST={} is no unix socket (unix:///PATH); containers must run on this machine",
            self.host
        )
    }
}

impl std::error::Error for InvalidHost {}

impl Host {
    /// The socket that DOCKER_HOST names, else Docker's usual one.
    ///
    /// # Errors
    /// [`InvalidHost`] when DOCKER_HOST names something else than a unix socket.
    pub fn from_environment() -> Result<Self, InvalidHost> {
        let host = env::var("DOCKER_HOST").unwrap_or_default();
        if host.is_empty() {
            return Ok(Self(SOCKET.into()));
        }
        let path = host.strip_prefix("unix://").map(PathBuf::from);
        let path = path.filter(|path| path.is_absolute());
        path.map(Self).ok_or(InvalidHost { host })
    }

    /// A socket by its path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What answers there.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] when nobody does; [`EngineError::Forbidden`] when this process
    /// may not use it, or has not the rights that this engine needs.
    pub async fn find(&self) -> Result<Found, EngineError> {
        let docker = self.connect().await?;
        let version = docker.version().await;
        let version = version.map_err(|error| failure::explain("cannot ask Docker", &error))?;
        let platform = version.platform.map(|platform| platform.name);
        let name = platform.filter(|name| !name.is_empty());
        let found = Found {
            release: format!(
                "{} {}",
                name.unwrap_or_else(|| "Docker Engine".to_owned()),
                version.version.unwrap_or_default()
            ),
            api: docker.client_version().to_string(),
        };
        rights::check()?;
        Ok(found)
    }

    async fn connect(&self) -> Result<Docker, EngineError> {
        let what = "cannot connect to Docker";
        let path = self.0.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, TIMEOUT, API_DEFAULT_VERSION);
        let docker = docker.map_err(|error| failure::explain(what, &error))?;
        let docker = docker.negotiate_version().await;
        docker.map_err(|error| failure::explain(what, &error))
    }
}

/// The connection, made when it is first used: Docker may come later than the daemon.
#[derive(Debug)]
pub(crate) struct Link {
    host: Host,
    docker: Mutex<Option<Docker>>,
}

impl Link {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            docker: Mutex::new(None),
        }
    }

    /// Forgets the connection: a Docker that comes back may be another.
    pub(crate) async fn reset(&self) {
        *self.docker.lock().await = None;
    }

    pub(crate) async fn docker(&self) -> Result<Docker, EngineError> {
        let mut docker = self.docker.lock().await;
        if let Some(docker) = &*docker {
            return Ok(docker.clone());
        }
        Ok(docker.insert(self.host.connect().await?).clone())
    }
}
