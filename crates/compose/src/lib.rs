//! Compose files to a Spec: text, an environment and a reader of files in, an
//! [`AppSpec`](model::AppSpec) or all diagnostics out.
//!
//! ```text
//! file ─ yaml ─► tree ─ interpolate ─► tree ─ normalise ─► long tree, over what it
//!        includes and extends ─ merge ─► one tree ─ complete ─ select ─► Resolved
//!        ─ validate ─ lower ─► AppSpec
//! ```
//!
//! What a key takes, how two of it are merged and what becomes of it is said once, in `schema`.
//! Each stage reports what is wrong and goes on, and each value knows its place in its file, so
//! one run reports everything, in the order of the files. The crate opens no file, reads no clock
//! and no environment, and does not know what an engine can do.

mod assemble;
mod complete;
mod document;
mod environment;
mod load;
mod lower;
mod merge;
mod normalise;
mod resolved;
mod schema;
mod select;
mod validate;

pub use document::{document, load_document, yaml};
pub use load::{
    Loaded, ReadFile, ReadFileError, Request, Selection, Variables, environment, load, resolve,
};
pub use resolved::{Resolved, Section};
pub use schema::{Engine, Key, Kind, Standing, keys, roads_schema};
pub use text::{Color, Diagnostic, Diagnostics, Label, Severity, Source, render};
