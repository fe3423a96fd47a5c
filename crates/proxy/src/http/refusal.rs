//! Which status a call is refused with, and what else the caller is told.

use http1::request::{Method, RequestHead};
use http1::{Answer, Persistence};

use crate::dial::NotDialled;
use crate::hold::NotEntered;

/// When to come back to a service that may be ready at any moment.
const SOON_SECONDS: u32 = 1;

/// What a call is answered with when no endpoint answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) words: String,
    pub(crate) retry_after: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(status: u16, words: String) -> Self {
        Self {
            status,
            words,
            retry_after: None,
        }
    }

    /// The whole answer to a call.
    pub(crate) fn to_bytes(&self, head: &RequestHead, persistence: Persistence) -> Vec<u8> {
        let Self {
            status,
            ref words,
            retry_after,
        } = *self;
        Answer {
            status,
            words,
            retry_after,
            persistence,
            method: head.method(),
        }
        .to_bytes()
    }
}

impl From<&NotDialled> for Refusal {
    fn from(why: &NotDialled) -> Self {
        let (status, retry_after) = match why {
            NotDialled::NotEntered(NotEntered::Refused { .. }) => (503, None),
            NotDialled::NotEntered(
                NotEntered::Unknown(_) | NotEntered::Full { .. } | NotEntered::Timeout { .. },
            )
            | NotDialled::Exhausted => (503, Some(SOON_SECONDS)),
            NotDialled::NotListening { .. }
            | NotDialled::Unreachable { .. }
            | NotDialled::NotHttp2 { .. } => (502, None),
            NotDialled::Timeout { .. } => (504, None),
        };
        Self {
            status,
            words: why.to_string(),
            retry_after,
        }
    }
}

/// The answer to a caller that sent half a head and no more.
pub(crate) fn late() -> Vec<u8> {
    Answer {
        status: 408,
        words: "the request did not arrive in time",
        retry_after: None,
        persistence: Persistence::Close,
        method: Method::Other,
    }
    .to_bytes()
}
