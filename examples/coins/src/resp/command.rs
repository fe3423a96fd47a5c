//! What a client sends: an array of bulk strings, or one line of words.

use super::{ARGUMENTS_MAX, Cursor, MESSAGE_BYTES_MAX, ProtocolError, Read, bulk_length, decimal};

/// A command and its arguments; empty for an empty line, which means nothing.
pub type Command = Vec<Vec<u8>>;

/// Reads the first command of `bytes`, and how many bytes it took.
///
/// # Errors
/// Says what is wrong once no further byte could make it right.
pub fn read_command(bytes: &[u8]) -> Result<Option<(Command, usize)>, ProtocolError> {
    let mut cursor = Cursor::new(bytes);
    let read = match cursor.peek() {
        None => return Ok(None),
        Some(b'*') => array(&mut cursor)?,
        Some(_) => inline(&mut cursor)?,
    };
    match read {
        Some(command) => Ok(Some((command, cursor.position))),
        None if bytes.len() >= MESSAGE_BYTES_MAX => Err(ProtocolError::LongMessage),
        None => Ok(None),
    }
}

fn array(cursor: &mut Cursor<'_>) -> Read<Command> {
    let Some(line) = cursor.strict_line()? else {
        return Ok(None);
    };
    let count = decimal(&line[1..]).ok_or(ProtocolError::BadCount)?;
    // No words, or fewer, is no command; a server passes over it.
    let count = usize::try_from(count).unwrap_or(0);
    if count > ARGUMENTS_MAX {
        return Err(ProtocolError::BadCount);
    }
    // Collected as slices first: a command that is still coming copies nothing.
    let mut words = Vec::new();
    for _ in 0..count {
        match cursor.peek() {
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::NotBulk(other)),
            None => return Ok(None),
        }
        let Some(line) = cursor.strict_line()? else {
            return Ok(None);
        };
        let length = bulk_length(&line[1..])?.ok_or(ProtocolError::BadLength)?;
        let Some(word) = cursor.bulk(length)? else {
            return Ok(None);
        };
        if cursor.position > MESSAGE_BYTES_MAX {
            return Err(ProtocolError::LongMessage);
        }
        words.push(word);
    }
    Ok(Some(words.into_iter().map(<[u8]>::to_vec).collect()))
}

fn inline(cursor: &mut Cursor<'_>) -> Read<Command> {
    let Some(line) = cursor.line()? else {
        return Ok(None);
    };
    let mut rest = line
        .strip_suffix(b"\r")
        .unwrap_or(line)
        .iter()
        .copied()
        .peekable();
    let mut words = Vec::new();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Ok(Some(words));
        }
        if words.len() == ARGUMENTS_MAX {
            return Err(ProtocolError::BadCount);
        }
        words.push(word(&mut rest)?);
    }
}

type Bytes<'a> = std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, u8>>>;

/// One word of an inline command. A quote may open within a word, as in `a"b c"`, and must close
/// at its end.
fn word(rest: &mut Bytes<'_>) -> Result<Vec<u8>, ProtocolError> {
    let mut word = Vec::new();
    while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'"' | b'\'' => {
                quoted(rest, byte, &mut word)?;
                return match rest.peek() {
                    Some(after) if !after.is_ascii_whitespace() => Err(ProtocolError::BadQuotes),
                    Some(_) | None => Ok(word),
                };
            }
            plain => word.push(plain),
        }
    }
    Ok(word)
}

/// Within double quotes a backslash escapes as in C; within single ones only a single quote.
fn quoted(rest: &mut Bytes<'_>, quote: u8, word: &mut Vec<u8>) -> Result<(), ProtocolError> {
    loop {
        match rest.next().ok_or(ProtocolError::BadQuotes)? {
            end if end == quote => return Ok(()),
            b'\\' if quote == b'"' => word.push(escape(rest)?),
            b'\\' if rest.next_if_eq(&b'\'').is_some() => word.push(b'\''),
            plain => word.push(plain),
        }
    }
}

fn escape(rest: &mut Bytes<'_>) -> Result<u8, ProtocolError> {
    Ok(match rest.next().ok_or(ProtocolError::BadQuotes)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        b'x' => hexadecimal(rest),
        other => other,
    })
}

/// `\x41`; an `x` without two hexadecimal digits behind it is only an `x`.
fn hexadecimal(rest: &mut Bytes<'_>) -> u8 {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut ahead = rest.clone();
    match (ahead.next().and_then(digit), ahead.next().and_then(digit)) {
        (Some(high), Some(low)) => {
            *rest = ahead;
            high * 16 + low
        }
        (_, _) => b'x',
    }
}
