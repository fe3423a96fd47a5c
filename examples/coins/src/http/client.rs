//! A client for one service: one connection, kept alive between requests.

use std::io::{self, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use super::message::{Framing, Response, write_line};

/// How long one address may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take. A first call to a sleeping service is held while it starts, so
/// this is longer than any hold.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(120);

/// An `http://` address, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The name or address, without brackets.
    pub host: String,
    /// The port, 80 unless written.
    pub port: u16,
    /// The path and query, which start with a slash.
    pub target: String,
    /// The host and port as they were written.
    pub authority: String,
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text is not an `http://` address.
    #[error("{0:?} is not an http:// address")]
    BadUrl(String),
    /// No address of the host accepts a connection.
    #[error("cannot connect to {authority}")]
    Connect {
        /// The host and port.
        authority: String,
        /// What the last address answered.
        source: io::Error,
    },
    /// The request could not be sent.
    #[error("cannot send to {authority}")]
    Send {
        /// The host and port.
        authority: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The response could not be read.
    #[error("cannot read the answer of {authority}: {reason}")]
    Answer {
        /// The host and port.
        authority: String,
        /// What was wrong with it.
        reason: String,
    },
}

/// Sends requests to one host over one connection.
#[derive(Debug)]
pub struct Client {
    url: Url,
    connection: Option<BufReader<TcpStream>>,
}

impl FromStr for Url {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::BadUrl(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(bad)?;
        let printable = rest.bytes().all(|byte| byte.is_ascii_graphic());
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed.split_once(']').ok_or_else(bad)?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() || !printable {
            return Err(bad());
        }
        let port = port.map_or(Ok(80), str::parse).map_err(|_| bad())?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            host: host.to_owned(),
            port,
            target: format!("{slash}{target}"),
            authority: authority.to_owned(),
        })
    }
}

impl Client {
    /// A client for the host of `url`; nothing is connected yet.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            connection: None,
        }
    }

    /// Sends one request and reads its whole response.
    ///
    /// A kept connection that the other side closed meanwhile is replaced once, as every request
    /// of this application may be repeated.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, ClientError> {
        let message = self.message(method, target, headers, body);
        if let Some(kept) = self.connection.take()
            && let Ok(response) = self.exchange(kept, &message)
        {
            return Ok(response);
        }
        let fresh = self.connect()?;
        self.exchange(fresh, &message)
    }

    /// The whole request in one piece, so that it leaves in one packet.
    fn message(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        write_line(&mut head, "host", &self.url.authority);
        for (name, value) in headers {
            write_line(&mut head, name, value);
        }
        if !body.is_empty() || method == "POST" {
            write_line(&mut head, "content-length", &body.len().to_string());
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        message
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, ClientError> {
        let failed = |source| {
            let authority = self.url.authority.clone();
            ClientError::Connect { authority, source }
        };
        connect(&self.url.host, self.url.port, ANSWER_MAX)
            .map(BufReader::new)
            .map_err(failed)
    }

    fn exchange(
        &mut self,
        mut connection: BufReader<TcpStream>,
        message: &[u8],
    ) -> Result<Response, ClientError> {
        let authority = || self.url.authority.clone();
        connection
            .get_mut()
            .write_all(message)
            .map_err(|source| ClientError::Send {
                authority: authority(),
                source,
            })?;
        let (response, framing) = Response::read(&mut connection).map_err(|error| {
            let reason = crate::chain(&error);
            ClientError::Answer {
                authority: authority(),
                reason,
            }
        })?;
        let closes =
            framing == Framing::UntilClose || response.headers.lists("connection", "close");
        if !closes {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

/// Connects to the first address of a name that accepts; reads and writes take at most
/// `answer_max`.
pub(crate) fn connect(host: &str, port: u16, answer_max: Duration) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(answer_max))?;
                stream.set_write_timeout(Some(answer_max))?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split() {
        let table = [
            ("http://rng", "rng", 80, "/"),
            ("http://rng/32?x", "rng", 80, "/32?x"),
            ("http://rng:8080", "rng", 8080, "/"),
            ("http://[::1]:9/a", "::1", 9, "/a"),
            ("http://a?b", "a", 80, "/?b"),
            (
                "http://a/call?url=http://b:1/",
                "a",
                80,
                "/call?url=http://b:1/",
            ),
        ];
        for (text, host, port, target) in table {
            let url: Url = text.parse().unwrap();
            assert_eq!(
                (url.host.as_str(), url.port, url.target.as_str()),
                (host, port, target)
            );
        }
        for text in [
            "rng",
            "https://rng",
            "http://",
            "http://a:b",
            "http://[::1",
            "http://a/ b",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
