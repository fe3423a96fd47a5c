//! Servers for the end-to-end suite: they answer with what they saw, and when they started.
//!
//! Each writes `started=NS listening=NS address=A` to stderr once it listens: CLOCK_MONOTONIC at
//! the entry of the program and after `listen`, so that a test knows the program's own share of
//! an activation.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::http::{self, Answer, Client, Headers, Request, Response, Url, json_string};
use crate::{ServiceError, host_name, log, monotonic_nanos};

/// The headers that a nested call passes on.
const PASSED_ON: [&str; 3] = ["traceparent", "tracestate", "x-request-id"];
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

struct Echo {
    host_name: String,
    delay: Duration,
    requests: AtomicU64,
}

/// `echo`: an HTTP server that describes itself and each request in JSON, on any path but
///
/// - `/call?url=URL` calls URL (everything behind `url=`, as it stands) and answers with its
///   status, its body under `called`;
/// - `/upgrade` leaves HTTP for whatever the Upgrade header names and sends every byte back;
/// - `/stream?pieces=N&interval-ms=N` sends a body piece by piece;
/// - `/status/N` answers with that status, `/bytes/N` with that many bytes;
/// - `/sleep/N` answers after that many milliseconds, `/abort` closes without an answer.
pub(crate) fn echo(arguments: &Arguments, started: u64) -> Result<(), ServiceError> {
    let echo = Arc::new(Echo {
        host_name: host_name(),
        delay: arguments.millis("delay-ms", Duration::ZERO)?,
        requests: AtomicU64::new(0),
    });
    serve_each_port(arguments, started, move |listener| {
        let echo = Arc::clone(&echo);
        http::serve(listener, move |request| echo.answer(&request));
    })
}

/// `tcp-echo`: sends the banner, if any, before it reads; then sends every byte back.
pub(crate) fn tcp_echo(arguments: &Arguments, started: u64) -> Result<(), ServiceError> {
    let banner = arguments
        .text("banner")
        .map(|text| format!("{text}\n"))
        .unwrap_or_default();
    serve_each_port(arguments, started, move |listener| {
        let banner = banner.clone();
        http::accept_each(listener, move |mut stream| {
            // A peer that goes away in the middle is no news.
            let _ = stream
                .write_all(banner.as_bytes())
                .and_then(|()| return_every_byte(BufReader::new(stream)));
        });
    })
}

/// `udp-echo`: sends every datagram back.
pub(crate) fn udp_echo(arguments: &Arguments, started: u64) -> Result<(), ServiceError> {
    thread::sleep(arguments.millis("start-delay-ms", Duration::ZERO)?);
    let port = arguments.port(7)?;
    let bound = UdpSocket::bind(("0.0.0.0", port));
    let socket = bound.map_err(ServiceError::system(format!("bind UDP port {port}")))?;
    announce(started, &[socket.local_addr()]);
    let mut datagram = vec![0; 65536];
    loop {
        // An error here is about an earlier datagram that nobody took.
        if let Ok((length, peer)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&datagram[..length], peer);
        }
    }
}

fn serve_each_port(
    arguments: &Arguments,
    started: u64,
    serve: impl Fn(&TcpListener) + Send + Sync + 'static,
) -> Result<(), ServiceError> {
    thread::sleep(arguments.millis("start-delay-ms", Duration::ZERO)?);
    let listeners: Vec<TcpListener> = arguments
        .ports(80)?
        .into_iter()
        .map(crate::listen)
        .collect::<Result<_, _>>()?;
    announce(
        started,
        &listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Vec<_>>(),
    );
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| serve(listener));
        }
    });
    Ok(())
}

fn announce(started: u64, addresses: &[io::Result<std::net::SocketAddr>]) {
    let listening = monotonic_nanos();
    let addresses: Vec<String> = addresses
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    log(&format!(
        "started={started} listening={listening} address={}",
        addresses.join(",")
    ));
}

impl Echo {
    fn answer(&self, request: &Request) -> Answer {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        thread::sleep(self.delay);
        let (name, parameter) = split_path(request.path());
        match name {
            "call" => self.call(request, count).into(),
            "upgrade" => upgrade(request),
            "stream" => stream(request.query()),
            "abort" => Answer::Abort,
            "status" => {
                let status = u16::try_from(parameter).unwrap_or(400);
                Response::json(status, self.describe(request, count, None)).into()
            }
            "bytes" => {
                let length = usize::try_from(parameter)
                    .unwrap_or_default()
                    .min(BODY_BYTES_MAX);
                Response::new(200, "application/octet-stream", vec![b'x'; length]).into()
            }
            "sleep" => {
                thread::sleep(Duration::from_millis(parameter));
                Response::json(200, self.describe(request, count, None)).into()
            }
            _ => Response::json(200, self.describe(request, count, None)).into(),
        }
    }

