//! Processor time of a kept-alive GET with 1 KiB of answer, through this proxy and through its
//! peers, interleaved in one run: `cargo bench -p roadstead-proxy [-- SECONDS [CONNECTIONS]]`.
//!
//! All proxies have one worker, add `X-Forwarded-For` and keep connections alive on both sides;
//! the server and the load are threads of this program, and only the proxies' own threads count.
//! Peers that are not installed are left out. Needs root, or `unshare --user --map-root-user`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark is a program for a person to look at"
)]

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use model::{
    AddressBook, AppName, AppSpec, Image, InstanceId, Moment, Port, Protocol, Publish, Revision,
    ServiceName, ServiceSpec, Transport,
};
use proxy::{Attachment, Proxy, ProxyConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use traffic::{Activity, App, Availability, Directory, Endpoint, Service, Snapshot};

const BODY_BYTES: usize = 1024;
const REQUEST: &[u8] = b"GET /32 HTTP/1.1\r\nHost: rng\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const ROUNDS: usize = 7;
const IDLE_CONNECTIONS: usize = 2000;

/// Something that relays calls to the server.
struct Contender {
    name: &'static str,
    address: SocketAddr,
    threads: Threads,
    micros: Vec<f64>,
}

/// Whose processor time counts.
enum Threads {
    /// Our own, by the beginning of their names.
    Own(&'static str),
    /// A program's, its children's included.
    Of(Child),
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let seconds: f64 = arguments.next().map_or(1.0, |text| text.parse().unwrap());
    let connections: usize = arguments.next().map_or(32, |text| text.parse().unwrap());
    let server = serve();
    let bench = start_proxy(server.port());
    let mut contenders = vec![
        Contender::own("roadstead http", bench.address(Protocol::Http1)),
        Contender::own("roadstead bytes", bench.address(Protocol::Tcp)),
    ];
    contenders.extend(nginx(server));
    contenders.extend(haproxy(server));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let before = contender.threads.processor_time();
            let calls = load(&runtime, contender.address, connections, seconds);
            let used = contender.threads.processor_time() - before;
            // The first round warms up.
            if round > 0 {
                contender
                    .micros
                    .push(used.as_secs_f64() * 1e6 / calls as f64);
            }
        }
    }
    report(&mut contenders);
    idle_memory(bench.address(Protocol::Http1));
}

fn report(contenders: &mut [Contender]) {
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut first = None;
    for Contender { name, micros, .. } in contenders {
        let time = median(micros);
        let first = *first.get_or_insert(time);
        let (least, most) = (micros[0], micros[micros.len() - 1]);
        println!(
            "{name:16} {time:6.2} us a call ({least:.2} to {most:.2}), {:.2} of ours",
            time / first
        );
    }
}

/// What idle, kept-alive connections cost this process; their sockets are the kernel's.
fn idle_memory(address: SocketAddr) {
    let call = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(REQUEST).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream
    };
    let few: Vec<_> = (0..10).map(|_| call()).collect();
    let before = resident_bytes();
    let many: Vec<_> = (0..IDLE_CONNECTIONS).map(|_| call()).collect();
    let each = resident_bytes().saturating_sub(before) / IDLE_CONNECTIONS;
    println!(
        "an idle connection keeps {each} bytes resident (of {})",
        few.len() + many.len()
    );
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

/// Answers every request, on a thread of its own.
fn serve() -> SocketAddr {
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
                tasks.spawn_local(answer(stream));
            }
        });
    });
    address
}

