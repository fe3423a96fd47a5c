//! Asking this machine's own resolvers what we cannot answer.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const PORT: u16 = 53;
/// As the C library's resolver: five seconds a server (resolv.conf(5), `timeout`).
const TIMEOUT: Duration = Duration::from_secs(5);
/// As many servers as the C library asks (resolv.conf(5), `MAXNS`).
const SERVERS_MAX: usize = 3;

/// The resolvers that this machine uses.
#[derive(Debug, Clone, Default)]
pub struct Resolvers {
    servers: Vec<SocketAddr>,
}

impl Resolvers {
    /// These servers, in this order.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers }
    }

    /// Those of a resolv.conf(5); none when it cannot be read.
    #[must_use]
    pub fn from_file(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let servers = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
            .take(SERVERS_MAX)
            .map(|ip| SocketAddr::new(ip, PORT));
        Self {
            servers: servers.collect(),
        }
    }

    /// The first answer of a server to `question`, by UDP. Each question goes out from a port of
    /// its own that the kernel chooses, and only the asked server's answer to this question
    /// counts (RFC 5452).
    ///
    /// # Errors
    /// The last server's failure; `NotFound` when there is no server.
    pub async fn ask_datagram(&self, question: &[u8]) -> io::Result<Vec<u8>> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for &server in &self.servers {
            match timeout(TIMEOUT, datagram(server, question)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    /// The first answer of a server to `question`, by TCP.
    ///
    /// # Errors
    /// The last server's failure; `NotFound` when there is no server.
    pub async fn ask_stream(&self, question: &[u8]) -> io::Result<Vec<u8>> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for &server in &self.servers {
            match timeout(TIMEOUT, stream(server, question)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

async fn datagram(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answers(&answer[..length], question) {
            answer.truncate(length);
            answer.shrink_to_fit();
            return Ok(answer);
        }
    }
}

async fn stream(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, question).await?;
    let answer = read_framed(&mut stream).await?;
    if answers(&answer, question) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Same id, a response, and the same question section up to its end.
fn answers(answer: &[u8], question: &[u8]) -> bool {
    let question_end = question_end(question);
    answer.len() >= question_end
        && answer[..2] == question[..2]
        && answer[2] & 0x80 != 0
        && answer[4..6] == [0, 1]
        && answer[12..question_end].eq_ignore_ascii_case(&question[12..question_end])
}

/// Where the only question of a well-formed message ends.
fn question_end(question: &[u8]) -> usize {
    let mut at = 12;
    while let Some(&length) = question.get(at).filter(|&&length| length != 0) {
        at += 1 + usize::from(length);
    }
    (at + 5).min(question.len())
}

/// Reads a message behind its two-byte length (RFC 1035, 4.2.2).
pub(crate) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message behind its two-byte length, in one piece.
pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let framed = [&length.to_be_bytes()[..], message].concat();
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_question_counts() {
        let question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03foo\x02de\0\0\x01\0\x01";
        let mut answer = question.to_vec();
        answer[2] = 0x81;
        assert!(answers(&answer, question));
        for (at, to) in [(0, 0), (2, 0x01), (5, 2), (13, b'x'), (20, 28)] {
            let mut other = answer.clone();
            other[at] = to;
            assert!(!answers(&other, question), "byte {at}");
        }
        assert!(!answers(&answer[..20], question));
        assert!(!answers(&[], question));
    }
}
