//! Past facts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Time;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number, which only grows.
    pub number: u64,
    /// When.
    pub at: Time,
    /// To which app.
    pub app: String,
    /// To which of its services, if to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// To which copy of the service, if to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
    /// What, as a name that does not change: `instance_ready`.
    pub fact: String,
    /// What, in words that follow the subject: "was ready after 12.3ms".
    pub text: String,
}

/// Which events are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsQuery {
    /// Those with a greater number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most this many of those that there are, the newest; 100 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Whether the stream goes on with what happens from now on.
    #[serde(default)]
    pub follow: bool,
}
