//! `rng`: random bytes, slow on purpose.
//!
//! It serves one request at a time and takes 100 ms for it, so it is the bottleneck of the
//! application: more workers do not help until there are more instances of this service.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::ServiceError;
use crate::arguments::Arguments;
use crate::http::{Request, Response, serve};

/// The most bytes of one answer.
const BYTES_MAX: u64 = 4096;
const DELAY: Duration = Duration::from_millis(100);

/// Serves until the process is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<(), ServiceError> {
    let delay = arguments.millis("delay-ms", DELAY)?;
    let listener = crate::open("rng", arguments.port(80)?)?;
    let turn = Mutex::new(());
    serve(&listener, move |request| {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(delay);
        answer(&request).into()
    });
    Ok(())
}

fn answer(request: &Request) -> Response {
    let wanted = match request.path() {
        "/" => return Response::text(200, "GET /32 answers 32 random bytes\n"),
        path => path.trim_start_matches('/').parse::<u64>(),
    };
    match wanted {
        Ok(length) if length <= BYTES_MAX => match random_bytes(length) {
            Ok(bytes) => Response::new(200, "application/octet-stream", bytes),
            Err(error) => Response::text(500, format!("no random bytes: {error}\n")),
        },
        Ok(_) => Response::text(400, format!("at most {BYTES_MAX} bytes at once\n")),
        Err(_) => Response::text(404, "not found\n"),
    }
}

fn random_bytes(length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open("/dev/urandom")?
        .take(length)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
