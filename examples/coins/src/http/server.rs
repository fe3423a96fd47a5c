//! A server: one thread a connection, requests on it one after the other.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::message::{Framing, ReadError, Request, Response, Version};
use crate::{chain, log};

/// Connections that are served at once; one more is closed.
const CONNECTIONS_MAX: usize = 4096;
/// How long a connection may be silent. Longer than a proxy keeps an idle connection, so that it
/// is the proxy that closes, and no request meets a closing server.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Enough for every handler here, so that thousands of connections stay cheap.
const STACK_BYTES: usize = 256 * 1024;

/// What a handler gives back.
pub enum Answer {
    /// A response with its whole body.
    Whole(Response),
    /// A response whose body is sent piece by piece, as the iterator gives it.
    Pieces(Response, Box<dyn Iterator<Item = Vec<u8>>>),
    /// Leaves HTTP: after the response the connection belongs to the function.
    Upgrade(Response, fn(BufReader<TcpStream>) -> io::Result<()>),
    /// Closes the connection without an answer.
    Abort,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Whole(_) => "Whole",
            Self::Pieces(_, _) => "Pieces",
            Self::Upgrade(_, _) => "Upgrade",
            Self::Abort => "Abort",
        })
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Whole(response)
    }
}

/// Whether another request may follow on the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

/// Serves every connection of a listener, for ever.
///
/// The handler runs on the thread of the connection, so it may block.
pub fn serve(listener: &TcpListener, handler: impl Fn(Request) -> Answer + Send + Sync + 'static) {
    let handler = Arc::new(handler);
    accept_each(listener, move |stream| {
        // What was wrong was told to the peer; a peer that goes away is everyday.
        let _ = converse(&stream, handler.as_ref());
    });
}

/// Accepts for ever and runs `connection` on a thread of its own for each.
pub(crate) fn accept_each(
    listener: &TcpListener,
    connection: impl Fn(TcpStream) + Send + Sync + 'static,
) {
    let connection = Arc::new(connection);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                log(&format!("cannot accept a connection: {error}"));
                // Most likely out of descriptors: other connections must end first.
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (connection, place) = (Arc::clone(&connection), Place(Arc::clone(&open)));
        let started = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _place = place;
                connection(stream);
            });
        if let Err(error) = started {
            log(&format!("cannot start a thread: {error}"));
        }
    }
}

/// One of the connections that may be open; given back however its thread ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn converse(stream: &TcpStream, handler: &dyn Fn(Request) -> Answer) -> Result<(), ReadError> {
    stream.set_nodelay(true).map_err(ReadError::Io)?;
    stream
        .set_read_timeout(Some(SILENCE_MAX))
        .map_err(ReadError::Io)?;
    stream
        .set_write_timeout(Some(SILENCE_MAX))
        .map_err(ReadError::Io)?;
    let mut reader = BufReader::new(stream.try_clone().map_err(ReadError::Io)?);
    loop {
        let request = match read_request(&mut reader, stream) {
            Ok(request) => request,
            Err(error) => {
                refuse(stream, &error);
                return Err(error);
            }
        };
        let after = if request.keeps_alive() {
            Next::Request
        } else {
            Next::Close
        };
        let version = request.version;
        let head_only = request.method == "HEAD";
        let next = match handler(request) {
            Answer::Whole(response) => {
                let body = if head_only {
                    &[]
                } else {
                    response.body.as_slice()
                };
                write_whole(stream, &response, body, after)
            }
            Answer::Pieces(response, pieces) => {
                write_pieces(stream, &response, version, after, pieces)
            }
            Answer::Upgrade(response, run) => {
                let mut head = stream;
                response
                    .write_head(&mut head, Framing::UntilClose, "upgrade")
                    .and_then(|()| run(reader))
                    .map_err(ReadError::Io)?;
                return Ok(());
            }
            Answer::Abort => Ok(Next::Close),
        };
        match next.map_err(ReadError::Io)? {
            Next::Request => {}
            Next::Close => return Ok(()),
        }
    }
}

fn read_request(
    reader: &mut BufReader<TcpStream>,
    mut stream: &TcpStream,
) -> Result<Request, ReadError> {
    let mut request = Request::read_head(reader)?;
    if request.version == Version::Http11 && request.headers.lists("expect", "100-continue") {
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .map_err(ReadError::Io)?;
    }
    request.read_body(reader)?;
    Ok(request)
}

/// Tells the peer what is wrong with its request; after that nobody knows where the next begins.
fn refuse(mut stream: &TcpStream, error: &ReadError) {
    let status = match error {
        ReadError::Io(_) | ReadError::Closed | ReadError::CutOff => return,
        ReadError::HeadTooLarge => 431,
        ReadError::BodyTooLarge => 413,
        ReadError::UnknownCoding => 501,
        ReadError::BadHead(_) | ReadError::BadFraming => 400,
    };
    let reason = chain(error);
    log(&format!("bad request: {reason}"));
    let response = Response::text(status, format!("{reason}\n"));
    let length = Framing::Length(response.body.len() as u64);
    let written = response.write_head(&mut stream, length, "close");
    // The connection is closed next whether or not the peer has read this.
    let _ = written.and_then(|()| stream.write_all(&response.body));
}

fn write_whole(
    stream: &TcpStream,
    response: &Response,
    body: &[u8],
    after: Next,
) -> io::Result<Next> {
    let mut writer = BufWriter::new(stream);
    let length = Framing::Length(response.body.len() as u64);
    response.write_head(&mut writer, length, connection(after))?;
    writer.write_all(body)?;
    writer.flush()?;
    Ok(after)
}

fn write_pieces(
    mut stream: &TcpStream,
    response: &Response,
    version: Version,
    after: Next,
    pieces: Box<dyn Iterator<Item = Vec<u8>>>,
) -> io::Result<Next> {
    let framing = match version {
        Version::Http10 => Framing::UntilClose,
        Version::Http11 => Framing::Chunked,
    };
    response.write_head(&mut stream, framing, connection(after))?;
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let mut chunk = Vec::with_capacity(piece.len() + 16);
        match version {
            Version::Http10 => chunk.extend_from_slice(&piece),
            Version::Http11 => {
                write!(chunk, "{:x}\r\n", piece.len())?;
                chunk.extend_from_slice(&piece);
                chunk.extend_from_slice(b"\r\n");
            }
        }
        stream.write_all(&chunk)?;
    }
    match version {
        Version::Http10 => {}
        Version::Http11 => stream.write_all(b"0\r\n\r\n")?,
    }
    Ok(after)
}

fn connection(after: Next) -> &'static str {
    match after {
        Next::Request => "",
        Next::Close => "close",
    }
}
