//! Prints what capturing costs: a round trip and a new connection through the redirect, against a
//! plain listener in the same namespace and in one without rules; then what the rest of the crate
//! costs, each call by itself.
//!
//! Both ends run on one thread, so that nothing is measured but the kernel's work for both sides:
//! no wake-up, no scheduling. The rounds of the three kinds alternate, and the medians are taken
//! over rounds, so a disturbance hits one round and not one kind. Needs root, or runs itself in a
//! user namespace: `unshare -Ur cargo bench -p roadstead-netns`.

#![expect(
    clippy::print_stdout,
    reason = "the printed table is what this program is for"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run may panic")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use netns::ambassador::{self, Egress, Sockets, UdpCapture, Wish};
use netns::{Listening, Namespace};
use rustix::net::{AddressFamily, SendFlags, SocketType};
use rustix::thread::UnshareFlags;
use rustix::time::{ClockId, clock_gettime};

const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 127, 0, 9), 80);
const ROUNDS: usize = 100;
const ROUND_TRIPS: u32 = 1000;
const CONNECTIONS: u32 = 100;
/// The bytes of a small request, and of its answer.
const MESSAGE: usize = 128;

/// One way to reach a listener.
struct Path {
    name: &'static str,
    namespace: Namespace,
    listener: TcpListener,
    destination: SocketAddrV4,
}

fn main() {
    let bare = fresh_namespace();
    bare.enter(bring_up_lo).unwrap();
    let namespace = fresh_namespace();
    let Sockets { tcp, .. } = ambassador::install_in(&namespace, &wish(1, 0)).unwrap();
    let capture = TcpListener::from(tcp[0].try_clone().unwrap());
    let paths = [
        plain("plain listener, no rules", &bare),
        plain("plain listener", &namespace),
        Path {
            name: "captured",
            namespace: namespace.clone(),
            listener: capture,
            destination: SERVICE,
        },
    ];
    println!("processor time of both sides, microseconds (median of {ROUNDS} alternating rounds)");
    compare("round trip, 128 bytes each way", &paths, |path| {
        let pair = path.connect();
        per_operation(ROUND_TRIPS, || pair.exchange())
    });
    compare("connect, one round trip, close", &paths, |path| {
        per_operation(CONNECTIONS, || path.connect().exchange())
    });
    let tracked = "/proc/sys/net/netfilter/nf_conntrack_count";
    let tracked = namespace
        .enter(|| std::fs::read_to_string(tracked))
        .unwrap();
    println!(
        "connections tracked in the namespace afterwards: {}\n",
        tracked.trim()
    );
    single_calls(&namespace);
}

/// Measures each path once a round, and prints the medians and the paired differences.
fn compare(title: &str, paths: &[Path; 3], measure: impl Fn(&Path) -> f64) {
    let rounds: Vec<[f64; 3]> = (0..ROUNDS)
        .map(|round| {
            let mut figures = [0.0; 3];
            for turn in 0..3 {
                let which = (round + turn) % 3;
                figures[which] = measure(&paths[which]);
            }
            figures
        })
        .collect();
    println!(
        "\n{title:<34}{:>10}{:>14}{:>10}",
        "each", "over plain", "ratio"
    );
    for (index, path) in paths.iter().enumerate() {
        let own = median(rounds.iter().map(|figures| figures[index]));
        let over = median(rounds.iter().map(|figures| figures[index] - figures[1]));
        let ratio = median(rounds.iter().map(|figures| figures[index] / figures[1]));
        println!("  {:<32}{own:>10.2}{over:>+14.2}{ratio:>10.3}", path.name);
    }
}

/// What the calls of this crate take, as the caller waits for them.
fn single_calls(namespace: &Namespace) {
    println!("one call, microseconds of waiting (median)");
    let show = |name: &str, time: f64| println!("  {name:<60}{time:>10.1}");
    for udp in [0, 10, 100] {
        let times = (0..50).map(|_| {
            let namespace = fresh_namespace();
            let wish = wish(2, udp);
            waited(|| namespace.enter(|| Ok(ambassador::install(&wish).unwrap())))
        });
        show(
            &format!("install an ambassador, 2 tcp and {udp} udp captures"),
            median(times),
        );
    }
    let mut listening = Listening::open(namespace).unwrap();
    let repeat = |name: &str, work: &mut dyn FnMut()| {
        show(name, median((0..1000).map(|_| waited(&mut *work))));
    };
    repeat("enter a namespace and return", &mut || {
        namespace.enter(|| Ok(())).unwrap()
    });
    repeat("make a socket inside", &mut || {
        drop(namespace.connect_socket().unwrap())
    });
    repeat("make eight sockets inside", &mut || {
        drop(namespace.connect_sockets(8).unwrap())
    });
    repeat("ask whether one port listens", &mut || {
        assert!(!listening.accepts(80).unwrap())
    });
    repeat("list all ports that listen", &mut || {
        drop(listening.ports().unwrap())
    });
}

/// Both ends of a connection.
struct Pair {
    caller: TcpStream,
    server: TcpStream,
}

impl Path {
    fn connect(&self) -> Pair {
        let caller = self
            .namespace
            .enter(|| TcpStream::connect(self.destination))
            .unwrap();
        let (server, _) = self.listener.accept().unwrap();
        Pair { caller, server }
    }
}

impl Pair {
    fn exchange(&self) {
        let mut message = [7; MESSAGE];
        let (mut caller, mut server) = (&self.caller, &self.server);
        caller.write_all(&message).unwrap();
        server.read_exact(&mut message).unwrap();
        server.write_all(&message).unwrap();
        caller.read_exact(&mut message).unwrap();
    }
}

fn plain(name: &'static str, namespace: &Namespace) -> Path {
    let listen = || TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let listener = namespace.enter(listen).unwrap();
    let destination = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
    Path {
        name,
        namespace: namespace.clone(),
        listener,
        destination,
    }
}

fn wish(tcp_captures: usize, udp: u16) -> Wish {
    let address = *SERVICE.ip();
    let udp = (1..=udp).map(|port| UdpCapture { address, port }).collect();
    Wish {
        tcp_captures,
        udp,
        egress: Egress::Tcp,
    }
}

fn fresh_namespace() -> Namespace {
    let make = || {
        #[expect(unsafe_code, reason = "the only way to make a namespace")]
        // SAFETY: the descriptor table stays shared; only the network namespace is unshared.
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWNET).unwrap();
        }
        Namespace::current().unwrap()
    };
    thread::spawn(make).join().unwrap()
}

/// What `ip link set lo up` does, and `install` among other things: one `RTM_NEWLINK`.
fn bring_up_lo() -> io::Result<()> {
    let raw = SocketType::RAW;
    let socket = rustix::net::socket(AddressFamily::NETLINK, raw, None)?;
    let words: [u32; 8] = [32, 16 | (1 << 16), 0, 0, 0, 1, 1, 1];
    rustix::net::send(
        &socket,
        &words.map(u32::to_ne_bytes).concat(),
        SendFlags::empty(),
    )?;
    Ok(())
}

fn per_operation(count: u32, mut operation: impl FnMut()) -> f64 {
    let start = clock_gettime(ClockId::ThreadCPUTime);
    for _ in 0..count {
        operation();
    }
    let end = clock_gettime(ClockId::ThreadCPUTime);
    let time = Duration::try_from(end - start).unwrap();
    time.as_secs_f64() * 1e6 / f64::from(count)
}

fn waited<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let outcome = work();
    let time = start.elapsed();
    drop(outcome);
    time.as_secs_f64() * 1e6
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
