//! Keeps a server outside for tests that may not make one: prints its address, and removes it when
//! its standard input ends. To be run as root, with ROADS_BIN.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use e2e::Outside;

fn main() -> ExitCode {
    let outside = match Outside::find() {
        Ok(outside) => outside,
        Err(why) => {
            eprintln!("outside: {why}");
            return ExitCode::FAILURE;
        }
    };
    let told = writeln!(io::stdout(), "{}", outside.address());
    if told.is_ok() {
        drop(io::stdin().read_to_end(&mut Vec::new()));
    }
    ExitCode::SUCCESS
}
