//! The example application on its own: `coins SERVICE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let service = words.next().unwrap_or_default();
    let arguments: Vec<String> = words.collect();
    coins::run(&service, &arguments)
}
