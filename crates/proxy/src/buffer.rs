//! Buffers that a worker's connections share, so that a connection on which nothing happens has
//! none: a read takes a buffer only when there are bytes to put into it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// What one read takes at most.
const BUFFER_BYTES: usize = 32 * 1024;

/// Buffers kept for later; more are given back to the allocator.
const FREE_MAX: usize = 64;

/// The free buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(self: &Rc<Self>) -> Buffer {
        let free = self.free.borrow_mut().pop();
        Buffer {
            bytes: free.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES)),
            start: 0,
            home: Rc::clone(self),
        }
    }

    /// Waits without a buffer, then reads into one; an empty one is the stream's end.
    pub(crate) async fn read<R>(self: &Rc<Self>, stream: &mut R) -> io::Result<Buffer>
    where
        R: AsyncRead + Unpin,
    {
        poll_fn(|context| {
            let mut buffer = self.take();
            ready!(poll_read_buf(
                Pin::new(&mut *stream),
                context,
                &mut buffer.bytes
            ))?;
            Poll::Ready(Ok(buffer))
        })
        .await
    }
}

/// Bytes that were read and not yet used, or that are to be written.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// What lies before was used.
    start: usize,
    home: Rc<Buffers>,
}

impl Buffer {
    /// The bytes that are not yet used.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether all bytes are used.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Marks the first `count` bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Where to append bytes.
    pub(crate) fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Reads more bytes behind those that are there, and returns how many; 0 is the stream's end.
    pub(crate) async fn fill<R>(&mut self, stream: &mut R) -> io::Result<usize>
    where
        R: AsyncRead + Unpin,
    {
        if self.bytes.len() == self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.reserve(BUFFER_BYTES / 2);
        }
        poll_fn(|context| poll_read_buf(Pin::new(&mut *stream), context, &mut self.bytes)).await
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.free.borrow_mut();
        if free.len() < FREE_MAX && self.bytes.capacity() <= 2 * BUFFER_BYTES {
            self.bytes.clear();
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_goes_back_and_is_used_again() {
        let buffers = Rc::new(Buffers::default());
        let mut first = buffers.take();
        first.vec().extend_from_slice(b"abc");
        first.consume(1);
        assert_eq!(first.bytes(), b"bc");
        let place = first.vec().as_ptr();
        drop(first);
        let mut second = buffers.take();
        assert!(second.is_empty());
        assert_eq!(second.vec().as_ptr(), place);
    }

    #[tokio::test]
    async fn bytes_that_arrive_in_pieces_stay_together() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.read(&mut &b"begin "[..]).await.unwrap();
        buffer.consume(2);
        let long = vec![b'x'; 3 * BUFFER_BYTES];
        let mut rest = &long[..];
        while buffer.fill(&mut rest).await.unwrap() > 0 {}
        assert_eq!(buffer.bytes().len(), long.len() + 4);
        assert!(buffer.bytes().starts_with(b"gin x"));
    }
}
