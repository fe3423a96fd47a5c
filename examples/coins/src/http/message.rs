//! Requests, responses and how they are read from and written to a stream.

use std::io::{self, BufRead, Read, Write};

/// The largest head (first line and headers) that is read.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The largest body that is read.
pub(super) const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most header lines of one head.
pub(super) const HEADERS_MAX: usize = 64;
/// The longest line of chunked framing: a size and its extensions, or a trailer.
const CHUNK_LINE_BYTES_MAX: u64 = 1024;

/// Header lines in their order; names compare without case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// A request that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, as in `GET`.
    pub method: String,
    /// The target as it was sent, as in `/32?x=1`.
    pub target: String,
    /// The header lines.
    pub headers: Headers,
    /// The body without its framing.
    pub body: Vec<u8>,
    pub(super) version: Version,
}

/// A response with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines, but for Content-Length and Connection.
    pub headers: Headers,
    /// The body without its framing.
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// What is wrong with a message; `status` is what a server answers to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("connection failed")]
    Io(#[source] io::Error),
    #[error("connection closed before the first byte of a message")]
    Closed,
    #[error("connection closed within a message")]
    CutOff,
    #[error("head is larger than {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} lines")]
    HeadTooLarge,
    #[error("body is larger than {BODY_BYTES_MAX} bytes")]
    BodyTooLarge,
    #[error("transfer coding is not known")]
    UnknownCoding,
    #[error("head is malformed: {0}")]
    BadHead(httparse::Error),
    #[error("framing is malformed")]
    BadFraming,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Headers {
    /// The value of the first line of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all lines of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(move |(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds a line at the end.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Whether a comma-separated list, as in `Connection: close`, has this word.
    pub(super) fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|v| v.trim().eq_ignore_ascii_case(word))
    }

    fn read(lines: &[httparse::Header<'_>]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self(
            lines
                .iter()
                .map(|line| (line.name.to_owned(), text(line.value)))
                .collect(),
        )
    }

    /// The framing that the headers declare; `absent` is what no declaration means.
    pub(super) fn framing(&self, absent: Framing) -> Result<Framing, ReadError> {
        let mut lengths = self.all("content-length");
        let length = lengths.next();
        let mut codings = self.all("transfer-encoding");
        match (codings.next(), length) {
            (None, None) => Ok(absent),
            (None, Some(text)) if lengths.next().is_none() => decimal(text).map(Framing::Length),
            (Some(coding), None) if codings.next().is_none() => {
                let chunked = coding.trim().eq_ignore_ascii_case("chunked");
                if chunked {
                    Ok(Framing::Chunked)
                } else {
                    Err(ReadError::UnknownCoding)
                }
            }
            // Two lengths, two codings or both: two readers could disagree where the body ends.
            (_, _) => Err(ReadError::BadFraming),
        }
    }
}

impl Request {
    /// The path of the target, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Everything after the first `?`.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub(super) fn keeps_alive(&self) -> bool {
        self.version == Version::Http11 && !self.headers.lists("connection", "close")
    }

    /// Reads a head; the body is empty yet.
    pub(super) fn read_head(stream: &mut impl BufRead) -> Result<Self, ReadError> {
        let bytes = read_head_bytes(stream)?;
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut lines);
        head.parse(&bytes).map_err(bad_head)?;
        let request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            version: if head.version == Some(0) {
                Version::Http10
            } else {
                Version::Http11
            },
            headers: Headers::read(head.headers),
            body: Vec::new(),
        };
        let hosts = request.headers.all("host").count();
        if hosts > 1 || (hosts == 0 && request.version == Version::Http11) {
            return Err(ReadError::BadFraming);
        }
        Ok(request)
    }

    pub(super) fn read_body(&mut self, stream: &mut impl BufRead) -> Result<(), ReadError> {
        let framing = self.headers.framing(Framing::Length(0))?;
        self.body = read_body(stream, framing)?;
        Ok(())
    }
}

