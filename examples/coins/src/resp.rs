//! The Redis serialisation protocol, version 2, and its inline form; pure: bytes in, values out.
//!
//! Both readers take all bytes that have come so far and answer `None` while a message is
//! incomplete, so the caller keeps one buffer and needs no state. Every size is bounded here: a
//! peer cannot make us reserve more than it sends, nor more than the limits below.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

mod command;
mod reply;
#[cfg(test)]
mod tests;

pub use command::{Command, read_command};
pub use reply::{Reply, read_reply};

/// The longest line: an inline command, a length, a simple string or an error.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most words of one command.
pub const ARGUMENTS_MAX: usize = 1024;
/// The largest bulk string.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;
/// The largest command or reply, with its framing.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How deep arrays may lie in one another in a reply.
pub const DEPTH_MAX: usize = 4;

/// What is wrong with the bytes of a peer; the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A line does not end within its bound.
    #[error("too big inline request")]
    LongLine,
    /// A line ends with LF alone where CR LF is asked for, or holds a bare CR.
    #[error("line does not end with CR LF")]
    BadLineEnd,
    /// The count of an array is no number or beyond its bound.
    #[error("invalid multibulk length")]
    BadCount,
    /// The length of a bulk string is no number or beyond its bound.
    #[error("invalid bulk length")]
    BadLength,
    /// Another kind of value stands where a bulk string must.
    #[error("expected '$', got '{}'", char::from(*.0).escape_default())]
    NotBulk(u8),
    /// A bulk string is not followed by CR LF.
    #[error("bulk string does not end with CR LF")]
    BadBulkEnd,
    /// An inline command has a quote that does not end, or text directly behind one.
    #[error("unbalanced quotes in request")]
    BadQuotes,
    /// The whole message is too large.
    #[error("message is too large")]
    LongMessage,
    /// A reply starts with a byte that names no kind.
    #[error("unknown reply type '{}'", char::from(*.0).escape_default())]
    BadKind(u8),
    /// An integer reply is no number.
    #[error("invalid integer")]
    BadInteger,
    /// Arrays lie too deep in one another.
    #[error("arrays are nested too deep")]
    TooDeep,
}

/// Reads forward over the bytes that have come. `None` means: not all there yet.
struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

type Read<T> = Result<Option<T>, ProtocolError>;

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    /// A line up to LF, without it; a CR before it is still there.
    fn line(&mut self) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let bound = rest.len().min(LINE_BYTES_MAX);
        match rest[..bound].iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.position += end + 1;
                Ok(Some(&rest[..end]))
            }
            None if rest.len() >= LINE_BYTES_MAX => Err(ProtocolError::LongLine),
            None => Ok(None),
        }
    }

    /// A line that must end with CR LF and hold no other CR.
    fn strict_line(&mut self) -> Read<&'a [u8]> {
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        match line.split_last() {
            Some((b'\r', text)) if !text.contains(&b'\r') => Ok(Some(text)),
            Some(_) | None => Err(ProtocolError::BadLineEnd),
        }
    }

    /// The bytes of a bulk string whose length line has been read.
    fn bulk(&mut self, length: usize) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        if rest.len() < length + 2 {
            let wrong = rest.get(length).is_some_and(|byte| *byte != b'\r');
            return if wrong {
                Err(ProtocolError::BadBulkEnd)
            } else {
                Ok(None)
            };
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(ProtocolError::BadBulkEnd);
        }
        self.position += length + 2;
        Ok(Some(&rest[..length]))
    }
}

/// A decimal number in its only spelling: no plus sign, no leading zero, no space.
pub(crate) fn decimal(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let canonical = text == b"0" || digits.first().is_some_and(|digit| *digit != b'0');
    if !plain || !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The length of a bulk string: its number, or `None` for the nil that -1 stands for.
fn bulk_length(text: &[u8]) -> Result<Option<usize>, ProtocolError> {
    match decimal(text) {
        Some(-1) => Ok(None),
        Some(number) => match usize::try_from(number) {
            Ok(length) if length <= BULK_BYTES_MAX => Ok(Some(length)),
            Ok(_) | Err(_) => Err(ProtocolError::BadLength),
        },
        None => Err(ProtocolError::BadLength),
    }
}
