//! Commands inside containers.
//!
//! Docker carries a command's input and output over its socket; whoever asked wants descriptors. So
//! a task pumps between the two: pipes, or for a terminal one of this machine, whose size follows.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::{Stream, StreamExt};
use model::ExitStatus;
use ports::{EngineError, ExecWish, Execution, Terminal};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Winsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::JoinSet;
use tracing::debug;

use crate::{failure, observe};

/// How often the size of a terminal is looked at.
const LOOK_AT_SIZE: Duration = Duration::from_millis(100);
/// How often Docker is asked whether a command has begun, or whether one whose output has ended has.
const ASK: Duration = Duration::from_millis(2);

/// How Docker's word for a command that could not begin begins.
const REFUSAL: &[u8] = b"OCI runtime exec failed";

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// A command that Docker runs.
struct Command {
    docker: Docker,
    exec: String,
    output: Output,
    input: Input,
    /// Its process on this machine; 0 when it has ended.
    pid: Arc<AtomicI32>,
}

/// Ends a command whose caller does not wait any more; Docker has no call for that.
struct EndOnDrop(Arc<AtomicI32>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0.swap(0, Ordering::Relaxed)) {
            // It may just have ended.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// Runs a command in a container.
pub(crate) async fn run(
    docker: Docker,
    container: &str,
    wish: ExecWish,
) -> Result<Execution, EngineError> {
    let id = wish.id.clone();
    let terminal = wish.terminal;
    let command = begin(docker, container, wish).await?;
    let pid = EndOnDrop(Arc::clone(&command.pid));
    let failed = |error: io::Error| EngineError::Failed {
        what: format!("cannot run a command in {id}"),
        why: error.to_string(),
    };
    let mut tasks = JoinSet::new();
    let (input, output, error) = match terminal {
        Terminal::None => {
            let (ends, streams) = pipes().map_err(failed)?;
            tasks.spawn(command.carry(streams));
            (ends.input, ends.output, Some(ends.error))
        }
        Terminal::Size { columns, rows } => {
            let (outer, inner) = terminal_pair(columns, rows).map_err(failed)?;
            let output = outer.try_clone().map_err(failed)?;
            tasks.spawn(command.carry_terminal(inner));
            (outer, output, None)
        }
    };
    let status = async move {
        let ended = tasks.join_next().await;
        drop(pid);
        ended.and_then(Result::ok).unwrap_or_else(|| {
            Err(EngineError::Failed {
                what: format!("cannot run a command in {id}"),
                why: "what carried its output was lost".to_owned(),
            })
        })
    };
    Ok(Execution {
        input,
        output,
        error,
        status: Box::pin(status),
    })
}

async fn begin(docker: Docker, container: &str, wish: ExecWish) -> Result<Command, EngineError> {
    let ExecWish {
        id,
        argv,
        environment,
        user,
        working_dir,
        terminal,
    } = wish;
    let tty = terminal != Terminal::None;
    let environment = environment.into_iter();
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        env: Some(environment.map(|(k, v)| format!("{k}={v}")).collect()),
        cmd: Some(argv),
        user,
        working_dir: working_dir.map(|path| path.to_string_lossy().into_owned()),
        ..CreateExecOptions::default()
    };
    let what = "run a command in";
    let created = docker.create_exec(container, options).await;
    let exec = match created {
        Ok(created) => created.id,
        Err(error) if failure::is_conflict(&error) => {
            let paused = failure::sentence(&error).contains("is paused");
            return Err(if paused {
                failure::explain(format!("cannot {what} {id}"), &error)
            } else {
                EngineError::NoInstance { id }
            });
        }
        Err(error) => return Err(failure::about(&id, what, &error)),
    };
    let options = StartExecOptions {
        detach: false,
        tty,
        output_capacity: None,
    };
    match docker.start_exec(&exec, Some(options)).await {
        Ok(StartExecResults::Attached { output, input }) => {
            let pid = process(&docker, &exec).await;
            let pid = pid.map_err(|error| failure::about(&id, what, &error))?;
            Ok(Command {
                docker,
                exec,
                output,
                input,
                pid: Arc::new(AtomicI32::new(pid)),
            })
        }
        Ok(StartExecResults::Detached) => Err(EngineError::Failed {
            what: format!("cannot {what} {id}"),
            why: "Docker gives no access to its output".to_owned(),
        }),
        Err(error) => Err(failure::about(&id, what, &error)),
    }
}

/// The ends of a command's pipes that its caller gets.
struct Ends {
    input: OwnedFd,
    output: OwnedFd,
    error: OwnedFd,
}

/// The other ends.
struct Streams {
    input: pipe::Receiver,
    output: pipe::Sender,
    error: pipe::Sender,
}

fn pipes() -> io::Result<(Ends, Streams)> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let (from_caller, input) = pipe()?;
    let (output, to_caller) = pipe()?;
    let (error, errors_to_caller) = pipe()?;
    let ends = Ends {
        input,
        output,
        error,
    };
    let streams = Streams {
        input: pipe::Receiver::from_owned_fd(from_caller)?,
        output: pipe::Sender::from_owned_fd(to_caller)?,
        error: pipe::Sender::from_owned_fd(errors_to_caller)?,
    };
    Ok((ends, streams))
}

