//! Compose files to a Spec: text, an environment and a reader of files in, an
//! [`AppSpec`](model::AppSpec) or all diagnostics out.
//!
//! ```text
//! files ─ yaml ─► trees ─ interpolate ─► trees ─ merge ─► tree
//!       ─ lower ─► draft ─ select ─ validate ─► AppSpec
//! ```
//!
//! Each stage reports what is wrong and goes on, and each value knows its place in its file, so
//! one run reports everything, in the order of the files. `include` and `extends` will come
//! between interpolation and merging. The crate opens no file, reads no clock and no environment,
//! and does not know what an engine can do.

mod diagnostic;
mod document;
mod dotenv;
mod interpolate;
mod keys;
mod load;
mod lower;
mod merge;
mod render;
mod resolved;
mod select;
mod source;
mod tree;
mod units;
mod validate;
mod words;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use document::{document, load_document, yaml};
pub use keys::{Engine, Key, Kind, Standing, keys};
pub use load::{
    Loaded, ReadFile, ReadFileError, Request, Selection, Variables, environment, load, resolve,
};
pub use render::{Color, render};
pub use resolved::{Resolved, Section};
pub use source::Source;
