//! `store`: a key-value server that redis-cli understands, and the client that its callers use.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::arguments::{Arguments, place};
use crate::keyspace::{Keyspace, Outcome};
use crate::resp::{ProtocolError, Reply, read_command, read_reply};
use crate::{ServiceError, http};

const PORT: u16 = 6379;
/// How long a check waits.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// Answers are sent once they are this large, so that a client cannot have many large ones made.
const ANSWER_BYTES_ENOUGH: usize = 64 * 1024;

/// What a connection does next.
enum Next {
    /// There may be more whole commands.
    Answer,
    /// More bytes are needed.
    Read,
    /// The client said goodbye or cannot be understood.
    Close,
}

/// Why a call of the store got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No address of the store accepts a connection, or it broke.
    #[error("cannot reach the store at {0}")]
    Io(String, #[source] io::Error),
    /// The store answered in another protocol.
    #[error("the answer of the store cannot be read")]
    Protocol(#[from] ProtocolError),
    /// The store refused the command.
    #[error("the store refused: {0}")]
    Refused(String),
}

/// One connection to the store, made anew when it broke.
#[derive(Debug)]
pub(crate) struct Client {
    host: String,
    port: u16,
    answer_max: Duration,
    connection: Option<TcpStream>,
}

/// Serves until the process is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<(), ServiceError> {
    let listener = crate::open("store", arguments.port(PORT)?)?;
    serve(&listener);
    Ok(())
}

/// Asks the store of this machine for a sign of life.
pub(crate) fn check(arguments: &Arguments) -> Result<(), ServiceError> {
    let mut client = Client {
        host: "127.0.0.1".to_owned(),
        port: arguments.port(PORT)?,
        answer_max: CHECK_MAX,
        connection: None,
    };
    client
        .call(&["PING"])
        .map(|_| ())
        .map_err(ServiceError::Unhealthy)
}

pub(crate) fn serve(listener: &TcpListener) {
    let keyspace = Arc::new(Mutex::new(Keyspace::default()));
    http::accept_each(listener, move |stream| {
        // A client that goes away in the middle is no news.
        let _ = converse(&stream, &keyspace);
    });
}

fn converse(mut stream: &TcpStream, keyspace: &Mutex<Keyspace>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    let mut piece = vec![0; READ_BYTES];
    loop {
        let (answers, taken, next) = {
            let mut keyspace = keyspace.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut keyspace, &received)
        };
        received.drain(..taken);
        stream.write_all(&answers)?;
        let read = match next {
            Next::Answer => continue,
            Next::Read => stream.read(&mut piece)?,
            Next::Close => 0,
        };
        if read == 0 {
            return Ok(());
        }
        received.extend_from_slice(&piece[..read]);
    }
}

/// Carries out the whole commands in `received`, until the answers are worth sending: the answers,
/// how many bytes were taken, and what comes next.
fn answer(keyspace: &mut Keyspace, received: &[u8]) -> (Vec<u8>, usize, Next) {
    let (mut answers, mut taken) = (Vec::new(), 0);
    while answers.len() < ANSWER_BYTES_ENOUGH {
        let outcome = match read_command(&received[taken..]) {
            Ok(None) => return (answers, taken, Next::Read),
            Ok(Some((command, length))) => {
                taken += length;
                if command.is_empty() {
                    continue;
                }
                keyspace.execute(&command)
            }
            Err(error) => Outcome::Last(Reply::error(format!("Protocol error: {error}"))),
        };
        match outcome {
            Outcome::Answer(reply) => reply.write(&mut answers),
            Outcome::Last(reply) => {
                reply.write(&mut answers);
                return (answers, taken, Next::Close);
            }
        }
    }
    (answers, taken, Next::Answer)
}

/// The bytes of one client against an empty store; see [`crate::fuzz_resp`].
pub(crate) fn fuzz(data: &[u8]) {
    let whole = answers_to([data]);
    let mut unread = whole.as_slice();
    while !unread.is_empty() {
        match read_reply(unread) {
            Ok(Some((_, length))) => unread = &unread[length..],
            Ok(None) => panic!("an answer is cut off"),
            Err(error) => panic!("an answer cannot be read back: {error}"),
        }
    }
    let (first, second) = data.split_at(data.len() / 2);
    assert_eq!(
        answers_to([first, second]),
        whole,
        "where the bytes are cut matters"
    );
}

/// What a client gets for bytes that come in these pieces.
fn answers_to<const N: usize>(pieces: [&[u8]; N]) -> Vec<u8> {
    let mut keyspace = Keyspace::default();
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    for piece in pieces {
        received.extend_from_slice(piece);
        loop {
            let (answers, taken, next) = answer(&mut keyspace, &received);
            received.drain(..taken);
            sent.extend_from_slice(&answers);
            match next {
                Next::Answer => {}
                Next::Read => break,
                Next::Close => return sent,
            }
        }
    }
    sent
}

impl Client {
    /// A client for the store that STORE names; nothing is connected yet.
    pub(crate) fn from_environment() -> Self {
        let value = place("STORE", "store:6379");
        let parts = value
            .rsplit_once(':')
            .and_then(|(h, p)| Some((h.to_owned(), p.parse().ok()?)));
        let (host, port) = parts.unwrap_or((value, PORT));
        Self {
            host,
            port,
            answer_max: http::ANSWER_MAX,
            connection: None,
        }
    }

    /// Sends one command and reads its answer; a refusal is an error.
    pub(crate) fn call(&mut self, words: &[&str]) -> Result<Reply, CallError> {
        let mut message = Vec::new();
        let bulk = |word: &&str| Reply::Bulk(word.as_bytes().to_vec());
        Reply::Array(words.iter().map(bulk).collect()).write(&mut message);
        // Kept only if the whole exchange succeeds, so that no answer is taken for another's.
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => http::connect(&self.host, self.port, self.answer_max)
                .map_err(|error| self.broken(error))?,
        };
        connection
            .write_all(&message)
            .map_err(|error| self.broken(error))?;
        let mut received = Vec::new();
        let mut piece = [0; 4096];
        let reply = loop {
            if let Some((reply, _)) = read_reply(&received)? {
                break reply;
            }
            let read = connection
                .read(&mut piece)
                .map_err(|error| self.broken(error))?;
            if read == 0 {
                return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
            }
            received.extend_from_slice(&piece[..read]);
        };
        self.connection = Some(connection);
        if let Reply::Error(text) = reply {
            return Err(CallError::Refused(text));
        }
        Ok(reply)
    }

    fn broken(&self, error: io::Error) -> CallError {
        CallError::Io(format!("{}:{}", self.host, self.port), error)
    }
}