async fn answer(mut stream: tokio::net::TcpStream) {
    stream.set_nodelay(true).unwrap();
    let body = "x".repeat(BODY_BYTES);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {BODY_BYTES}\r\n\
         Date: Tue, 24 Nov 2026 00:00:00 GMT\r\nServer: bench\r\n\r\n{body}"
    );
    let mut buffer = vec![0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Calls for so long on so many connections, and returns how many calls were answered.
fn load(runtime: &Runtime, address: SocketAddr, connections: usize, seconds: f64) -> u64 {
    let calls = Rc::new(Cell::new(0));
    let failures = Rc::new(RefCell::new(String::new()));
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    LocalSet::new().block_on(runtime, async {
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (calls, failures) = (Rc::clone(&calls), Rc::clone(&failures));
            tasks.spawn_local(async move {
                if let Err(error) = call(address, deadline, &calls).await {
                    writeln!(failures.borrow_mut(), "{error}").unwrap();
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
    assert_eq!(failures.borrow().as_str(), "");
    calls.get()
}

async fn call(address: SocketAddr, deadline: Instant, calls: &Cell<u64>) -> std::io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
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

/// A proxy with two services in front of the one server.
struct Bench {
    addresses: [SocketAddr; 2],
    _proxy: Proxy,
    _snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Bench {
    fn address(&self, protocol: Protocol) -> SocketAddr {
        self.addresses[usize::from(protocol == Protocol::Tcp)]
    }
}

fn start_proxy(port: u16) -> Bench {
    let app = AppName::new("bench").unwrap();
    let spec = |(name, protocol): (&str, Protocol)| {
        let mut spec = ServiceSpec::new(ServiceName::new(name).unwrap(), Image::Host);
        spec.protocols.insert(port, protocol);
        (spec.name.clone(), Arc::new(spec))
    };
    let kinds = [("http", Protocol::Http1), ("tcp", Protocol::Tcp)];
    let spec = AppSpec {
        name: app.clone(),
        services: kinds.map(spec).into(),
        networks: [].into(),
        volumes: [].into(),
    };
    let snapshots = watch::Sender::new(Arc::new(Snapshot::default()));
    let begin = Instant::now();
    let clock = Arc::new(move || Moment::from_zero(begin.elapsed()));
    let config = ProxyConfig::new(NonZeroUsize::MIN, clock);
    let proxy = Proxy::start(config, &snapshots.subscribe()).unwrap();
    let mut services = std::collections::BTreeMap::new();
    let mut addresses = Vec::new();
    for (name, spec) in &spec.services {
        let id = InstanceId {
            app: app.clone(),
            service: name.clone(),
            number: 1,
        };
        let namespace = fs::File::open("/proc/self/ns/net").unwrap().into();
        let attachment = Attachment {
            namespace,
            tcp: Vec::new(),
            udp: Vec::new(),
        };
        proxy.attach(id.clone(), attachment);
        let service = Service {
            spec: Arc::clone(spec),
            endpoints: vec![Arc::new(Endpoint::new(
                id,
                Revision::FIRST,
                Arc::new(|| ()),
            ))],
            availability: Availability::Held,
            activity: Arc::new(Activity::new(Arc::new(|| ()))),
        };
        services.insert(name.clone(), Arc::new(service));
        let target = Port {
            number: port,
            transport: Transport::Tcp,
        };
        let address = Some(Ipv4Addr::LOCALHOST.into());
        let publish = Publish {
            address,
            published: None,
            target,
        };
        addresses.push((name.clone(), publish));
    }
    let directory = Arc::new(Directory::new(Arc::new(spec), AddressBook::default()).unwrap());
    let routed = App {
        directory,
        services,
    };
    snapshots.send_modify(|snapshot| {
        *snapshot = Arc::new(snapshot.with(&app, Some(Arc::new(routed))));
    });
    let open = proxy.listen(&app, &addresses).unwrap();
    Bench {
        addresses: [open[0].address, open[1].address],
        _proxy: proxy,
        _snapshots: snapshots,
    }
}

impl Contender {
    fn own(name: &'static str, address: SocketAddr) -> Self {
        Self {
            name,
            address,
            threads: Threads::Own("proxy-"),
            micros: Vec::new(),
        }
    }

    /// A program that listens on an address soon after its start.
    fn program(name: &'static str, command: &mut Command, address: SocketAddr) -> Option<Self> {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok();
        let Some(mut child) = child else {
            println!("{name:16} is not installed");
            return None;
        };
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait().unwrap() {
                println!("{name:16} does not start here: {status}");
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some(Self {
            name,
            address,
            threads: Threads::Of(child),
            micros: Vec::new(),
        })
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if let Threads::Of(child) = &mut self.threads {
            // Asked to end, nginx ends its workers too.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

impl Threads {
    fn processor_time(&self) -> Duration {
        match self {
            Self::Own(begin) => time_of(std::process::id(), begin),
            Self::Of(child) => {
                let pids = children(child.id()).into_iter().chain([child.id()]);
                pids.map(|pid| time_of(pid, "")).sum()
            }
        }
    }
}

/// What the threads of a process whose names begin like this have used, to the nanosecond.
fn time_of(pid: u32, begin: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let time = |path: PathBuf| {
        let name = fs::read_to_string(path.join("comm")).ok()?;
        let times = fs::read_to_string(path.join("schedstat")).ok()?;
        let nanos = times.split(' ').next()?.parse().ok()?;
        name.starts_with(begin).then(|| Duration::from_nanos(nanos))
    };
    threads.filter_map(|thread| time(thread.path())).sum()
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_ascii_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// An address that was free a moment ago, and a folder for a peer's files.
fn place(name: &str) -> (SocketAddr, PathBuf) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let folder =
        std::env::temp_dir().join(format!("roadstead-bench-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    (free.local_addr().unwrap(), folder)
}

fn nginx(server: SocketAddr) -> Option<Contender> {
    let (address, folder) = place("nginx");
    let file = folder.join("nginx.conf");
    let folder = folder.display();
    let text = format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
         events {{ worker_connections 4096; }}
         http {{
           access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
           fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           keepalive_requests 100000000;
           upstream server {{ server {server}; keepalive 256; keepalive_requests 100000000; }}
           server {{
             listen {address};
             location / {{
               proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
             }}
           }}
         }}"
    );
    fs::write(&file, text).unwrap();
    Contender::program("nginx", Command::new("nginx").arg("-c").arg(file), address)
}

fn haproxy(server: SocketAddr) -> Option<Contender> {
    let (address, folder) = place("haproxy");
    let file = folder.join("haproxy.cfg");
    let text = format!(
        "global
           nbthread 1
         defaults
           mode http
           timeout connect 5s
           timeout client 60s
           timeout server 60s
           http-reuse always
           option forwardfor
         frontend calls
           bind {address}
           default_backend server
         backend server
           server one {server}\n"
    );
    fs::write(&file, text).unwrap();
    Contender::program(
        "haproxy",
        Command::new("haproxy").arg("-db").arg("-f").arg(file),
        address,
    )
}
