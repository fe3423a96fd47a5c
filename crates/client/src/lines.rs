//! An answer that comes line by line.

use std::marker::PhantomData;

use api::Line;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::ClientError;
use crate::connection::{Call, broken_off};

/// Items as they come; dropping it gives the call up.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    _driver: JoinSet<()>,
    pending: Vec<u8>,
    /// The first bytes of `pending` that are known to hold no line feed.
    scanned: usize,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) fn of(call: Call) -> Self {
        Self {
            body: call.response.into_body(),
            _driver: call.driver,
            pending: Vec::new(),
            scanned: 0,
            item: PhantomData,
        }
    }

    /// The next item; `None` at the end. It may be dropped while it waits, and nothing is lost.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the daemon says that it failed, and those of a connection.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                return match serde_json::from_slice(&line).map_err(ClientError::Unreadable)? {
                    Line::Item(item) => Ok(Some(item)),
                    Line::Error(body) => Err(ClientError::Refused(body.error)),
                };
            }
            match self.body.frame().await {
                Some(frame) => {
                    let data = frame.map_err(broken_off)?.into_data();
                    self.pending.extend(data.unwrap_or_default());
                }
                None => return Ok(None),
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let new = &self.pending[self.scanned..];
        let Some(at) = new.iter().position(|&byte| byte == b'\n') else {
            self.scanned = self.pending.len();
            return None;
        };
        let line = self.pending.drain(..=self.scanned + at).collect();
        self.scanned = 0;
        Some(line)
    }
}