impl Response {
    /// A response of plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(
            status,
            "text/plain; charset=utf-8",
            text.into().into_bytes(),
        )
    }

    /// A response of JSON.
    pub fn json(status: u16, json: impl Into<String>) -> Self {
        Self::new(status, "application/json", json.into().into_bytes())
    }

    /// A response of any type.
    pub fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let mut headers = Headers::default();
        headers.add("content-type", content_type);
        Self {
            status,
            headers,
            body,
        }
    }

    /// Reads a whole response, past any interim one (status 1xx).
    pub(super) fn read(stream: &mut impl BufRead) -> Result<(Self, Framing), ReadError> {
        let mut response = Self::read_head(stream)?;
        while (100..200).contains(&response.status) && response.status != 101 {
            response = Self::read_head(stream)?;
        }
        let framing = match response.status {
            101 | 204 | 304 => Framing::Length(0),
            _ => response.headers.framing(Framing::UntilClose)?,
        };
        response.body = read_body(stream, framing)?;
        Ok((response, framing))
    }

    fn read_head(stream: &mut impl BufRead) -> Result<Self, ReadError> {
        let bytes = read_head_bytes(stream)?;
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut lines);
        head.parse(&bytes).map_err(bad_head)?;
        let status = head.code.unwrap_or_default();
        Ok(Self {
            status,
            headers: Headers::read(head.headers),
            body: Vec::new(),
        })
    }

    /// Writes the head for a body of that framing, without the body.
    pub(super) fn write_head(
        &self,
        stream: &mut impl Write,
        framing: Framing,
        connection: &str,
    ) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in self.headers.iter() {
            write_line(&mut head, name, value);
        }
        match framing {
            Framing::Length(length) => write_line(&mut head, "content-length", &length.to_string()),
            Framing::Chunked => write_line(&mut head, "transfer-encoding", "chunked"),
            Framing::UntilClose => {}
        }
        if !connection.is_empty() {
            write_line(&mut head, "connection", connection);
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())
    }
}

/// Header values come from our own code and from what a parser accepted; a line end in one would
/// begin a new header line, so it is not written.
pub(super) fn write_line(head: &mut String, name: &str, value: &str) {
    let value = value.replace(['\r', '\n'], " ");
    for part in [name, ": ", &value, "\r\n"] {
        head.push_str(part);
    }
}

fn bad_head(error: httparse::Error) -> ReadError {
    match error {
        httparse::Error::TooManyHeaders => ReadError::HeadTooLarge,
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => ReadError::BadHead(error),
    }
}

/// Everything up to and with the empty line, line by line so that no byte of the body is taken.
fn read_head_bytes(stream: &mut impl BufRead) -> Result<Vec<u8>, ReadError> {
    let mut head = Vec::new();
    loop {
        let room = HEAD_BYTES_MAX - head.len();
        let before = head.len();
        let taken = stream
            .by_ref()
            .take(room as u64)
            .read_until(b'\n', &mut head);
        match taken.map_err(ReadError::Io)? {
            0 if room == 0 => return Err(ReadError::HeadTooLarge),
            0 if head.is_empty() => return Err(ReadError::Closed),
            0 => return Err(ReadError::CutOff),
            _ => {}
        }
        let line = &head[before..];
        let empty = line == b"\r\n" || line == b"\n";
        if empty && before == 0 {
            // An empty line before a message is skipped (RFC 9112, section 2.2).
            head.clear();
        } else if empty {
            return Ok(head);
        }
    }
}

fn read_body(stream: &mut impl BufRead, framing: Framing) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) if length > BODY_BYTES_MAX => return Err(ReadError::BodyTooLarge),
        Framing::Length(length) => read_exactly(stream, length, &mut body)?,
        Framing::Chunked => read_chunks(stream, &mut body)?,
        Framing::UntilClose => {
            let limit = BODY_BYTES_MAX + 1;
            let read = stream
                .by_ref()
                .take(limit)
                .read_to_end(&mut body)
                .map_err(ReadError::Io)?;
            if read as u64 == limit {
                return Err(ReadError::BodyTooLarge);
            }
        }
    }
    Ok(body)
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<(), ReadError> {
    loop {
        let line = read_chunk_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let plain = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = if plain {
            u64::from_str_radix(size, 16).ok()
        } else {
            None
        };
        let size = size.ok_or(ReadError::BadFraming)?;
        if size == 0 {
            // Trailers are read past; nobody here wants one.
            for _ in 0..HEADERS_MAX {
                if read_chunk_line(stream)?.is_empty() {
                    return Ok(());
                }
            }
            return Err(ReadError::HeadTooLarge);
        }
        if size > BODY_BYTES_MAX - body.len() as u64 {
            return Err(ReadError::BodyTooLarge);
        }
        read_exactly(stream, size, body)?;
        if !read_chunk_line(stream)?.is_empty() {
            return Err(ReadError::BadFraming);
        }
    }
}

