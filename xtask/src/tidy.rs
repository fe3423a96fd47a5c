//! `cargo xtask tidy`: the rules that a compiler does not hold.
//!
//! Every rule is a pure function from text to findings; this file alone reads the disk.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use anyhow::{Context, Result, bail};

use crate::metadata::{self, Origin, Package};

mod code_map;
mod edges;
mod licences;
mod lints;
mod manifest;
mod sources;

use code_map::CodeMap;

/// A place that breaks a rule, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) file: PathBuf,
    /// From 1; the line of the file that is wrong or that must be added to.
    pub(crate) line: usize,
    /// What is wrong, then what to do.
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn new(file: &Path, line: usize, text: impl Into<String>) -> Self {
        Self {
            file: file.to_path_buf(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {}",
            self.file.display(),
            self.line,
            self.text
        )
    }
}

/// A text file of the project.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the workspace.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Prints every finding of every rule, and fails if there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let packages = metadata::read(root)?;
    let mut findings = judge_packages(root, &packages)?;
    let sources = read_sources(root, Path::new(""))?;
    findings.extend(sources.iter().flat_map(sources::judge));
    let crates = ours(&packages).filter_map(|package| folder(root, package));
    findings.extend(crates.filter_map(|folder| sources::judge_size(folder, &sources)));
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} findings"),
    }
}

/// Edges, lints and licences.
fn judge_packages(root: &Path, packages: &[Package]) -> Result<Vec<Finding>> {
    let read = |path: &Path| {
        let file = root.join(path);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let workspace = read(Path::new("Cargo.toml"))?;
    let lock = read(Path::new("Cargo.lock"))?;
    let (map, mut findings) = CodeMap::parse(&read(Path::new(code_map::FILE))?);
    findings.extend(map.judge_rows(&ours(packages).map(Package::short_name).collect()));
    for package in packages {
        findings.extend(licences::judge(package, &lock));
    }
    for package in ours(packages) {
        let Some(folder) = folder(root, package) else {
            continue;
        };
        let file = folder.join("Cargo.toml");
        let manifest = read(&file)?;
        findings.extend(edges::judge(package, &file, &manifest, &map));
        findings.extend(lints::judge(
            package.short_name(),
            &file,
            &manifest,
            &workspace,
        ));
    }
    Ok(findings)
}

fn ours(packages: &[Package]) -> impl Iterator<Item = &Package> {
    packages
        .iter()
        .filter(|package| package.origin == Origin::Ours)
}

/// The folder of a crate of ours, from the root.
fn folder<'a>(root: &Path, package: &'a Package) -> Option<&'a Path> {
    package.manifest.parent()?.strip_prefix(root).ok()
}

/// Every text file under a folder, in order, but for what is built or found by a fuzzer.
fn read_sources(root: &Path, folder: &Path) -> Result<Vec<Source>> {
    let place = root.join(folder);
    let cannot = || format!("cannot read {}", place.display());
    let mut names = fs::read_dir(&place)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<_>>>()
        })
        .with_context(cannot)?;
    names.sort();
    let mut sources = Vec::new();
    for path in names.into_iter().map(|name| folder.join(name)) {
        let file = root.join(&path);
        let kind = fs::symlink_metadata(&file)
            .with_context(cannot)?
            .file_type();
        if kind.is_dir() && sources::is_ours(&path) {
            sources.extend(read_sources(root, &path)?);
        } else if kind.is_file() && sources::is_text(&path) {
            let text = fs::read_to_string(&file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}
