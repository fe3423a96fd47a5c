//! A coin mine of five services, in the spirit of the classic container workshop.
//!
//! `worker` takes random bytes from `rng`, has them hashed by `hasher`, and counts a coin in
//! `store` for each hash that starts with a zero; `webui` shows the speed. Every service is one
//! subcommand of one executable, knows the others by their plain names, and knows nothing of what
//! runs it.
//!
//! The application is meant to be read in one sitting: blocking calls, a thread a connection.

use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::time::{ClockId, clock_gettime};

mod arguments;
mod fixtures;
mod hasher;
pub mod http;
mod keyspace;
pub mod resp;
mod rng;
mod store;
mod webui;
mod worker;

use crate::arguments::{Arguments, UsageError};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How the services are called, for a usage message.
pub const USAGE: &str = "\
usage: coins SERVICE [OPTION]...

  rng [--port N] [--delay-ms N]   random bytes: GET /32 answers 32 of them (port 80, 100 ms each)
  hasher [--port N]               the SHA-256 of what is posted, in hex (port 80)
  worker                          mines: rng, then hasher, then store
  webui [--port N]                a page that shows the speed (port 80)
  store [--port N]                a key-value server that redis-cli understands (port 6379)
  store-check [--port N]          exits 0 when the store of this machine answers

The worker and the webui find the others at RNG_URL (http://rng), HASHER_URL (http://hasher)
and STORE (store:6379). PORT is the same as --port.";

/// Why a service ended, when it was not told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The command line or the environment is wrong.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A variable of the environment names no service.
    #[error("cannot call the other services")]
    BadUrl(#[source] http::ClientError),
    /// The operating system refused something; the text says what was tried.
    #[error("cannot {action}")]
    System {
        /// What was tried, as in "listen on port 80".
        action: String,
        /// What the system answered.
        source: io::Error,
    },
    /// `store-check` found no healthy store.
    #[error("the store does not answer")]
    Unhealthy(#[source] store::CallError),
}

impl ServiceError {
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }
}

/// Runs one service until it is told to stop, and gives the exit code of its process.
///
/// SIGTERM and SIGINT end the process at once with code 0: no service here holds anything worth
/// saving, and a caller whose request is cut off asks another instance. A wrong command line is
/// code 2, any other failure is code 1; both are told on stderr.
///
/// Call this first in `main`: the fixtures report this moment as the start of the program.
pub fn run(service: &str, arguments: &[String]) -> ExitCode {
    let started = monotonic_nanos();
    let outcome = stop_on_signals().and_then(|()| start(service, arguments, started));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServiceError::Usage(error)) => {
            log(&format!("coins {service}: {error}\n\n{USAGE}"));
            ExitCode::from(2)
        }
        Err(error) => {
            log(&format!("coins {service}: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn start(service: &str, words: &[String], started: u64) -> Result<(), ServiceError> {
    let arguments = |known: &[&'static str]| Arguments::parse(words, known);
    match service {
        "rng" => rng::run(&arguments(&["port", "delay-ms"])?),
        "hasher" => hasher::run(&arguments(&["port"])?),
        "worker" => worker::run(&arguments(&[])?),
        "webui" => webui::run(&arguments(&["port"])?),
        "store" => store::run(&arguments(&["port"])?),
        "store-check" => store::check(&arguments(&["port"])?),
        "echo" => {
            let known = ["port", "delay-ms", "start-delay-ms"];
            fixtures::echo(&arguments(&known)?, started)
        }
        "tcp-echo" => {
            let known = ["port", "banner", "start-delay-ms"];
            fixtures::tcp_echo(&arguments(&known)?, started)
        }
        "udp-echo" => fixtures::udp_echo(&arguments(&["port", "start-delay-ms"])?, started),
        other => Err(UsageError::UnknownService(other.to_owned()).into()),
    }
}

/// The exit happens inside the signal handler, so no thread has to be free to notice.
fn stop_on_signals() -> Result<(), ServiceError> {
    let armed = Arc::new(AtomicBool::new(true));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(&armed))
            .map_err(ServiceError::system("take over SIGTERM"))?;
    }
    Ok(())
}

/// Listens on a port of every address of this machine.
pub(crate) fn listen(port: u16) -> Result<TcpListener, ServiceError> {
    let bound = TcpListener::bind(("0.0.0.0", port)).and_then(|listener| {
        // The standard library asks for 128, too few when a crowd was held and is let in at once.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(ServiceError::system(format!("listen on port {port}")))
}

/// Listens as [`listen`] does, and says where: the port may have been chosen by the system.
pub(crate) fn open(service: &str, port: u16) -> Result<TcpListener, ServiceError> {
    let listener = listen(port)?;
    if let Ok(address) = listener.local_addr() {
        print(&format!("{service}: listening on {address}"));
    }
    Ok(listener)
}

/// CLOCK_MONOTONIC in nanoseconds: the same clock for every process of the machine.
pub(crate) fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000_000 + nanos
}

/// The name of the machine, which is the instance's own inside its namespace.
pub(crate) fn host_name() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    text.trim().to_owned()
}

/// Writes one line for a person to stderr; a closed stderr is no reason to stop serving.
pub(crate) fn log(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes one line of output; a closed stdout is no reason to stop working.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| {
        format!("{text}: {source}")
    })
}

/// One entry for the fuzzer of the store: bytes of a client, however broken or cut, never panic, and
/// what the store answers can be read back. `cargo test` runs it over random and mutated input.
pub fn fuzz_resp(data: &[u8]) {
    store::fuzz(data);
}
