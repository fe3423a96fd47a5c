//! What a caller is told when it does not get what it asked for.

use api::{ErrorBody, ErrorKind, Failure};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use control::ControlError;
use model::{InvalidName, InvalidSignal};
use ports::EngineError;

/// A failure as the answer to a request.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Failure);

impl Refusal {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Failure::new(kind, message))
    }

    pub(crate) fn leaving() -> Self {
        Self(failure(&ControlError::Leaving))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status());
        let body = ErrorBody { error: self.0 };
        let status = status.expect("every kind has a status of HTTP");
        (status, Json(body)).into_response()
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        Self(failure(&error))
    }
}

impl From<InvalidSignal> for Refusal {
    fn from(error: InvalidSignal) -> Self {
        Self(Failure::of(ErrorKind::Invalid, &error))
    }
}

impl From<InvalidName> for Refusal {
    fn from(error: InvalidName) -> Self {
        Self(Failure::of(ErrorKind::Invalid, &error))
    }
}

/// What control says, with whose turn it is, and with the hint apart where there is one.
pub(crate) fn failure(error: &ControlError) -> Failure {
    let kind = match error {
        ControlError::NoSuchApp(_) | ControlError::NoSuchService { .. } => ErrorKind::NotFound,
        ControlError::TooManyInstances { .. } => ErrorKind::Invalid,
        ControlError::Listen(_)
        | ControlError::NotReady { .. }
        | ControlError::NotAtRest { .. } => ErrorKind::Conflict,
        ControlError::Address(_) | ControlError::Store(_) => ErrorKind::Failed,
        ControlError::Engine(error) => return engine_failure(error),
        ControlError::Leaving => ErrorKind::Leaving,
    };
    Failure::of(kind, error)
}

fn engine_failure(error: &EngineError) -> Failure {
    match error {
        EngineError::Forbidden { what, why, hint } => Failure {
            causes: vec![why.clone()],
            ..Failure::new(ErrorKind::Forbidden, what.clone()).hint(hint.clone())
        },
        EngineError::Failed { what, why } => Failure {
            causes: vec![why.clone()],
            ..Failure::new(ErrorKind::Failed, what.clone())
        },
        EngineError::NoInstance { .. } => Failure::of(ErrorKind::NotFound, error),
        EngineError::Unreachable { .. } => Failure::of(ErrorKind::Failed, error),
    }
}
