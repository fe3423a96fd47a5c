//! Where a body ends: walks over its raw bytes, copies none, judges every byte of the framing.
//!
//! ```text
//! Payload, of a length ── all bytes seen ─► Done        UntilClose ── (the connection's end)
//!
//! Size ── CR ─► SizeFeed ── LF ─► Payload, of a chunk ── all bytes seen ─► DataReturn
//!   └─ ; ─► Extension ── CR ─► SizeFeed          DataReturn ── CR ─► DataFeed ── LF ─► Size
//! SizeFeed ── LF, and the size was 0 ─► Trailer ── CR ─► EndFeed ── LF ─► Done
//! Trailer ── token ─► TrailerName ── : ─► TrailerValue ── CR ─► TrailerFeed ── LF ─► Trailer
//! ```

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::framing::Framing;
use crate::head::Kind;
use crate::syntax::{is_token_byte, is_value_byte};
use crate::{Limits, Reject};

/// Whether a body goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Not all of it was seen.
    More,
    /// It is over; what follows belongs to the next message.
    Done,
}

/// How far [`Decoder::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// The bytes, from the input's first, that belong to the body. Less than all only when `Done`.
    pub consumed: usize,
    /// Whether the body goes on.
    pub state: State,
}

/// How far [`Decoder::piece`] came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The bytes, from the input's first, that belong to the body.
    pub consumed: usize,
    /// Which of them are payload; perhaps none. It ends at `consumed`.
    pub payload: Range<usize>,
    /// Which of them belong to the lines of trailer fields; see [`trailer_fields`].
    pub trailer: Range<usize>,
    /// Whether the body goes on.
    pub state: State,
}

/// Walks over one body. After an error it knows nothing any more.
#[derive(Debug, Clone)]
pub struct Decoder {
    at: At,
    payload_left: u64,
    extension_bytes_max: u32,
    trailer_bytes_left: u32,
    name: TrailerName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Payload { left: u64, of: Whole },
    UntilClose,
    Line(Line),
    Done,
}

/// What a run of payload is the whole of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Body,
    Chunk,
}

/// Where in the framing of a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Size { size: u64, digits: u8 },
    Extension { size: u64, bytes: u32 },
    SizeFeed { size: u64 },
    DataReturn,
    DataFeed,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerFeed,
    EndFeed,
}

impl Line {
    /// Whether this byte, which comes next, belongs to a trailer field's line.
    fn is_of_trailer_field(self, byte: u8) -> bool {
        match self {
            Self::Trailer => byte != b'\r',
            Self::TrailerName | Self::TrailerValue | Self::TrailerFeed => true,
            Self::Size { .. }
            | Self::Extension { .. }
            | Self::SizeFeed { .. }
            | Self::DataReturn
            | Self::DataFeed
            | Self::EndFeed => false,
        }
    }
}

/// Names and values in the trailer lines that [`Decoder::piece`] found, all of them together.
pub fn trailer_fields(lines: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let lines = lines.split(|&byte| byte == b'\n');
    lines.filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = str::from_utf8(&line[..colon]).ok()?;
        Some((name, line[colon + 1..].trim_ascii()))
    })
}

/// Whether a field of this name may stand in a trailer (RFC 9110 §6.5.1).
#[must_use]
pub fn may_trail(name: &str) -> bool {
    let mut known = TrailerName::default();
    name.bytes().for_each(|byte| known.push(byte));
    known.may_trail().is_ok()
}

const SIZE: Line = Line::Size { size: 0, digits: 0 };