fn read_chunk_line(stream: &mut impl BufRead) -> Result<String, ReadError> {
    let mut line = Vec::new();
    let mut bounded = stream.by_ref().take(CHUNK_LINE_BYTES_MAX);
    bounded
        .read_until(b'\n', &mut line)
        .map_err(ReadError::Io)?;
    if line.is_empty() {
        return Err(ReadError::CutOff);
    }
    let text = line.strip_suffix(b"\r\n").ok_or(ReadError::BadFraming)?;
    String::from_utf8(text.to_vec()).map_err(|_| ReadError::BadFraming)
}

fn read_exactly(
    stream: &mut impl BufRead,
    length: u64,
    body: &mut Vec<u8>,
) -> Result<(), ReadError> {
    let read = stream
        .by_ref()
        .take(length)
        .read_to_end(body)
        .map_err(ReadError::Io)?;
    if read as u64 == length {
        Ok(())
    } else {
        Err(ReadError::CutOff)
    }
}

fn decimal(text: &str) -> Result<u64, ReadError> {
    let text = text.trim();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { text.parse().ok() } else { None };
    number.ok_or(ReadError::BadFraming)
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "",
    }
}

/// Text as a JSON string, with its quotes.
pub(crate) fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<(Request, usize), ReadError> {
        let mut request = Request::read_head(&mut bytes)?;
        request.read_body(&mut bytes)?;
        Ok((request, bytes.len()))
    }

    #[test]
    fn a_request_ends_where_its_framing_says() {
        let length = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET";
        let (request, left) = read(length).unwrap();
        assert_eq!((request.body.as_slice(), left), (&b"abc"[..], 3));
        let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
            2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\nGET";
        let (request, left) = read(chunked).unwrap();
        assert_eq!((request.body.as_slice(), left), (&b"abc"[..], 3));
        let (request, left) = read(b"\r\nGET /32?q=1 HTTP/1.1\r\nHost: a\r\n\r\nGET").unwrap();
        assert_eq!((request.path(), request.query(), left), ("/32", "q=1", 3));
    }

    #[test]
    fn a_request_whose_end_could_be_disputed_is_refused() {
        let refused = [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ];
        for bytes in refused {
            let error = read(bytes.as_bytes()).unwrap_err();
            assert!(matches!(error, ReadError::BadFraming), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX));
        assert!(matches!(
            read(long.as_bytes()),
            Err(ReadError::HeadTooLarge)
        ));
        let many = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "b: c\r\n".repeat(HEADERS_MAX)
        );
        assert!(matches!(
            read(many.as_bytes()),
            Err(ReadError::HeadTooLarge)
        ));
        let large = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n";
        assert!(matches!(read(large), Err(ReadError::BodyTooLarge)));
        let chunk = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
            ffffffffffffffff\r\n";
        assert!(matches!(read(chunk), Err(ReadError::BodyTooLarge)));
    }

    #[test]
    fn a_written_response_reads_back_and_holds_no_injected_line() {
        let mut response = Response::text(503, "later");
        response.headers.add("x-name", "a\r\nset-cookie: b");
        let mut bytes = Vec::new();
        response
            .write_head(&mut bytes, Framing::Length(5), "close")
            .unwrap();
        bytes.extend_from_slice(&response.body);
        let (read, framing) = Response::read(&mut bytes.as_slice()).unwrap();
        assert_eq!((read.status, framing), (503, Framing::Length(5)));
        assert_eq!(read.headers.get("set-cookie"), None);
        assert_eq!(read.body, b"later");
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json_string("a\"\\\n\u{1}é"), "\"a\\\"\\\\\\u000a\\u0001é\"");
    }
}
