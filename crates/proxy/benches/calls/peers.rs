//! Whose processor time is measured: ours, and other proxies as programs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Something that relays calls.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    threads: Threads,
    pub(crate) micros: Vec<f64>,
}

/// Whose processor time counts.
enum Threads {
    /// Our own, by the beginning of their names.
    Own(&'static str),
    /// A program's, its children's included.
    Of(Child),
}

impl Contender {
    pub(crate) fn own(name: &'static str, address: SocketAddr) -> Self {
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

impl Contender {
    /// What it has used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        self.threads.processor_time()
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

/// What a peer speaks to callers, and to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) to_callers: Version,
    pub(crate) to_endpoint: Version,
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// nginx; it speaks HTTP/2 to an endpoint only as gRPC.
pub(crate) fn nginx(server: SocketAddr, spoken: Spoken) -> Option<Contender> {
    let (address, folder) = place("nginx");
    let file = folder.join("nginx.conf");
    let folder = folder.display();
    let listen = match spoken.to_callers {
        Version::Http1 => "",
        Version::Http2 => "http2",
    };
    let pass = match spoken.to_endpoint {
        Version::Http1 => {
            "proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection \"\";
             proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;"
        }
        Version::Http2 => "grpc_pass grpc://server; grpc_set_header X-Forwarded-For $remote_addr;",
    };
    let text = format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
         events {{ worker_connections 4096; }}
         http {{
           access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
           fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           keepalive_requests 100000000;
           upstream server {{ server {server}; keepalive 256; keepalive_requests 100000000; }}
           server {{ listen {address} {listen}; location / {{ {pass} }} }}
         }}"
    );
    fs::write(&file, text).unwrap();
    Contender::program("nginx", Command::new("nginx").arg("-c").arg(file), address)
}

/// HAProxy.
pub(crate) fn haproxy(server: SocketAddr, spoken: Spoken) -> Option<Contender> {
    let (address, folder) = place("haproxy");
    let file = folder.join("haproxy.cfg");
    let proto = |version| match version {
        Version::Http1 => "",
        Version::Http2 => "proto h2",
    };
    let (front, back) = (proto(spoken.to_callers), proto(spoken.to_endpoint));
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
           bind {address} {front}
           default_backend server
         backend server
           server one {server} {back}\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    Contender::program("haproxy", command.arg("-db").arg("-f").arg(file), address)
}
