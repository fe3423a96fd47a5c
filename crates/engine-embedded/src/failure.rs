//! Why a step failed, in words, as it travels from an instance's child process to the keeper and
//! from there to the daemon.

use std::fmt::Display;

use model::InstanceId;
use ports::EngineError;
use serde::{Deserialize, Serialize};

/// The three kinds that a caller must tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// It will not work until a person changes something.
    Forbidden {
        what: String,
        why: String,
        hint: String,
    },
    /// It may work the next time.
    Failed { what: String, why: String },
    /// There is no such instance, or it does not run.
    NoInstance,
}

impl Failure {
    pub(crate) fn failed(what: impl Into<String>, why: impl Display) -> Self {
        Self::Failed {
            what: what.into(),
            why: why.to_string(),
        }
    }

    pub(crate) fn forbidden(
        what: impl Into<String>,
        why: impl Display,
        hint: impl Into<String>,
    ) -> Self {
        Self::Forbidden {
            what: what.into(),
            why: why.to_string(),
            hint: hint.into(),
        }
    }

    /// As the port has it; `id` is the instance that was asked for.
    pub(crate) fn into_error(self, id: &InstanceId) -> EngineError {
        match self {
            Self::Forbidden { what, why, hint } => EngineError::Forbidden { what, why, hint },
            Self::Failed { what, why } => EngineError::Failed { what, why },
            Self::NoInstance => EngineError::NoInstance { id: id.clone() },
        }
    }

    /// As the port has it, where no instance was asked for.
    pub(crate) fn into_general_error(self) -> EngineError {
        match self {
            Self::Forbidden { what, why, hint } => EngineError::Forbidden { what, why, hint },
            Self::Failed { what, why } => EngineError::Failed { what, why },
            Self::NoInstance => EngineError::Failed {
                what: "cannot do that".to_owned(),
                why: "there is no such instance".to_owned(),
            },
        }
    }
}

/// Says what was attempted when it fails.
pub(crate) trait Attempt<T> {
    fn attempt<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: Display> Attempt<T> for Result<T, E> {
    fn attempt<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| Failure::failed(what(), error))
    }
}
