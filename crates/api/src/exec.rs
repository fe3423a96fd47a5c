//! A command inside an instance: the request, and the frames that carry its input and output
//! once the connection is upgraded.
//!
//! A frame is one byte of kind, four bytes of length (big-endian), and that many bytes:
//! ```text
//!   kind  bytes                        from
//!   0     input; none means its end    client
//!   1     output                       server
//!   2     error output                 server
//!   3     the terminal's size: columns and lines, two bytes each    client
//!   4     how it ended: an Exit as JSON, the last frame    server
//!   5     why it could not be run or ended: a Failure as JSON, the last frame    server
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[cfg(doc)]
use crate::{Exit, Failure};

/// The protocol that the connection is upgraded to.
pub const UPGRADE: &str = "roads-exec/1";

/// The most bytes that a frame carries.
pub const FRAME_MAX: usize = 64 * 1024;

const HEAD: usize = 5;

/// Runs a command inside an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Which copy of the service; any ready one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
    /// Variables beyond those of the instance.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// `USER[:GROUP]`; the instance's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Absolute; the instance's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The size of the terminal it gets; three pipes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Size>,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A piece of what goes over an upgraded connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// What the command reads; empty means the end of it.
    Input(&'a [u8]),
    /// What it writes.
    Output(&'a [u8]),
    /// What it writes as errors.
    Error(&'a [u8]),
    /// The terminal has another size.
    Resize(Size),
    /// How it ended: an [`Exit`] as JSON.
    Exited(&'a [u8]),
    /// Why it did not run to its end: a [`Failure`] as JSON.
    Failed(&'a [u8]),
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is longer than may be.
    #[error("a frame of {length} bytes is more than the {FRAME_MAX} that may be")]
    TooLong {
        /// Its length as announced.
        length: usize,
    },
    /// There is no such kind.
    #[error("there is no frame of kind {kind}")]
    Kind {
        /// The kind as announced.
        kind: u8,
    },
    /// Its bytes are not what its kind has.
    #[error("a frame for the terminal's size has {length} bytes, not 4")]
    Size {
        /// Its length as announced.
        length: usize,
    },
}

impl<'a> Frame<'a> {
    /// Appends the frame's bytes.
    ///
    /// # Panics
    /// When it carries more than [`FRAME_MAX`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let resize: [u8; 4];
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Input(bytes) => (0, bytes),
            Self::Output(bytes) => (1, bytes),
            Self::Error(bytes) => (2, bytes),
            Self::Resize(size) => {
                let ([a, b], [c, d]) = (size.columns.to_be_bytes(), size.rows.to_be_bytes());
                resize = [a, b, c, d];
                (3, &resize)
            }
            Self::Exited(bytes) => (4, bytes),
            Self::Failed(bytes) => (5, bytes),
        };
        assert!(bytes.len() <= FRAME_MAX, "a frame is cut before it is sent");
        out.push(kind);
        out.extend((bytes.len() as u32).to_be_bytes());
        out.extend(bytes);
    }

    /// The first frame of `bytes` and how many bytes it takes; `None` when it is not all there.
    ///
    /// # Errors
    /// [`FrameError`] when what is there begins no frame.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((&[kind, a, b, c, d], rest)) = bytes.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > FRAME_MAX {
            return Err(FrameError::TooLong { length });
        }
        let Some(bytes) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = match kind {
            0 => Self::Input(bytes),
            1 => Self::Output(bytes),
            2 => Self::Error(bytes),
            3 => Self::Resize(size(bytes)?),
            4 => Self::Exited(bytes),
            5 => Self::Failed(bytes),
            _ => return Err(FrameError::Kind { kind }),
        };
        Ok(Some((frame, HEAD + length)))
    }
}

fn size(bytes: &[u8]) -> Result<Size, FrameError> {
    let &[a, b, c, d] = bytes else {
        let length = bytes.len();
        return Err(FrameError::Size { length });
    };
    Ok(Size {
        columns: u16::from_be_bytes([a, b]),
        rows: u16::from_be_bytes([c, d]),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_reads_back_from_any_cut() {
        let size = Size {
            columns: 300,
            rows: 7,
        };
        let frames = [
            Frame::Input(b"ls\n"),
            Frame::Input(b""),
            Frame::Output(&[0xff; 300]),
            Frame::Error(b"no"),
            Frame::Resize(size),
            Frame::Exited(b"{}"),
            Frame::Failed(b"{}"),
        ];
        for frame in frames {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            for cut in 0..bytes.len() {
                assert_eq!(Frame::decode(&bytes[..cut]), Ok(None));
            }
            let length = bytes.len();
            bytes.extend(b"more");
            assert_eq!(Frame::decode(&bytes), Ok(Some((frame, length))));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_its_bytes_arrive() {
        let error = Frame::decode(&[1, 0, 1, 0, 1]).unwrap_err();
        assert_eq!(error, FrameError::TooLong { length: 65537 });
        assert_eq!(
            Frame::decode(&[9, 0, 0, 0, 0]),
            Err(FrameError::Kind { kind: 9 })
        );
        assert_eq!(
            Frame::decode(&[3, 0, 0, 0, 0]),
            Err(FrameError::Size { length: 0 })
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(Frame::decode(&bytes));
        }
    }
}
