//! Fake adapters for the tests of the shell: an engine with faults, a store, a data plane and a
//! clock, all in memory.
//!
//! They do what their ports promise, at once, and nothing more; a test says where they are to
//! fail, stall, or tell something late. What was asked of them can be read back.

mod clock;
mod dataplane;
mod engine;
mod store;

pub use clock::FakeClock;
pub use dataplane::FakeDataplane;
pub use engine::{FakeEngine, Listen, Operation};
pub use store::FakeStore;
