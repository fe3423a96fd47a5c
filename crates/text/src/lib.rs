//! Texts with places: what a file says, where it says it, and how what is wrong with it is drawn.
//!
//! ```text
//! Source ─ yaml ─► Node ─ Interpolation ─► Node      Finding ─ Findings ─► Diagnostics ─ render
//! ```
//!
//! It knows YAML, templates with variables, environment files, quantities and command lines as
//! Compose writes them. It does not know a single key of a compose file.

pub mod dotenv;
pub mod units;
pub mod words;
pub mod yaml;

mod diagnostic;
mod interpolate;
mod render;
mod source;
mod tree;

pub use diagnostic::{Diagnostic, Diagnostics, Finding, Findings, Label, Severity};
pub use interpolate::{Fault, Interpolation, Lookup, interpolate};
pub use render::{Color, render};
pub use source::{Source, Sources, Span};
pub use tree::{Entry, Key, Node, Tag, Value, positions, same};
