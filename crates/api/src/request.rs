//! What may be asked for, and how the answer progresses.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::AppStatus;

/// Makes an app what a document declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpRequest {
    /// The resolved compose document, as `roads config --format json` prints it: JSON as text.
    pub document: String,
    /// The services to start, with those they depend on; all when empty.
    #[serde(default)]
    pub services: BTreeSet<String>,
    /// Whether services start now or when they are called.
    #[serde(default)]
    pub activation: ActivationWish,
    /// The number of instances of some services, over the document's.
    #[serde(default)]
    pub scale: BTreeMap<String, u32>,
}

/// Whether services start now or when they are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActivationWish {
    /// As the document says of each.
    #[default]
    AsSpec,
    /// All of them when they are called.
    Lazy,
}

/// Takes an app down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DownRequest {
    /// What happens to its named volumes.
    #[serde(default)]
    pub volumes: VolumesWish,
}

/// What happens to an app's named volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VolumesWish {
    /// They stay.
    #[default]
    Keep,
    /// They are removed.
    Remove,
}

/// Names services of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicesRequest {
    /// The services; all when empty.
    #[serde(default)]
    pub services: BTreeSet<String>,
}

/// Sends services a signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillRequest {
    /// The services; all when empty.
    #[serde(default)]
    pub services: BTreeSet<String>,
    /// The signal, by name or number; SIGKILL when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

/// Says how many instances services are to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// The number, by service.
    pub scale: BTreeMap<String, u32>,
}

/// One line of the answer to what takes its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// What is going to be done, before it is: the first line of `up`.
    Plan(Vec<Change>),
    /// How the app is now; whole, not a difference.
    Status(AppStatus),
    /// It is done; the last line. The status before it tells whether all is well.
    Done(Done),
}

/// That something is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {}

/// What becomes of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its name.
    pub service: String,
    /// What becomes of it.
    pub change: ChangeKind,
    /// The revision that is current from now on; none when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// What becomes of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Create,
    /// It becomes another revision.
    Replace,
    /// It stays as it is.
    Keep,
    /// The document has it no longer.
    Remove,
}
