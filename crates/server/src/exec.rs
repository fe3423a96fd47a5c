//! A command inside an instance, over an upgraded connection.
//!
//! Three flows at once: frames of the caller to the command, what the command writes to frames,
//! and one writer of all frames. The command's end ends them, once what it wrote is sent. The
//! caller's end drops the command, which kills it; a pulse finds a caller that is gone though
//! nothing is read from it, because the command does not read.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use api::{ErrorKind, ExecRequest, FRAME_MAX, Frame};
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::response::{IntoResponse, Response};
use control::Exec;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use model::{AppName, InstanceId, ServiceName};
use ports::{ExecWish, Execution, Terminal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tracing::debug;

use crate::convert;
use crate::extract::Wish;
use crate::refusal::{Refusal, failure};
use crate::routes::Shared;

/// Frames that may wait to be sent.
const WAITING_MAX: usize = 16;
/// The time between two pulses.
const PULSE: Duration = Duration::from_secs(5);
/// How long a command's output may stay open after its end, by what it left running.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// What a terminal reads as the end of input.
const END_OF_TRANSMISSION: u8 = 4;

pub(crate) async fn exec(
    State(server): State<Arc<Shared>>,
    Path((app, service)): Path<(String, String)>,
    mut request: Request,
) -> Result<Response, Refusal> {
    let asked = request.headers().get(UPGRADE);
    let asked = asked.is_some_and(|protocol| protocol == api::UPGRADE);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let Some(upgrade) = upgrade.filter(|_| asked) else {
        let message = format!(
            "a command needs the connection upgraded to {}",
            api::UPGRADE
        );
        return Err(Refusal::new(ErrorKind::Invalid, message));
    };
    let Wish(wish) = Wish::<ExecRequest>::from_request(request, &()).await?;
    let id = InstanceId {
        app: AppName::new(&app)?,
        service: ServiceName::new(&service)?,
        number: 0,
    };
    let instance = wish.instance;
    let exec = server.control.exec(instance, exec_wish(id, wish)?).await?;
    let leave = server.leave.clone();
    server.sessions.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => tokio::select! {
                () = session(upgraded, exec) => {}
                () = leave.cancelled() => {}
            },
            Err(error) => debug!(%error, "the caller of a command went away"),
        }
    });
    let upgraded = [(CONNECTION, "upgrade"), (UPGRADE, api::UPGRADE)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, upgraded).into_response())
}

fn exec_wish(id: InstanceId, wish: ExecRequest) -> Result<ExecWish, Refusal> {
    if wish.argv.is_empty() {
        return Err(Refusal::new(ErrorKind::Invalid, "there is no command"));
    }
    Ok(ExecWish {
        id,
        argv: wish.argv,
        environment: wish.environment,
        user: wish.user,
        working_dir: wish.working_dir.map(Into::into),
        terminal: match wish.terminal {
            Some(size) => Terminal::Size {
                columns: size.columns,
                rows: size.rows,
            },
            None => Terminal::None,
        },
    })
}

async fn session(upgraded: Upgraded, exec: Exec) {
    let Exec { execution, awake } = exec;
    let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
    let (frames, waiting) = mpsc::channel(WAITING_MAX);
    // The writer ends once all that was told, with the command's end, is sent.
    let ended =
        async { tokio::try_join!(attend(reader, execution, frames), send(waiting, writer)) };
    if let Err(error) = ended.await {
        debug!(%error, "a command's session broke off");
    }
    drop(awake);
}

