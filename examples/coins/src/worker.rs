//! `worker`: mines. It knows `rng`, `hasher` and `store` by name and offers nothing itself.

use std::thread;
use std::time::{Duration, Instant};

use crate::arguments::{Arguments, place};
use crate::http::{self, ClientError};
use crate::{ServiceError, chain, host_name, log, store};

/// How often the figures go to the store.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a round of work failed.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Call(#[from] ClientError),
    #[error("{service} answered with status {status}")]
    Status { service: &'static str, status: u16 },
    #[error(transparent)]
    Store(#[from] store::CallError),
}

struct Worker {
    rng: http::Client,
    hasher: http::Client,
    store: store::Client,
    name: String,
    /// Hashes that the store does not know of yet.
    hashes: u64,
    /// Coins that the store does not know of yet, by their hash.
    coins: Vec<String>,
}

/// Works until the process is told to stop.
pub(crate) fn run(_: &Arguments) -> Result<(), ServiceError> {
    let client = |variable, default| {
        let url = place(variable, default).parse();
        url.map(http::Client::new).map_err(ServiceError::BadUrl)
    };
    let mut worker = Worker {
        rng: client("RNG_URL", "http://rng")?,
        hasher: client("HASHER_URL", "http://hasher")?,
        store: store::Client::from_environment(),
        name: host_name(),
        hashes: 0,
        coins: Vec::new(),
    };
    loop {
        if let Err(error) = worker.work() {
            log(&format!("worker: {}", chain(&error)));
            thread::sleep(PAUSE);
        }
    }
}

impl Worker {
    /// Mines for a while, then tells the store.
    fn work(&mut self) -> Result<(), WorkError> {
        let begun = Instant::now();
        while begun.elapsed() < REPORT_EVERY {
            self.mine()?;
        }
        let (hashes, coins) = (self.hashes, self.coins.len());
        self.report()?;
        let seconds = begun.elapsed().as_secs_f64();
        crate::print(&format!(
            "worker: {hashes} hashes and {coins} coins in {seconds:.1} s"
        ));
        Ok(())
    }

    fn mine(&mut self) -> Result<(), WorkError> {
        let bytes = self.rng.request("GET", "/32", &[], &[])?;
        succeeded("rng", bytes.status)?;
        let answer = self.hasher.request("POST", "/", &[], &bytes.body)?;
        succeeded("hasher", answer.status)?;
        let hash = String::from_utf8_lossy(&answer.body).trim().to_owned();
        self.hashes += 1;
        if hash.starts_with('0') {
            self.coins.push(hash);
        }
        Ok(())
    }

    /// Each figure is forgotten once the store has it, so that a failure counts nothing twice
    /// unless its answer alone was lost.
    fn report(&mut self) -> Result<(), WorkError> {
        if self.hashes > 0 {
            self.store
                .call(&["INCRBY", "hashes", &self.hashes.to_string()])?;
            self.hashes = 0;
        }
        while let Some(hash) = self.coins.last() {
            self.store
                .call(&["HSET", "latest", "hash", hash, "worker", &self.name])?;
            self.store.call(&["INCR", "coins"])?;
            self.coins.pop();
        }
        Ok(())
    }
}

fn succeeded(service: &'static str, status: u16) -> Result<(), WorkError> {
    match status {
        200 => Ok(()),
        status => Err(WorkError::Status { service, status }),
    }
}
