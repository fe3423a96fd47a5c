//! The `roads` command: picks the adapters and wires them.

mod daemon;
mod dataplane;
mod engines;

use std::process::ExitCode;

use cli::{ALREADY_RUNNING, Invocation, LockError};

fn main() -> ExitCode {
    #[cfg(feature = "coins")]
    if let Some(code) = coin_service() {
        return code;
    }
    match cli::parse() {
        Invocation::Command(command) => cli::run(command),
        Invocation::Engines(form) => engines::print(form).unwrap_or_else(|error| failed(&error)),
        Invocation::Daemon(wish) => match daemon::run(&wish) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
    }
}

/// Says what failed, and what to do about it where that is known.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let forbidden = error.downcast_ref::<engine_embedded::Forbidden>();
    if let Some(hint) = forbidden.and_then(|forbidden| forbidden.hint.as_ref()) {
        eprintln!("hint: {hint}");
    }
    if error.is::<LockError>() {
        ExitCode::from(ALREADY_RUNNING)
    } else {
        ExitCode::FAILURE
    }
}

/// `roads coins SERVICE …` is a service of the example application, which finds its programs
/// wherever `roads` is. Before anything else: the example measures its own start.
#[cfg(feature = "coins")]
fn coin_service() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "coins" {
        return None;
    }
    let service = arguments.next().unwrap_or_default();
    Some(coins::run(&service, &arguments.collect::<Vec<_>>()))
}
