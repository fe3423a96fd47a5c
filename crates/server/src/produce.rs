//! Answers that come line by line: JSON values, as a future makes them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use api::{ErrorBody, Failure, Line};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use ports::Pending;
use serde::Serialize;
use tokio::sync::mpsc;

/// Lines made that may wait to be sent.
const WAITING_MAX: usize = 8;

/// Where the lines of an answer are put.
#[derive(Debug, Clone)]
pub(crate) struct Lines(mpsc::Sender<Bytes>);

/// The caller is gone; nothing more need be made.
#[derive(Debug)]
pub(crate) struct Gone;

impl Lines {
    /// Sends one item, when the caller has room for it.
    pub(crate) async fn item<T: Serialize>(&self, item: T) -> Result<(), Gone> {
        self.line(&Line::Item(item)).await
    }

    /// Sends the failure that ends the answer.
    pub(crate) async fn failure(&self, error: Failure) -> Result<(), Gone> {
        self.line(&Line::<()>::Error(ErrorBody { error })).await
    }

    async fn line<T: Serialize>(&self, line: &Line<T>) -> Result<(), Gone> {
        let mut bytes = serde_json::to_vec(line).expect("wire types have text keys only");
        bytes.push(b'\n');
        self.0.send(bytes.into()).await.map_err(|_| Gone)
    }
}

/// An answer of the lines that `producer` makes. It runs only while the answer is read, and is
/// dropped with it.
pub(crate) fn lines<F>(producer: impl FnOnce(Lines) -> F) -> Response
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let produced = Produced {
        producer: Some(Box::pin(producer(Lines(sender)))),
        receiver,
    };
    let json_lines = [(CONTENT_TYPE, "application/x-ndjson")];
    (json_lines, Body::new(produced)).into_response()
}

struct Produced {
    producer: Option<Pending<'static, Result<(), Gone>>>,
    receiver: mpsc::Receiver<Bytes>,
}

impl HttpBody for Produced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(producer) = &mut self.producer
            && producer.as_mut().poll(context).is_ready()
        {
            self.producer = None;
        }
        // It ends when the producer, which has the sender, is gone.
        let line = self.receiver.poll_recv(context);
        line.map(|line| line.map(|bytes| Ok(Frame::data(bytes))))
    }
}
