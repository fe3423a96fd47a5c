//! The least HTTP/1.1 that a test needs to speak, as the caller and as the endpoint.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A message as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) line: String,
    /// Names in lower case, and values.
    pub(crate) fields: Vec<(String, String)>,
    /// With its chunks undone.
    pub(crate) body: String,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert_eq!(found.next(), None, "{name} twice in {self:?}");
        value
    }

    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// One side of an HTTP connection.
pub(crate) struct Peer {
    pub(crate) stream: BufReader<TcpStream>,
    /// The trailer lines of the last chunked body.
    pub(crate) trailers: Vec<String>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream: BufReader::new(stream),
            trailers: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends a GET and reads its answer.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> Message {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.receive().expect("an answer")
    }

    /// Reads a head; none at the end of the connection.
    pub(crate) fn head(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok()?;
            let text = line.strip_suffix("\r\n")?;
            if message.line.is_empty() {
                message.line = text.to_owned();
            } else if text.is_empty() {
                return Some(message);
            } else {
                let (name, value) = text.split_once(':').unwrap();
                message
                    .fields
                    .push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }

    /// Reads a whole message; none at the end of the connection.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        let mut message = self.head()?;
        if message.field("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().filter(|chunk| !chunk.is_empty()) {
                message.body += &chunk;
            }
        } else if let Some(length) = message.field("content-length") {
            message.body = self.bytes(length.parse().unwrap())?;
        }
        Some(message)
    }

    /// Reads a chunk.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.stream.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        if size == 0 {
            return self.read_trailers();
        }
        let chunk = self.bytes(size + 2)?;
        Some(chunk[..size].to_owned())
    }

    fn read_trailers(&mut self) -> Option<String> {
        self.trailers.clear();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok()?;
            match line.strip_suffix("\r\n")? {
                "" => return Some(String::new()),
                trailer => self.trailers.push(trailer.to_owned()),
            }
        }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<String> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).ok()?;
        String::from_utf8(bytes).ok()
    }

    /// Reads to the end.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap();
        rest
    }
}
