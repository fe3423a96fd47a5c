//! Frames over a unix stream socket: four bytes of length (big-endian), then JSON; descriptors
//! travel beside the bytes and the frame says how many are its own.
//!
//! Both sides use it and both sides bound what they accept: the length of a frame, and how many
//! descriptors may wait for theirs.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest JSON that is accepted; a service's environment is the longest thing sent.
pub(crate) const FRAME_BYTES_MAX: usize = 4 << 20;
/// The most descriptors that one frame may bring: the captures of one ambassador.
const DESCRIPTORS_MAX: usize = 1024;
/// The most that the kernel takes with one message (`SCM_MAX_FD`).
const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// A peer that does not speak the protocol. The connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("a frame of {0} bytes is longer than any may be")]
    TooLong(usize),
    #[error("a frame is not what was expected")]
    Json(#[source] serde_json::Error),
    #[error("a frame brought more or fewer descriptors than it says")]
    Descriptors,
    #[error("cannot receive")]
    Receive(#[source] Errno),
}

#[derive(Serialize, Deserialize)]
struct Frame<T> {
    descriptors: usize,
    body: T,
}

/// What one look at the socket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, or nothing for now.
    More,
    /// The peer has closed.
    Closed,
}

/// What was received and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Receives once. On a non-blocking socket without anything to read this is [`Errno::AGAIN`].
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> Result<Received, WireError> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 16 * 1024];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            flags,
        )
        .map_err(WireError::Receive)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if self.descriptors.len() > DESCRIPTORS_MAX {
            return Err(WireError::Descriptors);
        }
        self.bytes.extend_from_slice(&buffer[..got.bytes]);
        Ok(if got.bytes == 0 {
            Received::Closed
        } else {
            Received::More
        })
    }

    /// The next whole frame, if there is one.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(T, Vec<OwnedFd>)>, WireError> {
        let Some(&head) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(WireError::TooLong(length));
        }
        let Some(json) = self.bytes.get(4..4 + length) else {
            return Ok(None);
        };
        let frame: Frame<T> = serde_json::from_slice(json).map_err(WireError::Json)?;
        self.bytes.drain(..4 + length);
        if frame.descriptors > self.descriptors.len() {
            return Err(WireError::Descriptors);
        }
        let descriptors = self.descriptors.drain(..frame.descriptors).collect();
        Ok(Some((frame.body, descriptors)))
    }
}

/// What is to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

/// Bytes, the first of which bring the descriptors.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl Outbox {
    /// Adds a frame.
    pub(crate) fn push<T: Serialize>(
        &mut self,
        body: T,
        mut descriptors: Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        let frame = Frame {
            descriptors: descriptors.len(),
            body,
        };
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, &frame).map_err(WireError::Json)?;
        let length = bytes.len() - 4;
        if length > FRAME_BYTES_MAX {
            return Err(WireError::TooLong(length));
        }
        let head = u32::try_from(length).expect("it was just bounded");
        bytes[..4].copy_from_slice(&head.to_be_bytes());
        self.bytes += bytes.len();
        while descriptors.len() > DESCRIPTORS_PER_MESSAGE {
            let rest = descriptors.split_off(DESCRIPTORS_PER_MESSAGE);
            let tail = bytes.split_off(1);
            self.piece(bytes, descriptors);
            (bytes, descriptors) = (tail, rest);
        }
        self.piece(bytes, descriptors);
        Ok(())
    }

    fn piece(&mut self, bytes: Vec<u8>, descriptors: Vec<OwnedFd>) {
        self.pieces.push_back(Piece {
            bytes,
            sent: 0,
            descriptors,
        });
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Sends until all is sent or the socket takes no more ([`Errno::AGAIN`]).
    pub(crate) fn send(&mut self, socket: impl AsFd) -> Result<(), Errno> {
        while let Some(piece) = self.pieces.front_mut() {
            let borrowed: Vec<_> = piece.descriptors.iter().map(AsFd::as_fd).collect();
            let mut space =
                [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !borrowed.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&borrowed));
            }
            let bytes = &piece.bytes[piece.sent..];
            let flags = SendFlags::NOSIGNAL;
            let sent = sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)?;
            drop(borrowed);
            piece.descriptors.clear();
            piece.sent += sent;
            self.bytes -= sent;
            if piece.sent == piece.bytes.len() {
                self.pieces.pop_front();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_and_their_descriptors_arrive_in_order() {
        let (left, right) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::default();
        let copy = || left.as_fd().try_clone_to_owned().unwrap();
        outbox.push("one", vec![copy()]).unwrap();
        outbox
            .push("two", (0..300).map(|_| copy()).collect())
            .unwrap();
        outbox.push("three", Vec::new()).unwrap();
        outbox.send(&left).unwrap();
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            inbox.receive(&right).unwrap();
            while let Some((text, descriptors)) = inbox.take::<String>().unwrap() {
                seen.push((text, descriptors.len()));
            }
        }
        let expected = [("one", 1), ("two", 300), ("three", 0)];
        assert!(seen.iter().map(|(t, n)| (t.as_str(), *n)).eq(expected));
    }

    #[test]
    fn hostile_frames_are_refused() {
        for bytes in [
            &[0xff; 8][..],
            b"\0\0\0\x02{]",
            b"\0\0\0\x1d{\"descriptors\":1,\"body\":\"hi\"}",
        ] {
            let mut inbox = Inbox {
                bytes: bytes.to_vec(),
                ..Inbox::default()
            };
            assert!(inbox.take::<String>().is_err(), "{bytes:?}");
        }
    }
}
