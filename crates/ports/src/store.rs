//! What is remembered.

use std::collections::BTreeMap;

use model::{AppName, Event, Revision, ServiceAddress, ServiceName};

/// Remembers apps and events. Methods block: call them where blocking is allowed.
pub trait Store: Send + Sync {
    /// All apps, each with the resolved compose document that its Spec is written as.
    ///
    /// # Errors
    /// [`StoreError`] when the records cannot be read.
    fn apps(&self) -> Result<Vec<(AppRecord, String)>, StoreError>;

    /// Remembers an app as given, whole, in one step. Without a document an app that is
    /// remembered keeps the one it has; of one that is not, nothing is remembered.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written; what was remembered before still is.
    fn save(&self, app: &AppRecord, document: Option<&str>) -> Result<(), StoreError>;

    /// Forgets an app. Its events stay.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    fn forget(&self, app: &AppName) -> Result<(), StoreError>;

    /// Appends events, in order, in one step; the oldest beyond a bound are dropped.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be written.
    fn append(&self, events: &[Event]) -> Result<(), StoreError>;

    /// At most `count_max` events of an app with a number above `after`, oldest first; the newest
    /// `count_max` when `after` is `None`.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn events(
        &self,
        app: &AppName,
        after: Option<u64>,
        count_max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;
}

/// An event with its number, which only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub number: u64,
    /// What happened.
    pub event: Event,
}

/// An app as it is remembered, beside its Spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRecord {
    /// Its name.
    pub name: AppName,
    /// Whether it is to run.
    pub wish: AppWish,
    /// What is remembered of its services.
    pub services: BTreeMap<ServiceName, ServiceRecord>,
}

/// Whether an app is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppWish {
    /// It is up.
    Up,
    /// It is stopped and kept.
    Stopped,
}

/// What is remembered of a service beyond its Spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Its address.
    pub address: ServiceAddress,
    /// The revision that its Spec is.
    pub revision: Revision,
    /// The number of instances wished by `scale`, over the Spec's.
    pub instances: Option<u32>,
    /// Whether it is among those that run when the app does.
    pub standing: Standing,
}

/// Whether a service is among those that run when its app does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// `up` or `start` selected it.
    Selected,
    /// It was selected, and stopped by its name: a `start` of the app selects it again.
    Stopped,
    /// No `up` has named it.
    Unselected,
}

/// Why the store did not remember.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be used.
    #[error("cannot {what} the state in {path}: {why}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// Why it failed.
        why: String,
    },
    /// A record is not what this release writes.
    #[error("the state in {path} has a record that cannot be read: {why}")]
    Record {
        /// The file.
        path: String,
        /// Why it cannot be read.
        why: String,
    },
}
