//! `exec`: a command inside an instance, with this terminal as its own.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use api::{ExecRequest, Exit, Size};
use client::{ClientError, Exec, ExecInput, ExecOutput, Said};
use rustix::termios::{OptionalActions, Termios};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Chosen, Context};
use crate::arguments::ExecArguments;
use crate::error::Error;

/// Pieces of input that may wait to be sent.
const WAITING_MAX: usize = 4;

pub(super) async fn exec(context: &Context, arguments: ExecArguments) -> Result<ExitCode, Error> {
    let terminal = terminal(&arguments)?;
    let Chosen { client, app } = context.choose(arguments.selection).await?;
    let wish = ExecRequest {
        argv: arguments.command,
        instance: arguments.index,
        environment: arguments.env.into_iter().collect(),
        user: arguments.user,
        working_dir: arguments.workdir,
        terminal,
    };
    let Exec { input, mut output } = client.exec(app.as_str(), &arguments.service, &wish).await?;
    let raw = terminal.map(|_| Raw::begin()).transpose()?;
    let exit = tokio::select! {
        exit = show(&mut output) => exit?,
        Err(error) = give(input, terminal) => return Err(error),
    };
    drop(raw);
    Ok(exit_code(&exit))
}

/// The size of the terminal that the command gets, if it gets one.
fn terminal(arguments: &ExecArguments) -> Result<Option<Size>, Error> {
    let is_one = io::stdin().is_terminal() && io::stdout().is_terminal();
    match (arguments.tty, arguments.no_tty, is_one) {
        (true, _, false) => Err(Error::NoTerminal),
        (_, true, _) | (false, false, false) => Ok(None),
        (_, false, true) => Ok(Some(size()?)),
    }
}

fn size() -> io::Result<Size> {
    let size = rustix::termios::tcgetwinsize(io::stdout())?;
    Ok(Size {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

/// Writes what the command says, until it ended.
async fn show(output: &mut ExecOutput) -> Result<Exit, Error> {
    loop {
        match output.next().await? {
            Said::Output(bytes) => {
                io::stdout().write_all(&bytes)?;
                io::stdout().flush()?;
            }
            Said::Error(bytes) => io::stderr().write_all(&bytes)?,
            Said::Exited(exit) => return Ok(exit),
            Said::Failed(failure) => return Err(ClientError::Refused(failure).into()),
        }
    }
}

/// Gives the command what is typed, and the terminal's size when that changes. It only ends when
/// something failed here: a command that reads no more may still have something to say.
async fn give(mut input: ExecInput, terminal: Option<Size>) -> Result<(), Error> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut typed = typed();
    loop {
        let sent = tokio::select! {
            bytes = typed.recv() => match bytes {
                Some(bytes) => input.write(&bytes).await,
                None => {
                    drop(input.end().await);
                    break;
                }
            },
            Some(()) = resized.recv(), if terminal.is_some() => input.resize(size()?).await,
        };
        if sent.is_err() {
            break;
        }
    }
    // Dropped, the connection would close and end the command.
    let _open = input;
    std::future::pending().await
}

/// What is typed, read on a thread of its own: a read of a terminal cannot be given up, so the
/// thread ends with the process.
fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        let mut input = io::stdin().lock();
        while let Ok(length @ 1..) = input.read(&mut buffer) {
            if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn exit_code(exit: &Exit) -> ExitCode {
    match (exit.code, exit.signal) {
        (Some(code), _) => ExitCode::from(code),
        (None, Some(signal)) => ExitCode::from(128_u8.saturating_add(signal)),
        (None, None) => {
            anstream::eprintln!("the command is {}", exit.text);
            ExitCode::FAILURE
        }
    }
}

/// This terminal without its line discipline, until it is dropped.
struct Raw(Termios);

impl Raw {
    fn begin() -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let back = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        if let Err(error) = back {
            anstream::eprintln!("the terminal could not be set back: {error}; type `reset`");
        }
    }
}
