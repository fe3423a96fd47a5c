//! The least HTTP/2 that a test needs to speak, as the caller and as the endpoint.

use std::future::Future;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};

use crate::bed::{Instance, PATIENCE};
use crate::server::Server;

/// Runs a test's conversation.
pub(crate) fn talk<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(3 * PATIENCE, conversation).await };
    let done = LocalSet::new().block_on(&runtime, bounded);
    done.expect("the conversation came to its end")
}

/// Waits until something is so, while the conversation goes on.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn stream_of(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

/// Begins HTTP/2 with prior knowledge.
pub(crate) async fn connect(stream: TcpStream) -> SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(stream_of(stream)).await.unwrap();
    tokio::task::spawn_local(async move { drop(connection.await) });
    send
}

/// A request for a path of `web`.
pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://web{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: HeaderMap,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        Some(self.fields.get(name)?.to_str().unwrap())
    }
}

/// Begins a call.
pub(crate) async fn begin(
    send: &SendRequest<Bytes>,
    request: Request<()>,
    ends: Ends,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut send = send.clone().ready().await.unwrap();
    send.send_request(request, ends == Ends::Yes).unwrap()
}

/// Whether a message ends with its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Yes,
    No,
}

/// Makes a whole call.
pub(crate) async fn call(
    send: &SendRequest<Bytes>,
    request: Request<()>,
    body: &'static str,
) -> Result<Reply, h2::Error> {
    let ends = if body.is_empty() { Ends::Yes } else { Ends::No };
    let (response, mut upload) = begin(send, request, ends).await;
    if ends == Ends::No {
        upload.send_data(Bytes::from_static(body.as_bytes()), true)?;
    }
    reply(response).await
}

pub(crate) async fn get(send: &SendRequest<Bytes>, path: &str) -> Reply {
    call(send, request("GET", path), "").await.unwrap()
}

/// Reads an answer to its end.
pub(crate) async fn reply(response: ResponseFuture) -> Result<Reply, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let text = text(&mut body).await?;
    let trailers = body.trailers().await?.unwrap_or_default();
    Ok(Reply {
        status: head.status,
        fields: head.headers,
        body: text,
        trailers,
    })
}

/// Reads a body to its end.
pub(crate) async fn text(body: &mut RecvStream) -> Result<String, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

/// One call as an endpoint gets it.
pub(crate) struct Called {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Called {
    /// Answers with 200, a body, and trailers.
    pub(crate) fn answer(&mut self, body: &str, trailers: Option<HeaderMap>) {
        let mut stream = self
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        let body = Bytes::from(body.to_owned());
        // A caller may have gone meanwhile.
        let _ = stream.send_data(body, trailers.is_none());
        if let Some(trailers) = trailers {
            let _ = stream.send_trailers(trailers);
        }
    }
}

/// An endpoint that gives each call to `serve`.
pub(crate) fn endpoint<F, S>(instance: &Instance, port: u16, serve: S) -> Server
where
    F: Future<Output = ()> + 'static,
    S: Fn(Called) -> F + Send + Sync + Clone + 'static,
{
    Server::start(instance, port, move |_, stream| {
        let serve = serve.clone();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, serve_connection(stream, serve));
    })
}

async fn serve_connection<F>(stream: TcpStream, serve: impl Fn(Called) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let Ok(mut connection) = builder.handshake(stream_of(stream)).await else {
        return;
    };
    let mut calls = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        calls.spawn_local(serve(Called { request, respond }));
    }
}

/// An endpoint that answers each call with this body.
pub(crate) fn answering(instance: &Instance, port: u16, body: &'static str) -> Server {
    endpoint(instance, port, move |mut called| async move {
        called.answer(body, None);
    })
}