/// A terminal of this machine that passes every byte as it is: Docker's terminal does the rest.
fn terminal_pair(columns: u16, rows: u16) -> io::Result<(OwnedFd, AsyncFd<OwnedFd>)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&outer)?;
    rustix::pty::unlockpt(&outer)?;
    let name = rustix::pty::ptsname(&outer, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let inner = rustix::fs::open(name, flags, rustix::fs::Mode::empty())?;
    let mut attributes = rustix::termios::tcgetattr(&inner)?;
    attributes.make_raw();
    rustix::termios::tcsetattr(&inner, OptionalActions::Now, &attributes)?;
    let size = Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&inner, size)?;
    Ok((outer, watched(inner)?))
}

#[expect(
    deprecated,
    reason = "an OwnedFd stays the same descriptor, which is all that the unsafe successor asks for"
)]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

impl Command {
    /// Carries input and output over pipes, until the command has ended.
    async fn carry(mut self, streams: Streams) -> Result<ExitStatus, EngineError> {
        let Streams {
            mut input,
            mut output,
            mut error,
        } = streams;
        let feed = async {
            let mut buffer = vec![0; 16 * 1024];
            // Either side may be gone; then there is no more to give.
            while let Ok(length @ 1..) = input.read(&mut buffer).await {
                if self.input.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
                drop(self.input.flush().await);
            }
            drop(self.input.shutdown().await);
        };
        let began = self.pid.load(Ordering::Relaxed) != 0;
        let mut refused = String::new();
        let drain = async {
            while let Some(Ok(piece)) = self.output.next().await {
                // Who reads no more is no reason to stop the command.
                drop(match piece {
                    // What never began writes nothing: it is Docker that speaks.
                    LogOutput::StdOut { message } if message.starts_with(REFUSAL) && !began => {
                        refused = String::from_utf8_lossy(&message).into_owned();
                        error.write_all(&message).await
                    }
                    LogOutput::StdErr { message } => error.write_all(&message).await,
                    LogOutput::StdOut { message }
                    | LogOutput::StdIn { message }
                    | LogOutput::Console { message } => output.write_all(&message).await,
                });
            }
        };
        tokio::select! {
            () = drain => {}
            () = async { feed.await; std::future::pending().await } => {}
        }
        let status = ended(&self.docker, &self.exec, &self.pid).await?;
        // Docker says 126 for both, where a shell tells them apart.
        if refused.contains("executable file not found") {
            return Ok(ExitStatus::Code(127));
        }
        Ok(status)
    }

    /// Carries input, output and size over a terminal, until the command has ended.
    async fn carry_terminal(mut self, inner: AsyncFd<OwnedFd>) -> Result<ExitStatus, EngineError> {
        let feed = async {
            let mut buffer = vec![0; 4096];
            while let Ok(length @ 1..) = read(&inner, &mut buffer).await {
                if self.input.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
                drop(self.input.flush().await);
            }
            std::future::pending().await
        };
        let drain = async {
            while let Some(Ok(piece)) = self.output.next().await {
                drop(write_all(&inner, &piece.into_bytes()).await);
            }
        };
        tokio::select! {
            () = drain => {}
            () = feed => {}
            () = follow_size(&self.docker, &self.exec, &inner) => {}
        }
        ended(&self.docker, &self.exec, &self.pid).await
    }
}

/// Which process of this machine a command is, once it has begun; 0 when it could not, or has ended.
async fn process(docker: &Docker, exec: &str) -> Result<i32, Error> {
    loop {
        let found = docker.inspect_exec(exec).await?;
        let pid = found.pid.and_then(|pid| i32::try_from(pid).ok());
        match pid {
            Some(pid) if found.running == Some(true) && pid > 0 => return Ok(pid),
            _ if found.exit_code.is_some() => return Ok(0),
            Some(_) | None => tokio::time::sleep(ASK).await,
        }
    }
}

/// How a command ended; its output has.
async fn ended(docker: &Docker, exec: &str, pid: &AtomicI32) -> Result<ExitStatus, EngineError> {
    loop {
        let found = docker.inspect_exec(exec).await;
        let found =
            found.map_err(|error| failure::explain("cannot see how a command ended", &error))?;
        if found.running != Some(true) {
            pid.store(0, Ordering::Relaxed);
            let code = found.exit_code.unwrap_or(-1);
            return Ok(observe::exit_status(code));
        }
        tokio::time::sleep(ASK).await;
    }
}

/// Tells Docker the terminal's size, at first and whenever it changes.
async fn follow_size(docker: &Docker, exec: &str, terminal: &AsyncFd<OwnedFd>) {
    let mut told = (0, 0);
    loop {
        if let Ok(size) = rustix::termios::tcgetwinsize(terminal.get_ref()) {
            let size = (size.ws_col, size.ws_row);
            if size != told {
                let (width, height) = size;
                let options = ResizeExecOptions { height, width };
                match docker.resize_exec(exec, options).await {
                    Ok(()) => told = size,
                    Err(error) => debug!(%error, "a terminal keeps its size"),
                }
            }
        }
        tokio::time::sleep(LOOK_AT_SIZE).await;
    }
}

async fn read(terminal: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = terminal.readable().await?;
        if let Ok(read) = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut *buffer)?)) {
            return read;
        }
    }
}

async fn write_all(terminal: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = terminal.writable().await?;
        if let Ok(written) = ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
            bytes = &bytes[written?..];
        }
    }
    Ok(())
}