/// Carries input and output until the command ended and that was told.
async fn attend(
    reader: ReadHalf<TokioIo<Upgraded>>,
    execution: Execution,
    frames: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let terminal = execution.error.is_none();
    let input = non_blocking(execution.input)?;
    let output = non_blocking(execution.output)?;
    let error = execution.error.map(non_blocking).transpose()?;
    let outputs = async {
        let error = async {
            match &error {
                Some(error) => pump(error, |bytes| Frame::Error(bytes), &frames).await,
                None => Ok(()),
            }
        };
        let output = pump(&output, |bytes| Frame::Output(bytes), &frames);
        tokio::try_join!(output, error).map(drop)
    };
    let command = async {
        let mut outputs = std::pin::pin!(outputs);
        let mut status = execution.status;
        let status = tokio::select! {
            status = &mut status => {
                // What it left running may keep its output open for ever.
                drop(tokio::time::timeout(DRAIN_TIMEOUT, outputs).await);
                status
            }
            written = outputs.as_mut() => {
                written?;
                status.await
            }
        };
        let (json, last): (_, fn(&[u8]) -> Frame<'_>) = match status {
            Ok(status) => (serde_json::to_vec(&convert::exit(status)), |json| {
                Frame::Exited(json)
            }),
            Err(error) => (serde_json::to_vec(&failure(&error.into())), |json| {
                Frame::Failed(json)
            }),
        };
        put(&frames, last(&json?)).await
    };
    let input = feed(reader, input, terminal);
    tokio::select! {
        told = command => told,
        gone = input => gone,
        gone = pulse(&frames) => gone,
    }
}

/// Gives the command what its caller sends; ends only when the caller is gone.
async fn feed(
    mut reader: ReadHalf<TokioIo<Upgraded>>,
    input: AsyncFd<OwnedFd>,
    terminal: bool,
) -> io::Result<()> {
    let mut input = Some(input);
    let mut pending = Vec::new();
    loop {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        while let Some((frame, length)) = Frame::decode(&pending).map_err(invalid)? {
            match (frame, &input) {
                (Frame::Input([]), Some(end)) if terminal => {
                    drop(write_all(end, &[END_OF_TRANSMISSION]).await);
                }
                (Frame::Input([]), _) => input = None,
                (Frame::Input(bytes), Some(open)) => {
                    // A command that reads no more is no reason to end its session.
                    if write_all(open, bytes).await.is_err() {
                        input = None;
                    }
                }
                (Frame::Resize(size), Some(open)) => {
                    let size = rustix::termios::Winsize {
                        ws_col: size.columns,
                        ws_row: size.rows,
                        ws_xpixel: 0,
                        ws_ypixel: 0,
                    };
                    // Pipes have no size.
                    let _not_a_terminal = rustix::termios::tcsetwinsize(open.get_ref(), size);
                }
                (Frame::Input(_) | Frame::Resize(_), None)
                | (Frame::Output(_) | Frame::Error(_) | Frame::Exited(_) | Frame::Failed(_), _) => {
                }
            }
            pending.drain(..length);
        }
        if reader.read_buf(&mut pending).await? == 0 {
            return Err(gone(()));
        }
    }
}

/// Puts what the command writes into frames, until it writes no more.
async fn pump(
    output: &AsyncFd<OwnedFd>,
    frame: impl Fn(&[u8]) -> Frame<'_>,
    frames: &mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; FRAME_MAX];
    loop {
        let mut ready = output.readable().await?;
        let read = ready.try_io(|output| Ok(rustix::io::read(output, &mut buffer)?));
        match read {
            Err(_would_block) => {}
            // A terminal that nobody has open any more answers with an error (Linux, EIO).
            Ok(Ok(0) | Err(_)) => return Ok(()),
            Ok(Ok(length)) => put(frames, frame(&buffer[..length])).await?,
        }
    }
}

/// Sends an empty piece of output now and then, so that a caller that is gone is found.
async fn pulse(frames: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    loop {
        tokio::time::sleep(PULSE).await;
        put(frames, Frame::Output(&[])).await?;
    }
}

async fn send(
    mut waiting: mpsc::Receiver<Vec<u8>>,
    mut writer: WriteHalf<TokioIo<Upgraded>>,
) -> io::Result<()> {
    while let Some(bytes) = waiting.recv().await {
        writer.write_all(&bytes).await?;
        writer.flush().await?;
    }
    Ok(())
}

async fn put(frames: &mpsc::Sender<Vec<u8>>, frame: Frame<'_>) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    frames.send(bytes).await.map_err(|_| gone(()))
}

async fn write_all(input: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = input.writable().await?;
        if let Ok(written) = ready.try_io(|input| Ok(rustix::io::write(input, bytes)?)) {
            bytes = &bytes[written?..];
        }
    }
    Ok(())
}

#[expect(
    deprecated,
    reason = "an OwnedFd stays the same descriptor, which is all that the unsafe successor asks for"
)]
fn non_blocking(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
    AsyncFd::new(fd)
}

fn gone<T>(_why: T) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
