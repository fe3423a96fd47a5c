//! From the merged tree to the model, one file for each group of keys.
//!
//! Nothing stops at the first error: a value that is wrong is reported and its default taken, so
//! that one run reports all.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use model::{
    AppName, Dependency, Image, NetworkName, NetworkSpec, Owner, ServiceName, ServiceSpec,
    VolumeName, VolumeSpec,
};

use crate::diagnostic::{Finding, Findings};
use crate::keys;
use crate::load::ReadFile;
use crate::source::Span;
use crate::tree::{Entry, Node, Value};

mod app;
mod environment;
mod health;
mod network;
mod process;
mod read;
mod roads;
mod scale;
mod service;
mod storage;

/// What lowering may look at, and where it reports.
pub(crate) struct Lower<'a> {
    pub(crate) findings: &'a mut Findings,
    /// The variables: the caller's, then those of `.env`.
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// What relative paths are relative to; absolute.
    pub(crate) project_directory: &'a Path,
    pub(crate) files: &'a dyn ReadFile,
    /// How many ports were read from ranges; a short text can name very many.
    pub(crate) ports: usize,
}

/// An app before it is validated and before its services are chosen.
#[derive(Debug)]
pub(crate) struct DraftApp {
    pub(crate) name: AppName,
    pub(crate) services: BTreeMap<ServiceName, DraftService>,
    pub(crate) networks: BTreeMap<NetworkName, NetworkSpec>,
    pub(crate) volumes: BTreeMap<VolumeName, VolumeSpec>,
}

/// A service, with the places that validation points at.
#[derive(Debug)]
pub(crate) struct DraftService {
    pub(crate) spec: ServiceSpec,
    /// Where its name is written.
    pub(crate) span: Span,
    pub(crate) profiles: Vec<String>,
    /// Where each dependency is written.
    pub(crate) dependencies: BTreeMap<ServiceName, Span>,
    /// Where each network is written.
    pub(crate) networks: Vec<(NetworkName, Span)>,
    /// Where each named volume is written.
    pub(crate) volumes: Vec<(VolumeName, Span)>,
    /// Where each published port is written, as `spec.publish`.
    pub(crate) publish: Vec<Span>,
    /// What must be read once it is known that the service is wanted.
    pub(crate) environment: environment::Environment,
}

/// An absolute path without `.`, `..` and doubled slashes, from `path` as seen from `base`.
fn absolute(base: &Path, path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in base.join(path).components() {
        match component {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(part) => clean.push(part),
        }
    }
    clean
}
