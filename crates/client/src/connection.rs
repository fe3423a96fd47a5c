//! One call over a connection of its own.

use std::path::Path;

use api::{ErrorBody, ErrorKind, Failure, Method, Operation};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::ClientError;

/// A call whose answer has begun, and is no error.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) response: Response<Incoming>,
    /// What moves the connection's bytes; dropping it closes the connection.
    pub(crate) driver: JoinSet<()>,
}

impl Call {
    pub(crate) async fn begin(
        socket: &Path,
        operation: &Operation,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).await.map_err(|source| {
            let path = socket.to_owned();
            ClientError::Unreachable { path, source }
        })?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken_off)?;
        let mut driver = JoinSet::new();
        // Its error is also the error of the answer.
        driver.spawn(async { drop(connection.with_upgrades().await) });
        let request = request(operation, path, body);
        let response = sender.send_request(request).await.map_err(broken_off)?;
        let call = Self { response, driver };
        match call.response.status() {
            StatusCode::OK | StatusCode::SWITCHING_PROTOCOLS => Ok(call),
            status => Err(call.refusal(status).await),
        }
    }

    /// The whole answer.
    pub(crate) async fn value<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let body = self.response.into_body().collect().await;
        let bytes = body.map_err(broken_off)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(ClientError::Unreadable)
    }

    async fn refusal(self, status: StatusCode) -> ClientError {
        match self.value::<ErrorBody>().await {
            Ok(body) => ClientError::Refused(body.error),
            // An answer that is not of the API, such as "405 Method Not Allowed".
            Err(ClientError::Unreadable(_)) => {
                let message = format!("the daemon answers {status}; it may be of another release");
                ClientError::Refused(Failure::new(ErrorKind::Invalid, message))
            }
            Err(error) => error,
        }
    }
}

fn request(operation: &Operation, path: &str, body: Option<Vec<u8>>) -> Request<Full<Bytes>> {
    let method = match operation.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let mut request = Request::new(Full::from(body.unwrap_or_default()));
    *request.method_mut() = method;
    *request.uri_mut() = path
        .parse()
        .expect("names of apps and services are plain in a path");
    let headers = request.headers_mut();
    headers.insert(HOST, "roads".parse().expect("it is plain text"));
    let json = "application/json".parse().expect("it is plain text");
    headers.insert(CONTENT_TYPE, json);
    if operation.id == api::EXEC.id {
        headers.insert(CONNECTION, "upgrade".parse().expect("it is plain text"));
        headers.insert(UPGRADE, api::UPGRADE.parse().expect("it is plain text"));
    }
    request
}

pub(crate) fn broken_off(error: hyper::Error) -> ClientError {
    ClientError::BrokenOff(Box::new(error))
}