    fn call(&self, request: &Request, count: u64) -> Response {
        let url = request.query().strip_prefix("url=").unwrap_or_default();
        let (status, called) = match nested_call(url, &request.headers) {
            Ok(response) => {
                let json = response.headers.get("content-type") == Some("application/json");
                let text = String::from_utf8_lossy(&response.body).into_owned();
                (
                    response.status,
                    if json { text } else { json_string(&text) },
                )
            }
            Err(error) => (502, json_string(&crate::chain(&error))),
        };
        Response::json(status, self.describe(request, count, Some(&called)))
    }

    /// Everything about this instance and the request; `called` is JSON already.
    fn describe(&self, request: &Request, count: u64, called: Option<&str>) -> String {
        let body = String::from_utf8_lossy(&request.body);
        let environment = std::env::vars().filter(|(name, _)| name.starts_with("ROADS_"));
        let members = [
            ("hostname", json_string(&self.host_name)),
            ("pid", std::process::id().to_string()),
            ("count", count.to_string()),
            ("environment", json_object(environment.collect())),
            ("method", json_string(&request.method)),
            ("target", json_string(&request.target)),
            ("headers", json_object(by_name(&request.headers))),
            ("body", json_string(&body)),
            ("called", called.unwrap_or("null").trim_end().to_owned()),
        ];
        let members: Vec<String> = members
            .iter()
            .map(|(name, json)| format!("\"{name}\":{json}"))
            .collect();
        format!("{{{}}}\n", members.join(","))
    }
}

/// The first segment of a path, and the number in the second.
fn split_path(path: &str) -> (&str, u64) {
    let mut segments = path.trim_start_matches('/').split('/');
    let name = segments.next().unwrap_or_default();
    (
        name,
        segments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
    )
}

fn nested_call(url: &str, headers: &Headers) -> Result<Response, http::ClientError> {
    let url: Url = url.parse()?;
    let target = url.target.clone();
    let passed: Vec<(&str, &str)> = PASSED_ON
        .iter()
        .filter_map(|name| Some((*name, headers.get(name)?)))
        .collect();
    Client::new(url).request("GET", &target, &passed, &[])
}

fn upgrade(request: &Request) -> Answer {
    let Some(protocol) = request.headers.get("upgrade") else {
        return Response::text(400, "no Upgrade header\n").into();
    };
    let mut response = Response {
        status: 101,
        headers: Headers::default(),
        body: Vec::new(),
    };
    response.headers.add("upgrade", protocol);
    Answer::Upgrade(response, return_every_byte)
}

fn return_every_byte(mut reader: BufReader<TcpStream>) -> io::Result<()> {
    let mut writer = reader.get_ref().try_clone()?;
    io::copy(&mut reader, &mut writer)?;
    writer.shutdown(Shutdown::Write)?;
    // Closing with bytes unread would reset what is still on its way to the peer.
    reader.read(&mut [0]).map(|_| ())
}

fn stream(query: &str) -> Answer {
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(have, _)| *have == name)
            .find_map(|(_, value)| value.parse::<u64>().ok())
    };
    let pieces = parameter("pieces").unwrap_or(5);
    let interval = Duration::from_millis(parameter("interval-ms").unwrap_or(10));
    let mut response = Response::text(200, "");
    response.headers.add("cache-control", "no-store");
    let pieces = (0..pieces).map(move |number| {
        thread::sleep(if number == 0 {
            Duration::ZERO
        } else {
            interval
        });
        format!("piece {number}\n").into_bytes()
    });
    Answer::Pieces(response, Box::new(pieces))
}

/// Headers by their lower-case name; lines of one name are joined as RFC 9110 allows.
fn by_name(headers: &Headers) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers.iter() {
        let entry = joined.entry(name.to_ascii_lowercase()).or_default();
        if !entry.is_empty() {
            entry.push_str(", ");
        }
        entry.push_str(value);
    }
    joined
}

fn json_object(members: BTreeMap<String, String>) -> String {
    let member =
        |(name, value): (&String, &String)| format!("{}:{}", json_string(name), json_string(value));
    format!(
        "{{{}}}",
        members.iter().map(member).collect::<Vec<_>>().join(",")
    )
}
