//! A server outside: in a network namespace of its own, reached over a virtual cable, as the rest
//! of the world is. Making it takes root; the suite's ordinary user is given its address.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// The variable with the address of a server that somebody else made.
pub const VARIABLE: &str = "ROADS_E2E_OUTSIDE";
const PORT: u16 = 8080;

/// The server. Dropping it removes what was made for it.
#[derive(Debug)]
pub struct Outside {
    address: SocketAddr,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    namespace: String,
    server: Option<Child>,
}

impl Outside {
    /// The server that there is, else a new one.
    ///
    /// # Errors
    /// In words, when none can be had.
    pub fn find() -> Result<Self, String> {
        match std::env::var(VARIABLE) {
            Ok(text) => {
                let address = text
                    .parse()
                    .map_err(|error| format!("{VARIABLE}={text}: {error}"))?;
                Ok(Self { address, own: None })
            }
            Err(_) => Self::make(crate::roads::binary().into()),
        }
    }

    /// A new one, which `roads` serves.
    ///
    /// # Errors
    /// As [`Outside::find`].
    pub fn make(roads: OsString) -> Result<Self, String> {
        let number = std::process::id();
        let namespace = format!("e2e-{number}");
        // Of the block for benchmarks between networks (RFC 2544), by this process's id.
        let (third, fourth) = (number / 64 % 256, number % 64 * 4);
        let (near, far) = (
            format!("198.18.{third}.{}", fourth + 1),
            format!("198.18.{third}.{}", fourth + 2),
        );
        let (cable, end) = (format!("e2e{number}n"), format!("e2e{number}f"));
        ip(&["netns", "add", &namespace])?;
        let mut own = Own {
            namespace: namespace.clone(),
            server: None,
        };
        ip(&[
            "link", "add", &cable, "type", "veth", "peer", "name", &end, "netns", &namespace,
        ])?;
        ip(&["addr", "add", &format!("{near}/30"), "dev", &cable])?;
        ip(&["link", "set", &cable, "up"])?;
        ip(&[
            "-n",
            &namespace,
            "addr",
            "add",
            &format!("{far}/30"),
            "dev",
            &end,
        ])?;
        ip(&["-n", &namespace, "link", "set", &end, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        let mut server = Command::new("ip");
        server.args(["netns", "exec", &namespace]).arg(roads);
        server.args(["coins", "echo", "--port", &PORT.to_string()]);
        server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let spawned = server.spawn();
        let server = own
            .server
            .insert(spawned.map_err(|error| format!("cannot run ip: {error}"))?);
        let mut line = String::new();
        if let Some(said) = server.stderr.take() {
            drop(BufReader::new(said).read_line(&mut line));
        }
        if !line.contains("listening=") {
            return Err(format!("the server does not listen: {line}"));
        }
        let address = format!("{far}:{PORT}")
            .parse()
            .map_err(|error| format!("{far}: {error}"))?;
        Ok(Self {
            address,
            own: Some(own),
        })
    }

    /// Where it answers, as `roads coins echo` does.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether this value made it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            drop(server.kill());
            drop(server.wait());
        }
        // The cable goes with the namespace at one of its ends.
        drop(ip(&["netns", "delete", &self.namespace]));
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output();
    let output = output.map_err(|error| format!("cannot run ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", words.join(" "), said.trim()))
}
