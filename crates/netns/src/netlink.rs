//! Netlink: messages written and read by hand, and the exchange of a batch for its answer.
//!
//! Everything here is in the terms of `linux/netlink.h`. A [`Batch`] is a run of messages that go
//! to the kernel in one system call; the kernel works through them before that call returns, so
//! the answer is there at once and nothing here ever waits.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `NLM_F_REQUEST`: every message to the kernel carries it.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer also when all went well.
const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: answer with everything there is.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`: make it if it is not there.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_REPLACE`: take the place of one that is there.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail if it is there.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_APPEND`: put it after those that are there.
pub(crate) const APPEND: u16 = 0x800;
/// `NLMSG_ERROR`: an error, or with number 0 an acknowledgement.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// `NLA_F_NESTED`: the attribute holds attributes.
const NESTED: u16 = 0x8000;
/// The bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Messages to the kernel, in order, sent in one system call.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: u32,
    last_start: usize,
}

/// The attributes of the message or attribute that is being written.
#[derive(Debug)]
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

/// A netlink socket; it speaks to the namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// One message from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// What was asked for: the bytes after the header.
    Data(&'a [u8]),
    /// The end of a dump, or the acknowledgement of message number `.0`.
    Done(u32),
    /// Message number `.0` was refused.
    Refused(u32, Errno),
}

/// Why a batch was not carried out.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The messages or the answer did not pass.
    Transport(io::Error),
    /// The kernel refused the message with this number, counted from 0.
    Refused(u32, Errno),
}

impl Batch {
    /// Adds a message: its type, flags, the fixed structure it starts with, and its attributes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.messages.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        body(&mut Attributes(&mut self.bytes));
        let length = u32::try_from(self.bytes.len() - start).expect("a message is small");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.last_start = start;
        self.messages += 1;
    }

    /// Asks for an answer to the message added last: when it comes, all before it succeeded too.
    pub(crate) fn acknowledge_last(&mut self) {
        let flags = &mut self.bytes[self.last_start + 6..self.last_start + 8];
        let asked = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
        flags.copy_from_slice(&asked.to_ne_bytes());
    }

    /// The messages as the kernel wants them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Attributes<'_> {
    /// Adds an attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        self.with(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// Adds a number, in network order as nf_tables wants it.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Adds a text, with the closing zero that the kernel wants.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.with(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    /// Adds an attribute that holds attributes.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        self.with(kind | NESTED, |bytes| body(&mut Attributes(bytes)));
    }

    fn with(&mut self, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        body(self.0);
        let length = u16::try_from(self.0.len() - start).expect("an attribute is small");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.0);
    }
}

impl Socket {
    /// Opens a socket for one netlink family in the current namespace; `None` is rtnetlink.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let family = AddressFamily::NETLINK;
        Ok(Self(rustix::net::socket_with(
            family,
            SocketType::RAW,
            flags,
            protocol,
        )?))
    }

    /// Sends messages; the kernel has worked through them when this returns.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = rustix::net::send(&self.0, bytes, SendFlags::empty())?;
        debug_assert_eq!(
            sent,
            bytes.len(),
            "netlink takes a batch whole or not at all"
        );
        Ok(())
    }

    /// Receives the next piece of the answer: [`answers`] reads it.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let (_, length) = rustix::net::recv(&self.0, &mut *buffer, RecvFlags::TRUNC)?;
        buffer
            .get(..length)
            .ok_or_else(|| io::Error::from(Errno::MSGSIZE))
    }

    /// Sends a batch of which [`Batch::acknowledge_last`] was called, and takes its answer.
    pub(crate) fn exchange(&self, batch: &Batch) -> Result<(), ExchangeError> {
        self.send(batch.bytes()).map_err(ExchangeError::Transport)?;
        let mut buffer = [0; 4096];
        loop {
            let piece = self
                .receive(&mut buffer)
                .map_err(ExchangeError::Transport)?;
            for answer in answers(piece) {
                match answer {
                    Answer::Done(_) => return Ok(()),
                    Answer::Refused(message, error) => {
                        return Err(ExchangeError::Refused(message, error));
                    }
                    Answer::Data(_) => {}
                }
            }
        }
    }
}

/// The messages in one received piece; what is cut short ends it.
pub(crate) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let message = bytes.get(..length)?;
        let body = message.get(HEADER..)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        let sequence = u32::from_ne_bytes(*message[8..].first_chunk()?);
        match kind {
            ERROR => Some(match i32::from_ne_bytes(*body.first_chunk()?) {
                0 => Answer::Done(sequence),
                number => Answer::Refused(sequence, Errno::from_raw_os_error(-number)),
            }),
            DONE => Some(Answer::Done(sequence)),
            _ => Some(Answer::Data(body)),
        }
    })
}

/// The value of an attribute among those in `bytes`.
pub(crate) fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let found = u16::from_ne_bytes(*bytes[2..].first_chunk()?) & !NESTED;
        let value = bytes.get(4..length)?;
        if found == kind {
            return Some(value);
        }
        bytes = bytes.get(align(length)..)?;
    }
}

/// Netlink aligns messages and attributes to four bytes.
fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(align(bytes.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let mut batch = Batch::default();
        batch.message(7, CREATE, &[2, 0, 0], |attributes| {
            attributes.text(1, "abc");
            attributes.nest(2, |inner| inner.number(3, 5));
        });
        batch.acknowledge_last();
        let header = [40, 0, 0, 0, 7, 0, 5, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        let fixed = [2, 0, 0, 0];
        let text = [8, 0, 1, 0, b'a', b'b', b'c', 0];
        let nest = [12, 0, 2, 0x80, 8, 0, 3, 0, 0, 0, 0, 5];
        assert_eq!(batch.bytes(), [&header[..], &fixed, &text, &nest].concat());
    }

    #[test]
    fn answers_are_told_apart_and_a_cut_message_ends_them() {
        let mut bytes = Vec::new();
        let message = |kind: u16, sequence: u32, body: &[u8]| {
            let length = u32::try_from(HEADER + body.len()).unwrap();
            let mut message = length.to_ne_bytes().to_vec();
            message.extend_from_slice(&kind.to_ne_bytes());
            message.extend_from_slice(&[0; 2]);
            message.extend_from_slice(&sequence.to_ne_bytes());
            message.extend_from_slice(&[0; 4]);
            message.extend_from_slice(body);
            message
        };
        bytes.extend(message(20, 0, &[1, 2, 3, 4]));
        bytes.extend(message(ERROR, 3, &(-1i32).to_ne_bytes()));
        bytes.extend(message(ERROR, 4, &0i32.to_ne_bytes()));
        bytes.extend(message(DONE, 5, &[0; 4]));
        let whole = bytes.len();
        bytes.extend(message(20, 6, &[1, 2, 3, 4]));
        let all = [
            Answer::Data(&[1, 2, 3, 4]),
            Answer::Refused(3, Errno::PERM),
            Answer::Done(4),
            Answer::Done(5),
        ];
        assert!(answers(&bytes[..whole + 7]).eq(all));
        for cut in 0..whole {
            assert!(answers(&bytes[..cut]).count() < 4);
        }
    }

    #[test]
    fn an_attribute_is_found_among_others_and_a_cut_one_is_none() {
        let bytes = [5, 0, 1, 0, 9, 0, 0, 0, 5, 0, 11, 0, 1, 0, 0, 0];
        assert_eq!(attribute(&bytes, 11), Some(&[1][..]));
        assert_eq!(attribute(&bytes, 2), None);
        for cut in 0..13 {
            assert_eq!(attribute(&bytes[..cut], 11), None);
        }
    }
}
