//! `config`: an app as its compose files declare it, resolved; and what can be told of it.

use std::collections::BTreeMap;
use std::io::Write;

use compose::{Loaded, Request, Resolved, Variables};
use model::{AppName, AppSpec, ServiceName, ServiceSpec};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Context;
use crate::arguments::{ConfigArguments, Format, Hashed, Shown};
use crate::error::Error;
use crate::files::{self, Disk, FilesError};

pub(super) fn config(context: &Context, arguments: ConfigArguments) -> Result<(), Error> {
    let format = if arguments.json.json {
        Format::Json
    } else {
        arguments.format
    };
    let text = if arguments.shown == Shown::Schema {
        compose::roads_schema()
    } else {
        let selection = context.selection(arguments.selection);
        let request = Request {
            variables: if arguments.no_interpolate {
                Variables::Kept
            } else {
                Variables::Replaced
            },
            ..files::of(
                files::request(&selection, &context.surroundings)?,
                &arguments.services,
            )
        };
        shown(&arguments.shown, &request, format, arguments.strict)?
    };
    let text = format!("{}\n", text.trim_end());
    match arguments.output {
        _ if arguments.quiet => Ok(()),
        Some(path) => Ok(std::fs::write(&path, text)
            .map_err(|source| FilesError::Unwritable { path, source })?),
        None => Ok(write!(anstream::stdout(), "{text}")?),
    }
}

/// What is to be printed; the warnings are told.
fn shown(shown: &Shown, request: &Request, format: Format, strict: bool) -> Result<String, Error> {
    if let Shown::Environment = shown {
        let variables = compose::environment(request).map_err(FilesError::Invalid)?;
        return Ok(pairs(variables, "=", format));
    }
    if let Shown::Hashes(hashed) = shown {
        let Loaded { spec, warnings, .. } =
            compose::load(request, &Disk).map_err(FilesError::Invalid)?;
        files::accept(warnings, strict)?;
        return Ok(pairs(hashes(&spec, hashed)?, " ", format));
    }
    let (resolved, warnings) = compose::resolve(request, &Disk).map_err(FilesError::Invalid)?;
    files::accept(warnings, strict)?;
    Ok(part(shown, &resolved, format))
}

fn part(shown: &Shown, resolved: &Resolved, format: Format) -> String {
    let names: Vec<String> = match shown {
        Shown::Names(section) => {
            let names = resolved.names(*section).into_iter();
            names.map(str::to_owned).collect()
        }
        Shown::Images => resolved.images(),
        Shown::Profiles => resolved.profiles().map(str::to_owned).collect(),
        Shown::App | Shown::Hashes(_) | Shown::Environment | Shown::Schema => {
            return match format {
                Format::Yaml => resolved.yaml(),
                Format::Json => resolved.json(),
            };
        }
    };
    match format {
        Format::Yaml => names.join("\n"),
        Format::Json => format!("{:#}", Value::from(names)),
    }
}

fn pairs(pairs: BTreeMap<String, String>, between: &str, format: Format) -> String {
    match format {
        Format::Yaml => {
            let lines = pairs
                .iter()
                .map(|(key, value)| format!("{key}{between}{value}\n"));
            lines.collect()
        }
        Format::Json => format!("{:#}", pairs.into_iter().collect::<Value>()),
    }
}

fn hashes(spec: &AppSpec, hashed: &Hashed) -> Result<BTreeMap<String, String>, FilesError> {
    let hash = |service: &ServiceSpec| (service.name.as_str().to_owned(), hash(service));
    match hashed {
        Hashed::All => Ok(spec
            .services
            .values()
            .map(|service| hash(service))
            .collect()),
        Hashed::These(names) => {
            let named = |name: &String| {
                let service = ServiceName::new(name).ok();
                let service = service.and_then(|name| spec.services.get(&name));
                let service = service.ok_or_else(|| FilesError::NoService { name: name.clone() });
                service.map(|service| hash(service))
            };
            names.iter().map(named).collect()
        }
    }
}

/// Equal for two services exactly when an instance of one is as good as one of the other.
fn hash(service: &ServiceSpec) -> String {
    let service = service.seen_by_program();
    let app = AppSpec {
        name: AppName::new("app").expect("`app` is a name"),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        services: [(service.name.clone(), service.into())].into(),
    };
    let digest = Sha256::digest(compose::document(&app));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
