//! What instances wrote.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Time;

/// A line that an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When.
    pub at: Time,
    /// A copy of which service.
    pub service: String,
    /// Which copy.
    pub instance: u32,
    /// Where it was written to.
    pub source: LogSource,
    /// The line without its line feed; what was no UTF-8 is replaced.
    pub text: String,
}

/// The stream that a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsQuery {
    /// Of these services, separated by commas; of all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<String>,
    /// Written at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// At most this many of each instance of those that there are, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Whether the stream goes on with what is written from now on.
    #[serde(default)]
    pub follow: bool,
}
