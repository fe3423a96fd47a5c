//! The nouns of Roadstead, and what makes them valid.
//!
//! Everybody may know this crate; it knows nobody, does no I/O and reads no clock. It has no
//! serialised form on purpose: files, wire and records have types of their own, and a Spec
//! crosses borders as the resolved compose document (see the `compose` crate).

mod address;
mod event;
mod exit;
mod name;
mod policy;
mod signal;
mod spec;
mod time;

pub use address::{AddressBook, AddressTaken, ServiceAddress};
pub use event::{Event, Fact};
pub use exit::ExitStatus;
pub use name::{
    AppName, InstanceId, InvalidName, NetworkName, Owner, Revision, ServiceName, VolumeName,
};
pub use policy::{
    Activation, ActivationMode, Condition, HealthTest, Healthcheck, Hold, Rest, Restart, Scale,
};
pub use signal::{InvalidSignal, Signal};
pub use spec::{
    AppSpec, Dependency, Egress, Image, Limits, Mount, NetworkSpec, Port, Protocol, Publish,
    ServiceSpec, Transport, VolumeSpec, WrittenFile,
};
pub use time::{Moment, Timestamp, parse_rfc3339};
