//! Processor time of a call with 1 KiB of answer, through this proxy and through its peers,
//! interleaved in one run: `cargo bench -p roadstead-proxy [-- SECONDS [CONNECTIONS [ROW]]]`.
//!
//! All proxies have one worker, add `X-Forwarded-For` and keep connections alive on both sides;
//! the server and the load are threads of this program, and only the proxies' own threads count.
//! On each connection of HTTP/2 eight calls are made at a time. Peers that are not installed are left
//! out. Needs root, or `unshare --user --map-root-user`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark is a program for a person to look at"
)]

mod bed;
mod load;
mod peers;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use model::Protocol;
use tokio::runtime::Builder;

use bed::Bed;
use load::{Kind, REQUEST, answer_http1, answer_http2, load, serve};
use peers::{Contender, Spoken, Version, haproxy, nginx};

const ROUNDS: usize = 7;
const IDLE_CONNECTIONS: usize = 2000;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let seconds: f64 = arguments.next().map_or(1.0, |text| text.parse().unwrap());
    let connections: usize = arguments.next().map_or(32, |text| text.parse().unwrap());
    let wished = arguments.next().unwrap_or_default();
    let run = |what: &str, row, kind| {
        if what.contains(&wished) {
            run(what, row, kind, connections, seconds);
        }
    };
    let (old, new) = (serve(answer_http1), serve(answer_http2));
    let bed = Bed::start(&[
        (old.port(), Protocol::Http1),
        (old.port(), Protocol::Tcp),
        (new.port(), Protocol::Http2),
    ]);
    // First, since later a heap that has grown would hide it.
    idle_memory("HTTP/1.1", || idle_http1(bed.address(0)));
    idle_memory("HTTP/2", || idle_http2(bed.address(0)));
    let spoken = |to_callers, to_endpoint| Spoken {
        to_callers,
        to_endpoint,
    };
    let own = |place| Contender::own("roadstead", bed.address(place));
    let bytes = Contender::own("byte relay", bed.address(1));
    let one = spoken(Version::Http1, Version::Http1);
    let mut row = vec![own(0), bytes];
    row.extend([nginx(old, one), haproxy(old, one)].into_iter().flatten());
    run("HTTP/1.1 -> HTTP/1.1", row, Kind::Http1);
    let down = spoken(Version::Http2, Version::Http1);
    let mut row = vec![own(0)];
    row.extend([nginx(old, down), haproxy(old, down)].into_iter().flatten());
    run("HTTP/2 -> HTTP/1.1", row, Kind::Http2);
    let both = spoken(Version::Http2, Version::Http2);
    let mut row = vec![own(2)];
    row.extend(haproxy(new, both));
    run("HTTP/2 -> HTTP/2", row, Kind::Http2);
    let mut row = vec![own(2)];
    row.extend([nginx(new, both), haproxy(new, both)].into_iter().flatten());
    run("gRPC, unary", row, Kind::Grpc);
}

/// Measures the contenders in turn, and prints what a call took each.
fn run(what: &str, mut contenders: Vec<Contender>, kind: Kind, connections: usize, seconds: f64) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let before = contender.processor_time();
            let calls = load(&runtime, contender.address, kind, connections, seconds);
            let used = contender.processor_time() - before;
            // The first round warms up.
            if round > 0 {
                let micros = used.as_secs_f64() * 1e6 / calls as f64;
                contender.micros.push(micros);
            }
        }
    }
    println!("{what}");
    let mut first = None;
    for Contender { name, micros, .. } in &mut contenders {
        micros.sort_by(f64::total_cmp);
        let time = micros[micros.len() / 2];
        let first = *first.get_or_insert(time);
        let (least, most) = (micros[0], micros[micros.len() - 1]);
        println!(
            "  {name:10} {time:6.2} us a call ({least:.2} to {most:.2}), {:.2} of ours",
            time / first
        );
    }
}

/// What idle, kept-alive connections cost this process; their sockets are the kernel's.
fn idle_memory(what: &str, connection: impl Fn() -> TcpStream) {
    let few: Vec<_> = (0..10).map(|_| connection()).collect();
    let before = resident_bytes();
    let many: Vec<_> = (0..IDLE_CONNECTIONS).map(|_| connection()).collect();
    let each = resident_bytes().saturating_sub(before) / IDLE_CONNECTIONS;
    println!(
        "an idle connection of {what} keeps {each} bytes resident (of {})",
        few.len() + many.len()
    );
}

fn idle_http1(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(REQUEST).unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    stream
}

/// After one call: `GET http://rng/`, by the static table of HPACK.
fn idle_http2(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    stream
        .write_all(b"\0\0\x08\x01\x05\0\0\0\x01\x82\x86\x84\x41\x03rng")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.windows(64).any(|window| window == [b'x'; 64]) {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0);
        answer.extend_from_slice(&part[..count]);
    }
    stream
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1024
}
