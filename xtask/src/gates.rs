//! `cargo xtask check`: every gate runs, also after one has failed; then all failures are told.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{e2e, tidy};

/// How many seeds of random faults the simulation runs.
const SEEDS: &str = "200";

type Gate = (&'static str, fn(&Path) -> Result<()>);

/// The cheap ones first.
const GATES: [Gate; 7] = [
    ("fmt", |root| cargo(root, &["fmt", "--all", "--check"])),
    ("tidy", tidy::run),
    ("clippy", |root| {
        cargo(
            root,
            &[
                "clippy",
                "-q",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        )
    }),
    ("doc", |root| {
        let mut doc = command(root, &["doc", "-q", "--workspace", "--no-deps"]);
        succeed(doc.env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("test", |root| {
        cargo(root, &["test", "--workspace", "--exclude", e2e::PACKAGE])
    }),
    ("simulation", |root| {
        let simulate = ["run", "-q", "-p", "roadstead-sim", "--bin", "simulate"];
        cargo(root, &[&simulate[..], &["--", "--seeds", SEEDS]].concat())
    }),
    ("e2e", |root| e2e::run(root, &[])),
];

/// Runs all gates, prints a line for each, and fails if one of them has.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for (name, gate) in GATES {
        eprintln!("== {name}");
        let begun = Instant::now();
        let outcome = gate(root);
        let line = describe(name, &outcome, begun.elapsed());
        eprintln!("{line}");
        lines.push(line);
        if outcome.is_err() {
            failures.push(name);
        }
    }
    eprintln!("\n{}", lines.join("\n"));
    if !failures.is_empty() {
        bail!(
            "{} of {} gates failed: {}",
            failures.len(),
            GATES.len(),
            failures.join(", ")
        );
    }
    Ok(())
}

/// Builds the release and measures it.
pub(crate) fn measure(root: &Path) -> Result<()> {
    cargo(
        root,
        &[
            "build",
            "-q",
            "--release",
            "-p",
            "roadstead",
            "--bin",
            "roads",
        ],
    )?;
    cargo(
        root,
        &[
            "run",
            "-q",
            "--release",
            "-p",
            e2e::PACKAGE,
            "--bin",
            "measure",
        ],
    )
}

fn describe(name: &str, outcome: &Result<()>, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match outcome {
        Ok(()) => format!("{name:<12} ok     {seconds:>7.1} s"),
        Err(error) => format!("{name:<12} FAILED {seconds:>7.1} s  {error:#}"),
    }
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    succeed(&mut command(root, arguments))
}

/// A cargo command, by the cargo that runs this program.
pub(crate) fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments);
    command
}

/// Runs a command to its end with our own output.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let words = words(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{words}`"))?;
    ensure!(status.success(), "`{words}` failed: {status}");
    Ok(())
}

/// A command as a person would type it.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_as_it_is_typed() {
        let mut command = Command::new("/toolchain/bin/cargo");
        command.args(["fmt", "--all"]);
        assert_eq!(words(&command), "cargo fmt --all");
    }

    #[test]
    fn a_gate_is_one_line_with_its_seconds() {
        let took = Duration::from_millis(1250);
        assert_eq!(
            describe("fmt", &Ok(()), took),
            "fmt          ok         1.2 s"
        );
        let failed = Err(anyhow::anyhow!("inner").context("outer"));
        assert_eq!(
            describe("doc", &failed, took),
            "doc          FAILED     1.2 s  outer: inner"
        );
    }
}
