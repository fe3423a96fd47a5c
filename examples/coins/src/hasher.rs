//! `hasher`: the SHA-256 of what is posted, in hexadecimal.

use sha2::{Digest, Sha256};

use crate::ServiceError;
use crate::arguments::Arguments;
use crate::http::{Request, Response, serve};

/// Serves until the process is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<(), ServiceError> {
    let listener = crate::open("hasher", arguments.port(80)?)?;
    serve(&listener, |request| answer(&request).into());
    Ok(())
}

fn answer(request: &Request) -> Response {
    match request.method.as_str() {
        "POST" => Response::text(200, hexadecimal(&Sha256::digest(&request.body))),
        "GET" | "HEAD" => Response::text(200, "POST bytes here for their SHA-256\n"),
        _ => Response::text(405, "only POST\n"),
    }
}

/// Bytes in lower-case hexadecimal.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_abc_is_the_one_of_fips_180() {
        assert_eq!(
            hexadecimal(&Sha256::digest(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
