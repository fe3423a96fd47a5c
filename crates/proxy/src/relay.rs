//! Bytes both ways between two connections, with half-close, and no buffer while nothing moves.
//!
//! Bulk could go by `splice` for half the processor time; it would need a pipe for each busy
//! connection, and is left for later.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::buffer::Buffers;

/// How long nothing may move on a connection of which one direction has ended.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(600);

/// Relays until both directions have ended, or one has broken: then both sides are reset.
///
/// # Errors
/// How the connection broke.
pub(crate) async fn relay(buffers: &Rc<Buffers>, a: TcpStream, b: TcpStream) -> io::Result<()> {
    let (mut a, mut b) = (a, b);
    let outcome = both_ways(buffers, &mut a, &mut b).await;
    if outcome.is_err() {
        abort(a);
        abort(b);
    }
    outcome
}

async fn both_ways(buffers: &Rc<Buffers>, a: &mut TcpStream, b: &mut TcpStream) -> io::Result<()> {
    let moved = Cell::new(0);
    let (a_read, a_write) = a.split();
    let (b_read, b_write) = b.split();
    let mut forth = pin!(one_way(buffers, a_read, b_write, &moved));
    let mut back = pin!(one_way(buffers, b_read, a_write, &moved));
    let rest = tokio::select! {
        ended = &mut forth => { ended?; back }
        ended = &mut back => { ended?; forth }
    };
    while_moving(&moved, rest).await
}

/// Waits for the direction that is left, as long as anything moves.
async fn while_moving(
    moved: &Cell<u64>,
    mut rest: impl Future<Output = io::Result<()>> + Unpin,
) -> io::Result<()> {
    loop {
        let before = moved.get();
        tokio::select! {
            ended = &mut rest => return ended,
            () = sleep(HALF_CLOSED_IDLE) => {}
        }
        if moved.get() == before {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

async fn one_way<R, W>(
    buffers: &Rc<Buffers>,
    mut from: R,
    mut to: W,
    moved: &Cell<u64>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let buffer = buffers.read(&mut from).await?;
        if buffer.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(buffer.bytes()).await?;
        moved.set(moved.get() + buffer.bytes().len() as u64);
    }
}

/// Closes a connection so that its peer sees a reset, and not an orderly end.
pub(crate) fn abort(stream: TcpStream) {
    // Where it fails, the peer is gone already.
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}
