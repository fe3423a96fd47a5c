//! What Roadstead needs from the outside, as traits; adapters supply it, the binary chooses.
//!
//! - [`Engine`] runs instances.
//! - [`Store`] remembers what apps are wished to be, and what happened.
//! - [`Clock`] tells the time.
//! - [`Dataplane`] serves the sockets through which instances and this machine call services.
//!
//! A trait here refuses to know who implements it; nothing in this crate does any work.

mod clock;
mod dataplane;
mod engine;
mod store;

use std::future::Future;
use std::pin::Pin;

pub use clock::Clock;
pub use dataplane::{Dataplane, ListenError, Listening};
pub use engine::{
    Attachment, Engine, EngineError, EngineEvent, ExecWish, Execution, HostNames, InstanceState,
    InstanceWish, LogFollow, LogLine, LogSource, LogStream, LogWish, Sighting, Terminal,
    UdpCapture, Volumes,
};
pub use store::{AppRecord, AppWish, ServiceRecord, Standing, Store, StoreError, StoredEvent};

/// A future at a crate seam: boxed, so that traits stay usable as `dyn`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