impl Decoder {
    /// Begins a body, just behind its head.
    #[must_use]
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        Self {
            at: match framing {
                Framing::None | Framing::Length(0) => At::Done,
                Framing::Length(left) => At::Payload {
                    left,
                    of: Whole::Body,
                },
                Framing::Chunked => At::Line(SIZE),
                Framing::UntilClose => At::UntilClose,
            },
            payload_left: limits.body_bytes_max,
            extension_bytes_max: limits.chunk_extension_bytes_max,
            trailer_bytes_left: limits.trailer_bytes_max,
            name: TrailerName::default(),
        }
    }

    /// Whether the body goes on.
    #[must_use]
    pub fn state(&self) -> State {
        if self.at == At::Done {
            State::Done
        } else {
            State::More
        }
    }

    /// Walks over the next bytes of the connection, as far as they belong to the body.
    ///
    /// # Errors
    /// The first wrong byte, or a bound that is crossed.
    pub fn advance(&mut self, input: &[u8]) -> Result<Advanced, Reject> {
        let mut consumed = 0;
        while consumed < input.len() && self.at != At::Done {
            consumed += self.piece(&input[consumed..])?.consumed;
        }
        Ok(Advanced {
            consumed,
            state: self.state(),
        })
    }

    /// Walks to the end of the next run of payload, or of the input, or of the body. Call it until it
    /// consumed all the input, or the body is done.
    ///
    /// # Errors
    /// The first wrong byte, or a bound that is crossed.
    pub fn piece(&mut self, input: &[u8]) -> Result<Piece, Reject> {
        let mut consumed = 0;
        let mut trailer = 0..0;
        while let Some(&byte) = input.get(consumed) {
            let begin = consumed;
            let here = input.len() - begin;
            match self.at {
                At::Done => break,
                At::Line(line) => {
                    self.at = self.line_byte(line, byte)?;
                    consumed += 1;
                    if line.is_of_trailer_field(byte) {
                        let start = if trailer.is_empty() {
                            begin
                        } else {
                            trailer.start
                        };
                        trailer = start..consumed;
                    }
                    continue;
                }
                At::UntilClose => {
                    self.allow(here as u64)?;
                    consumed += here;
                }
                At::Payload { left, of } => {
                    let taken = usize::try_from(left).map_or(here, |left| left.min(here));
                    consumed += taken;
                    self.at = match (left - taken as u64, of) {
                        (0, Whole::Body) => At::Done,
                        (0, Whole::Chunk) => At::Line(Line::DataReturn),
                        (left, of) => At::Payload { left, of },
                    };
                }
            }
            return Ok(Piece {
                consumed,
                payload: begin..consumed,
                trailer,
                state: self.state(),
            });
        }
        Ok(Piece {
            consumed,
            payload: consumed..consumed,
            trailer,
            state: self.state(),
        })
    }

    /// The connection has ended: was the body over?
    ///
    /// # Errors
    /// [`Reject::BodyTruncated`] if it was not.
    pub fn finish(&self) -> Result<(), Reject> {
        if matches!(self.at, At::Done | At::UntilClose) {
            Ok(())
        } else {
            Err(Reject::BodyTruncated)
        }
    }

    fn allow(&mut self, payload: u64) -> Result<(), Reject> {
        self.payload_left = self
            .payload_left
            .checked_sub(payload)
            .ok_or(Reject::BodyTooLarge)?;
        Ok(())
    }

    fn line_byte(&mut self, line: Line, byte: u8) -> Result<At, Reject> {
        Ok(At::Line(match line {
            Line::Size { size, digits } => chunk_size(size, digits, byte)?,
            Line::Extension { size, bytes } => self.extension_byte(size, bytes, byte)?,
            Line::SizeFeed { size } => {
                self.allow(size)?;
                expect(byte, b'\n')?;
                match size {
                    0 => Line::Trailer,
                    left => {
                        return Ok(At::Payload {
                            left,
                            of: Whole::Chunk,
                        });
                    }
                }
            }
            Line::DataReturn => expect(byte, b'\r').map(|()| Line::DataFeed)?,
            Line::DataFeed => expect(byte, b'\n').map(|()| SIZE)?,
            Line::Trailer if byte == b'\r' => Line::EndFeed,
            Line::Trailer | Line::TrailerName | Line::TrailerValue => {
                self.trailer_bytes_left = self
                    .trailer_bytes_left
                    .checked_sub(1)
                    .ok_or(Reject::TrailerTooLong)?;
                if line == Line::TrailerValue {
                    trailer_value_byte(byte)?
                } else {
                    self.trailer_name_byte(line, byte)?
                }
            }
            Line::TrailerFeed => expect(byte, b'\n').map(|()| Line::Trailer)?,
            Line::EndFeed => return expect(byte, b'\n').map(|()| At::Done),
        }))
    }

    fn extension_byte(&mut self, size: u64, bytes: u32, byte: u8) -> Result<Line, Reject> {
        match byte {
            b'\r' => Ok(Line::SizeFeed { size }),
            b'\t' | b' '..=b'~' if bytes < self.extension_bytes_max => Ok(Line::Extension {
                size,
                bytes: bytes + 1,
            }),
            b'\t' | b' '..=b'~' => Err(Reject::ChunkExtensionTooLong),
            b'\n' => Err(Reject::ChunkLineEnd),
            _ => Err(Reject::ChunkExtension),
        }
    }

    fn trailer_name_byte(&mut self, line: Line, byte: u8) -> Result<Line, Reject> {
        if line == Line::Trailer {
            self.name = TrailerName::default();
        }
        match byte {
            b':' if line == Line::TrailerName => self.name.may_trail(),
            b'\n' => Err(Reject::ChunkLineEnd),
            _ if is_token_byte(byte) => {
                self.name.push(byte);
                Ok(Line::TrailerName)
            }
            _ => Err(Reject::TrailerName),
        }
    }
}

