//! The engine that runs every instance as a container of a Docker Engine, through its API.
//!
//! - Docker starts a container's first program together with its network; so that program is a
//!   *gate* of ours (`gate/gate.c`), which waits at the *door* until the ambassador is installed
//!   and then becomes the program that the container is for. See `docs/decisions/0005-docker.md`.
//! - What is there is always asked of Docker: containers carry their instance's identity as labels.
//!   Its event stream says what happens, and every interruption of it is a gap.
//!
//! It starts what it is told to start and says what ended. It knows no routes, no probes and no
//! restart policy, has Docker restart nothing, and never serves the sockets that it makes.

mod ambassador;
mod clock;
mod container;
mod credentials;
mod door;
mod engine;
mod events;
mod exec;
mod failure;
mod folder;
mod freezer;
mod image;
mod instance;
mod labels;
mod link;
mod listening;
mod logs;
mod network;
mod observe;
mod rights;
mod volume;

pub use engine::DockerEngine;
pub use folder::Home;
pub use instance::{Keep, NoKeep};
pub use link::{Found, Host, InvalidHost};

/// Whether this process has the rights that the engine needs, whatever Docker says.
#[must_use]
pub fn may_be_used() -> bool {
    rights::check().is_ok()
}
