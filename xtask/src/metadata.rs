//! What cargo says of the workspace and of everything it builds on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::gates::command;

/// A package: a crate of ours, or one of others'.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Where its Cargo.toml is.
    pub(crate) manifest: PathBuf,
    pub(crate) licence: Option<String>,
    pub(crate) origin: Origin,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Lies in this workspace.
    Ours,
    /// Comes from a registry.
    Registry,
}

/// A line of a `[dependencies]` section.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    /// The name of the package.
    pub(crate) package: String,
    /// The name in the manifest, which may be another.
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

impl Package {
    /// The name of a crate of ours as people say it: `model`, not `roadstead-model`.
    pub(crate) fn short_name(&self) -> &str {
        short_name(&self.name)
    }
}

impl Dependency {
    /// As [`Package::short_name`].
    pub(crate) fn short_name(&self) -> &str {
        short_name(&self.package)
    }
}

fn short_name(package: &str) -> &str {
    match package {
        "roadstead" => "roads",
        other => other.strip_prefix("roadstead-").unwrap_or(other),
    }
}

/// Asks cargo. A Cargo.lock that is behind its manifests is an error.
pub(crate) fn read(root: &Path) -> Result<Vec<Package>> {
    let mut ask = command(root, &["metadata", "--format-version", "1", "--locked"]);
    let answer = ask.output().context("cannot run cargo metadata")?;
    let complaint = String::from_utf8_lossy(&answer.stderr);
    ensure!(
        answer.status.success(),
        "cargo metadata failed: {}",
        complaint.trim()
    );
    let json = serde_json::from_slice(&answer.stdout).context("cargo metadata printed no JSON")?;
    packages(&json)
}

fn packages(json: &Value) -> Result<Vec<Package>> {
    list(json, "packages")?.iter().map(package).collect()
}

fn package(json: &Value) -> Result<Package> {
    Ok(Package {
        name: text(json, "name")?,
        manifest: text(json, "manifest_path")?.into(),
        licence: json["license"].as_str().map(str::to_owned),
        origin: if json["source"].is_null() {
            Origin::Ours
        } else {
            Origin::Registry
        },
        dependencies: list(json, "dependencies")?
            .iter()
            .map(dependency)
            .collect::<Result<_>>()?,
    })
}

fn dependency(json: &Value) -> Result<Dependency> {
    let package = text(json, "name")?;
    Ok(Dependency {
        key: json["rename"].as_str().unwrap_or(&package).to_owned(),
        package,
        kind: match json["kind"].as_str() {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some(_) => Kind::Dev,
        },
        origin: if json["path"].is_null() {
            Origin::Registry
        } else {
            Origin::Ours
        },
    })
}

fn list<'a>(json: &'a Value, member: &str) -> Result<&'a Vec<Value>> {
    json[member]
        .as_array()
        .with_context(|| format!("cargo metadata has no list {member:?}"))
}

fn text(json: &Value, member: &str) -> Result<String> {
    let text = json[member].as_str().map(str::to_owned);
    text.with_context(|| format!("cargo metadata has no text {member:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packages_are_read_with_their_edges() {
        let json = json!({ "packages": [{
            "name": "roadstead-plan", "manifest_path": "/w/crates/plan/Cargo.toml",
            "license": "MIT", "source": null,
            "dependencies": [
                { "name": "roadstead-model", "rename": "model", "kind": null, "path": "/w" },
                { "name": "insta", "rename": null, "kind": "dev" },
            ],
        }] });
        let packages = packages(&json).unwrap();
        assert_eq!(
            (packages[0].short_name(), packages[0].origin),
            ("plan", Origin::Ours)
        );
        let [model, insta] = packages[0].dependencies.as_slice() else {
            panic!("two edges")
        };
        assert_eq!((model.key.as_str(), model.short_name()), ("model", "model"));
        assert_eq!((model.kind, model.origin), (Kind::Normal, Origin::Ours));
        assert_eq!(
            (insta.key.as_str(), insta.kind, insta.origin),
            ("insta", Kind::Dev, Origin::Registry)
        );
    }

    #[test]
    fn the_binary_is_called_as_people_call_it() {
        assert_eq!(short_name("roadstead"), "roads");
        assert_eq!(short_name("coins"), "coins");
    }
}