fn trailer_value_byte(byte: u8) -> Result<Line, Reject> {
    match byte {
        b'\r' => Ok(Line::TrailerFeed),
        b'\n' => Err(Reject::ChunkLineEnd),
        _ if is_value_byte(byte) => Ok(Line::TrailerValue),
        _ => Err(Reject::TrailerValue),
    }
}

fn expect(byte: u8, wanted: u8) -> Result<(), Reject> {
    if byte == wanted {
        Ok(())
    } else {
        Err(Reject::ChunkLineEnd)
    }
}

/// One byte of a size line: digits, then at once an extension or the line's end. Spaces there are
/// "bad whitespace", which readers disagree about.
fn chunk_size(size: u64, digits: u8, byte: u8) -> Result<Line, Reject> {
    const DIGITS_MAX: u8 = 16;
    let Some(digit) = char::from(byte).to_digit(16) else {
        return match byte {
            _ if digits == 0 => Err(Reject::ChunkSize),
            b'\r' => Ok(Line::SizeFeed { size }),
            b';' => Ok(Line::Extension { size, bytes: 0 }),
            b'\n' => Err(Reject::ChunkLineEnd),
            _ => Err(Reject::ChunkSize),
        };
    };
    if digits == DIGITS_MAX || size > (i64::MAX as u64) >> 4 {
        return Err(Reject::ChunkSizeTooLarge);
    }
    Ok(Line::Size {
        size: size << 4 | u64::from(digit),
        digits: digits + 1,
    })
}

/// The beginning of a trailer's name, enough of it to know the ones that may not stand there.
#[derive(Debug, Clone, Copy, Default)]
struct TrailerName {
    bytes: [u8; 32],
    length: usize,
}

impl TrailerName {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// What frames, routes, authenticates or decodes a message was acted upon before its trailer came
    /// (RFC 9110 §6.5.1).
    fn may_trail(&self) -> Result<Line, Reject> {
        const FORBIDDEN: [&str; 9] = [
            "authorization",
            "content-encoding",
            "content-range",
            "content-type",
            "cookie",
            "location",
            "set-cookie",
            "trailer",
            "www-authenticate",
        ];
        let name = &self.bytes[..self.length];
        let named = FORBIDDEN
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if named || Kind::of(name) != Kind::Other {
            return Err(Reject::TrailerForbidden);
        }
        Ok(Line::TrailerValue)
    }
}
