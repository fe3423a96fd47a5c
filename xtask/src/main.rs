//! `cargo xtask`: the gates. `check` runs them all, `tidy` holds the shape of the code, `e2e` runs
//! the end-to-end suite as root and as an ordinary user, `measure` prints what it costs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

mod e2e;
mod gates;
mod metadata;
mod tidy;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check           every gate, one after the other; CI runs this
  tidy            crate edges, sizes, docs, lints and licences
  e2e [ARGS...]   the end-to-end suite; ARGS go to its test programs, as in: e2e lazy
  measure         the figures that are promised, of a release build";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = root()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["check"] => gates::check(&root),
        ["tidy"] => tidy::run(&root),
        ["e2e", ..] => e2e::run(&root, &words[1..]),
        ["measure"] => gates::measure(&root),
        _ => bail!("no such command\n\n{USAGE}"),
    }
}

/// The root of the workspace that this program was built from.
fn root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent()
        .map(Path::to_path_buf)
        .context("xtask does not lie in a workspace")
}
