//! The keeper keeps the sockets of Docker's ambassadors beside the daemon's listeners.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use engine_docker::Keep;
use engine_embedded::EmbeddedEngine;
use ports::{EngineError, Pending};

/// What tells their names from listeners'.
const PREFIX: &str = "ambassador ";

/// Whether something that the keeper holds is a listener of the proxy's.
pub(crate) fn is_listener(name: &str) -> bool {
    !name.starts_with(PREFIX)
}

/// The keeper, over the embedded engine's connection to it.
pub(super) struct Keeper(pub(super) Arc<EmbeddedEngine>);

impl Keep for Keeper {
    fn keep<'a>(
        &'a self,
        name: &'a str,
        sockets: Vec<OwnedFd>,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move { self.0.deposit(&format!("{PREFIX}{name}"), sockets).await })
    }

    fn kept<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Vec<OwnedFd>, EngineError>> {
        Box::pin(async move { self.0.deposited(&format!("{PREFIX}{name}")).await })
    }

    fn forget<'a>(&'a self, name: &'a str) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move { self.0.withdraw(&format!("{PREFIX}{name}")).await })
    }
}
