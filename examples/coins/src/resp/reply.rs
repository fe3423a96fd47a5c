//! What a server answers.

use super::{
    ARGUMENTS_MAX, Cursor, DEPTH_MAX, MESSAGE_BYTES_MAX, ProtocolError, Read, bulk_length, decimal,
};

/// An answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A short word of the protocol, as in `OK`.
    Simple(String),
    /// A refusal; the first word is its kind, as in `ERR`.
    Error(String),
    /// A number.
    Integer(i64),
    /// A value.
    Bulk(Vec<u8>),
    /// No value.
    Nil,
    /// A list of answers.
    Array(Vec<Reply>),
}

impl Reply {
    /// The answer to a command that was carried out and has nothing to tell.
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// A refusal of the common kind.
    pub fn error(text: impl std::fmt::Display) -> Self {
        Self::Error(format!("ERR {text}"))
    }

    /// A value, or none.
    pub fn value(value: Option<&Vec<u8>>) -> Self {
        value.map_or(Self::Nil, |bytes| Self::Bulk(bytes.clone()))
    }

    /// Adds the bytes of this answer to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => write_line(out, b'+', text),
            Self::Error(text) => write_line(out, b'-', text),
            Self::Integer(number) => write_line(out, b':', &number.to_string()),
            Self::Nil => write_line(out, b'$', "-1"),
            Self::Bulk(bytes) => {
                write_line(out, b'$', &bytes.len().to_string());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Array(items) => {
                write_line(out, b'*', &items.len().to_string());
                items.iter().for_each(|item| item.write(out));
            }
        }
    }
}

/// A line end within the text would begin a new answer, so it becomes a space.
fn write_line(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.push(kind);
    out.extend(text.bytes().map(|byte| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        }
    }));
    out.extend_from_slice(b"\r\n");
}

/// Reads the first reply of `bytes`, and how many bytes it took.
///
/// # Errors
/// Says what is wrong once no further byte could make it right.
pub fn read_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ProtocolError> {
    let mut cursor = Cursor::new(bytes);
    match reply(&mut cursor, 0)? {
        Some(reply) => Ok(Some((reply, cursor.position))),
        None if bytes.len() >= MESSAGE_BYTES_MAX => Err(ProtocolError::LongMessage),
        None => Ok(None),
    }
}

fn reply(cursor: &mut Cursor<'_>, depth: usize) -> Read<Reply> {
    let kind = match cursor.peek() {
        Some(kind @ (b'+' | b'-' | b':' | b'$' | b'*')) => kind,
        Some(other) => return Err(ProtocolError::BadKind(other)),
        None => return Ok(None),
    };
    let Some(line) = cursor.strict_line()? else {
        return Ok(None);
    };
    let text = &line[1..];
    match kind {
        b'+' => Ok(Some(Reply::Simple(
            String::from_utf8_lossy(text).into_owned(),
        ))),
        b'-' => Ok(Some(Reply::Error(
            String::from_utf8_lossy(text).into_owned(),
        ))),
        b':' => decimal(text)
            .map(|n| Some(Reply::Integer(n)))
            .ok_or(ProtocolError::BadInteger),
        b'$' => match bulk_length(text)? {
            None => Ok(Some(Reply::Nil)),
            Some(length) => Ok(cursor
                .bulk(length)?
                .map(|bytes| Reply::Bulk(bytes.to_vec()))),
        },
        _ => array(cursor, text, depth),
    }
}

fn array(cursor: &mut Cursor<'_>, count: &[u8], depth: usize) -> Read<Reply> {
    if depth == DEPTH_MAX {
        return Err(ProtocolError::TooDeep);
    }
    let count = match decimal(count).ok_or(ProtocolError::BadCount)? {
        -1 => return Ok(Some(Reply::Nil)),
        count => usize::try_from(count).map_err(|_| ProtocolError::BadCount)?,
    };
    // A server may list every key: more than a command has words, still bounded by the message.
    if count > ARGUMENTS_MAX * ARGUMENTS_MAX {
        return Err(ProtocolError::BadCount);
    }
    let mut items = Vec::new();
    for _ in 0..count {
        let Some(item) = reply(cursor, depth + 1)? else {
            return Ok(None);
        };
        if cursor.position > MESSAGE_BYTES_MAX {
            return Err(ProtocolError::LongMessage);
        }
        items.push(item);
    }
    Ok(Some(Reply::Array(items)))
}
