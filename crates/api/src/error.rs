//! What went wrong, for a person and for a program.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is no success, and the last line of a stream that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Failure,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Of which kind it is.
    pub kind: ErrorKind,
    /// What failed.
    pub message: String,
    /// Why, from the nearest cause to the deepest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What is wrong with the document, one `file:line:column: message` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<String>,
}

/// Whose turn it is after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is not valid: the caller's (400).
    Invalid,
    /// There is no such app, service or instance: the caller's (404).
    NotFound,
    /// It cannot be done in the present state: the caller's, after a look at it (409).
    Conflict,
    /// This machine forbids it: a person's, who changes a setting (403).
    Forbidden,
    /// It failed, and may work the next time (500).
    Failed,
    /// The daemon is leaving: the caller's, with the next daemon (503).
    Leaving,
}

impl ErrorKind {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Forbidden => 403,
            Self::Failed => 500,
            Self::Leaving => 503,
        }
    }
}

impl Failure {
    /// A failure of this kind, without a cause or a hint.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            diagnostics: Vec::new(),
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the chain of an error's sources as its causes.
    #[must_use]
    pub fn of(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        let sources = std::iter::successors(error.source(), |error| error.source());
        Self {
            causes: sources.map(ToString::to_string).collect(),
            ..Self::new(kind, error.to_string())
        }
    }
}

impl fmt::Display for Failure {
    /// The message; causes, hint and diagnostics are the edge's to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// One line of a stream: an item, or the failure that ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line<T> {
    /// The stream failed.
    Error(ErrorBody),
    /// The next item.
    Item(T),
}
