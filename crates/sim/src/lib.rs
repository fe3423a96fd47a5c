//! The seeded simulator of the whole system.
//!
//! One app, its machine, the data plane's gates and holds as they are, and around them a virtual
//! clock, an engine with faults, and callers. A seed decides everything; two runs of one seed
//! are the same to the last line of their transcripts.
//!
//! What every run holds is listed by [`Breach`]. In one of four seeds nothing goes wrong but what
//! people do on purpose (scale, restart, rest, new revisions), and there every call is answered,
//! but for those that outlive the deadline of a drain.

mod breach;
mod call;
mod calls;
mod engine;
mod random;
mod scenario;
mod shell;
mod tally;
mod world;

pub use breach::{Breach, Failed, Finished};
pub use tally::Tally;
pub use world::{Keep, run};
