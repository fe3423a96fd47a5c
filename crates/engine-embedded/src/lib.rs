//! The engine that needs nothing installed: namespaces, an overlay and cgroups of this machine.
//!
//! - The *keeper* is a single-threaded process that outlives the daemon: it clones instances, is
//!   their parent, writes their logs and holds their sockets. [`prepare`] finds or forks it.
//! - The sandbox is what happens inside an instance's processes before its program runs.
//! - [`EmbeddedEngine`] is [`ports::Engine`] for the daemon, over a socket to the keeper.
//!
//! It starts what it is told to start and says what ended. It knows no routes, no probes, no
//! restart policy, and never serves the sockets that it makes.
//!
//! **Isolation.** An instance has network, mount, pid, IPC, UTS and cgroup namespaces that belong
//! to the keeper's user namespace, and its program a child user namespace that owns none of them;
//! so its root has no capability over them. It gets no new privileges, Docker's default
//! capabilities less three, and a seccomp filter. Its pid 1 is ours and cannot be traced by it.

#![expect(
    unsafe_code,
    reason = "clone3, fork and what a child may do have no safe interface; each block says why it is sound"
)]

mod cgroup;
mod clock;
mod engine;
mod failure;
mod home;
mod keeper;
mod link;
mod logs;
mod memory;
mod sandbox;
mod start;
mod users;

pub use clock::now;
pub use engine::{EmbeddedEngine, Stations};
pub use home::Home;
pub use memory::give_back_memory;
pub use start::{Connection, prepare};

use failure::Failure;

/// What this machine keeps the engine from, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Forbidden {
    /// What failed.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do, when somebody can do something.
    pub hint: Option<String>,
}

impl From<Failure> for Forbidden {
    fn from(failure: Failure) -> Self {
        let (what, why, hint) = match failure {
            Failure::Forbidden { what, why, hint } => (what, why, Some(hint)),
            Failure::Failed { what, why } => (what, why, None),
            Failure::NoInstance => (
                "cannot start".into(),
                "there is no such instance".into(),
                None,
            ),
        };
        Self { what, why, hint }
    }
}
