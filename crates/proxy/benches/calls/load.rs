//! The server and the load, neither of which is measured.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, LocalSet};

type Failed = Box<dyn std::error::Error>;

const BODY_BYTES: usize = 1024;
pub(crate) const REQUEST: &[u8] =
    b"GET /32 HTTP/1.1\r\nHost: rng\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// Calls at the same time on one connection of HTTP/2.
const CALLS_AT_ONCE: usize = 8;

/// What is called, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// GET, by HTTP/1.1.
    Http1,
    /// GET, by HTTP/2.
    Http2,
    /// A unary call of gRPC: a message of 1 KiB back, and the status in a trailer.
    Grpc,
}

/// Serves each connection with `answer`, on a thread of its own.
pub(crate) fn serve<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = Result<(), Failed>> + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut tasks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let answering = answer(stream);
                // A caller that goes is no failure.
                tasks.spawn_local(async move { drop(answering.await) });
            }
        });
    });
    address
}

/// Answers every request of HTTP/1.1.
pub(crate) async fn answer_http1(mut stream: TcpStream) -> Result<(), Failed> {
    let body = "x".repeat(BODY_BYTES);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {BODY_BYTES}\r\n\
         Date: Tue, 24 Nov 2026 00:00:00 GMT\r\nServer: bench\r\n\r\n{body}"
    );
    let mut buffer = vec![0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Answers every request of HTTP/2.
pub(crate) async fn answer_http2(stream: TcpStream) -> Result<(), Failed> {
    let mut connection = h2::server::handshake(stream).await?;
    let mut calls = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        while calls.try_join_next().is_some() {}
        calls.spawn_local(async move { drop(answer_call(request, respond).await) });
    }
    Ok(())
}

/// Answers POST as gRPC does.
async fn answer_call(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), Failed> {
    let body = Bytes::from_static(&[b'x'; BODY_BYTES]);
    let answer = Response::builder().header("server", "bench");
    if request.method() == "GET" {
        let answer = answer.header("content-length", BODY_BYTES).body(())?;
        respond
            .send_response(answer, false)?
            .send_data(body, true)?;
        return Ok(());
    }
    let mut sent = request.into_body();
    while let Some(part) = sent.data().await {
        sent.flow_control().release_capacity(part?.len())?;
    }
    let answer = answer.header("content-type", "application/grpc").body(())?;
    let mut stream = respond.send_response(answer, false)?;
    stream.send_data(body, false)?;
    let mut status = HeaderMap::new();
    status.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(status)?;
    Ok(())
}

/// Calls for so long on so many connections, and returns how many calls were answered.
pub(crate) fn load(
    runtime: &Runtime,
    address: SocketAddr,
    kind: Kind,
    connections: usize,
    seconds: f64,
) -> u64 {
    let calls = Rc::new(Cell::new(0));
    let failures = Rc::new(RefCell::new(String::new()));
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    LocalSet::new().block_on(runtime, async {
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (calls, failures) = (Rc::clone(&calls), Rc::clone(&failures));
            tasks.spawn_local(async move {
                let called = match kind {
                    Kind::Http1 => call_http1(address, deadline, &calls).await,
                    Kind::Http2 | Kind::Grpc => call_http2(address, kind, deadline, &calls).await,
                };
                if let Err(error) = called {
                    writeln!(failures.borrow_mut(), "{error}").unwrap();
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
    assert_eq!(failures.borrow().as_str(), "");
    calls.get()
}

async fn call_http1(
    address: SocketAddr,
    deadline: Instant,
    calls: &Cell<u64>,
) -> Result<(), Failed> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 8192];
    while Instant::now() < deadline {
        stream.write_all(REQUEST).await?;
        let mut length = 0;
        loop {
            let count = stream.read(&mut buffer[length..]).await?;
            assert!(count > 0 && buffer.starts_with(b"HTTP/1.1 200"));
            length += count;
            let head = buffer[..length]
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if head.is_some_and(|head| length == head + 4 + BODY_BYTES) {
                break;
            }
        }
        calls.set(calls.get() + 1);
    }
    Ok(())
}

/// Several calls at a time on one connection.
async fn call_http2(
    address: SocketAddr,
    kind: Kind,
    deadline: Instant,
    calls: &Cell<u64>,
) -> Result<(), Failed> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = h2::client::handshake(stream).await?;
    let driving = tokio::task::spawn_local(async move { drop(connection.await) });
    let one_by_one = || async {
        while Instant::now() < deadline {
            call_once(&send, address, kind).await?;
            calls.set(calls.get() + 1);
        }
        Ok::<_, Failed>(())
    };
    let all: Vec<_> = (0..CALLS_AT_ONCE).map(|_| one_by_one()).collect();
    futures_util::future::try_join_all(all).await?;
    driving.abort();
    Ok(())
}

async fn call_once(
    send: &h2::client::SendRequest<Bytes>,
    address: SocketAddr,
    kind: Kind,
) -> Result<(), Failed> {
    let request = Request::builder().uri(format!("http://{address}/rng.Rng/Get"));
    let request = request.header("user-agent", "bench");
    let mut send = send.clone().ready().await?;
    let response = if kind == Kind::Grpc {
        let request = request
            .method("POST")
            .header("content-type", "application/grpc");
        let (response, mut body) =
            send.send_request(request.header("te", "trailers").body(())?, false)?;
        body.send_data(Bytes::from_static(&[0; 32]), true)?;
        response
    } else {
        send.send_request(request.header("accept", "*/*").body(())?, true)?
            .0
    };
    let (head, mut body) = response.await?.into_parts();
    let mut length = 0;
    while let Some(part) = body.data().await {
        let part = part?;
        length += part.len();
        body.flow_control().release_capacity(part.len())?;
    }
    let trailers = body.trailers().await?;
    if length != BODY_BYTES || trailers.is_some() != (kind == Kind::Grpc) {
        return Err(format!("{length} bytes, {head:?}, {trailers:?}").into());
    }
    Ok(())
}
