//! `roads engines`: which engines this machine has, and which one runs what.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use cli::Form;
use engine_docker::Host;
use serde_json::json;

/// An engine, as it is told.
struct Row {
    name: &'static str,
    found: &'static str,
    /// What was found, or why it cannot be used.
    detail: String,
    runs: &'static str,
}

/// Looks, and prints what was found.
pub(crate) fn print(form: Form) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rows = [
        docker(&runtime),
        Row {
            name: "embedded",
            found: "yes",
            detail: "this machine's own files and kernel".to_owned(),
            runs: "`image: host`",
        },
    ];
    let mut out = std::io::stdout().lock();
    match form {
        Form::Table => {
            writeln!(out, "{:<10}{:<7}{:<16}DETAIL", "ENGINE", "FOUND", "RUNS")?;
            for Row {
                name,
                found,
                detail,
                runs,
            } in rows
            {
                writeln!(out, "{name:<10}{found:<7}{runs:<16}{detail}")?;
            }
        }
        Form::Json => {
            let rows = rows.iter().map(|row| {
                json!({
                    "name": row.name, "found": row.found == "yes",
                    "runs": row.runs, "detail": row.detail,
                })
            });
            writeln!(out, "{:#}", json!({ "engines": rows.collect::<Vec<_>>() }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn docker(runtime: &tokio::runtime::Runtime) -> Row {
    let found = Host::from_environment()
        .map_err(|error| error.to_string())
        .and_then(|host| {
            let found = runtime
                .block_on(host.find())
                .map_err(|error| error.to_string())?;
            let path = host.path().display().to_string();
            Ok(format!("{}, API {}, at {path}", found.release, found.api))
        });
    let (found, detail) = match found {
        Ok(detail) => ("yes", detail),
        Err(why) => ("no", why.replace('\n', "; ")),
    };
    Row {
        name: "docker",
        found,
        detail,
        runs: "any other image",
    }
}
