//! Bodies and queries of requests, refused in our own form.

use api::ErrorKind;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The body, as JSON; none means `{}`.
#[derive(Debug)]
pub(crate) struct Wish<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Wish<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| Refusal::new(ErrorKind::Invalid, error.body_text()))?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        let invalid = |error| {
            Refusal::new(
                ErrorKind::Invalid,
                format!("the body is not valid: {error}"),
            )
        };
        serde_json::from_slice(text).map(Self).map_err(invalid)
    }
}

/// What follows the path.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let Query(asked) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Refusal::new(ErrorKind::Invalid, error.body_text()))?;
        Ok(Self(asked))
    }
}
