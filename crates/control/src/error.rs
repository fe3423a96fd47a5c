//! Why a command was not carried out.

use model::{AddressTaken, AppName, ServiceName};
use ports::{EngineError, ListenError, StoreError};

/// Why a command was not carried out. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No app has this name.
    #[error("no app {app:?} is known; `roads ls` lists those that are", app = .0.as_str())]
    NoSuchApp(AppName),
    /// The app has no such service.
    #[error("app {app} has no service {service:?}; it has {known}", service = .service.as_str())]
    NoSuchService {
        /// The app.
        app: AppName,
        /// What was named.
        service: ServiceName,
        /// What it has, in words.
        known: String,
    },
    /// More instances are wished than the Spec allows.
    #[error("service {service} cannot have {wished} instances: its scale.max is {instances_max}")]
    TooManyInstances {
        /// The service.
        service: ServiceName,
        /// The wish.
        wished: u32,
        /// The bound.
        instances_max: u32,
    },
    /// Ports could not be published.
    #[error("{}", lines(.0))]
    Listen(Vec<ListenError>),
    /// There are more services than addresses.
    #[error(transparent)]
    Address(#[from] AddressTaken),
    /// It could not be remembered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine did not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A service did not become ready.
    #[error("service {service} is not ready: {why}")]
    NotReady {
        /// The service.
        service: ServiceName,
        /// Why, in words.
        why: String,
    },
    /// A service did not come to rest.
    #[error("service {service} is not at rest: {why}")]
    NotAtRest {
        /// The service.
        service: ServiceName,
        /// Why, in words.
        why: String,
    },
    /// The daemon is leaving.
    #[error("the daemon is leaving; run the command again")]
    Leaving,
}

fn lines(errors: &[ListenError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
