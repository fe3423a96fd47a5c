//! A command inside an instance, over an upgraded connection.

use std::io;

use api::{Exit, Failure, Frame, Size};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::ClientError;
use crate::connection::{Call, broken_off};

/// A command that runs; dropping both halves kills it.
#[derive(Debug)]
pub struct Exec {
    /// What it is given.
    pub input: ExecInput,
    /// What it says.
    pub output: ExecOutput,
}

/// What a command is given.
#[derive(Debug)]
pub struct ExecInput(WriteHalf<TokioIo<Upgraded>>);

/// What a command says.
#[derive(Debug)]
pub struct ExecOutput {
    stream: ReadHalf<TokioIo<Upgraded>>,
    pending: Vec<u8>,
}

/// Something that a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It wrote this.
    Output(Vec<u8>),
    /// It wrote this as errors.
    Error(Vec<u8>),
    /// It ended like this; nothing follows.
    Exited(Exit),
    /// It did not run to its end; nothing follows.
    Failed(Failure),
}

impl Exec {
    pub(crate) async fn over(call: Call) -> Result<Self, ClientError> {
        let Call {
            response,
            mut driver,
        } = call;
        let upgraded = hyper::upgrade::on(response).await.map_err(broken_off)?;
        // The connection is ours now, and its driver has ended.
        while driver.join_next().await.is_some() {}
        let (output, input) = tokio::io::split(TokioIo::new(upgraded));
        Ok(Self {
            input: ExecInput(input),
            output: ExecOutput {
                stream: output,
                pending: Vec::new(),
            },
        })
    }
}

impl ExecInput {
    /// Gives it bytes to read.
    ///
    /// # Errors
    /// [`ClientError::BrokenOff`] when the command is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for chunk in bytes.chunks(api::FRAME_MAX) {
            self.send(Frame::Input(chunk)).await?;
        }
        Ok(())
    }

    /// Tells it that there is no more to read.
    ///
    /// # Errors
    /// [`ClientError::BrokenOff`] when the command is gone.
    pub async fn end(&mut self) -> Result<(), ClientError> {
        self.send(Frame::Input(&[])).await
    }

    /// Tells it that the terminal has another size.
    ///
    /// # Errors
    /// [`ClientError::BrokenOff`] when the command is gone.
    pub async fn resize(&mut self, size: Size) -> Result<(), ClientError> {
        self.send(Frame::Resize(size)).await
    }

    async fn send(&mut self, frame: Frame<'_>) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let sent = self.0.write_all(&bytes).await;
        sent.map_err(|error| ClientError::BrokenOff(Box::new(error)))
    }
}

impl ExecOutput {
    /// The next thing that it says. It may be dropped while it waits, and nothing is lost.
    ///
    /// # Errors
    /// [`ClientError`] when the connection ends before the command did.
    pub async fn next(&mut self) -> Result<Said, ClientError> {
        let broken = |error| ClientError::BrokenOff(Box::new(error));
        loop {
            let invalid = |error| broken(io::Error::new(io::ErrorKind::InvalidData, error));
            if let Some((frame, length)) = Frame::decode(&self.pending).map_err(invalid)? {
                let said = said(frame)?;
                self.pending.drain(..length);
                if let Some(said) = said {
                    return Ok(said);
                }
                continue;
            }
            let read = self.stream.read_buf(&mut self.pending).await;
            if read.map_err(broken)? == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// What a frame says; nothing when it is one that only a client sends.
fn said(frame: Frame<'_>) -> Result<Option<Said>, ClientError> {
    Ok(Some(match frame {
        Frame::Output(bytes) => Said::Output(bytes.to_vec()),
        Frame::Error(bytes) => Said::Error(bytes.to_vec()),
        Frame::Exited(json) => Said::Exited(read(json)?),
        Frame::Failed(json) => Said::Failed(read(json)?),
        Frame::Input(_) | Frame::Resize(_) => return Ok(None),
    }))
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(json).map_err(ClientError::Unreadable)
}
