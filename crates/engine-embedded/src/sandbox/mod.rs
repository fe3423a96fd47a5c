//! What happens inside an instance's own processes, from the clone to the program: namespaces are
//! filled, the root is built, rights are dropped. Runs in children of the keeper, which are
//! single-threaded as it is; it knows nothing of connections, logs or other instances.
//!
//! The first process of an instance ([`init`]) is its pid 1. What all instances have alike it
//! prepares before it knows which it is ([`Setting`]); then it is told ([`Layout`]). It stays in the
//! keeper's user namespace with no capability but the one to signal; the program is its child, in
//! a user namespace of its own that owns none of the instance's other namespaces.

mod ambassador;
pub(crate) mod capabilities;
pub(crate) mod clone;
mod devices;
pub(crate) mod ids;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod root;
pub(crate) mod seccomp;
pub(crate) mod tree;

use std::path::{Path, PathBuf};

use rustix::process::Rlimit;
use seccompiler::BpfProgram;

use crate::keeper::protocol::StartWish;

/// What is the same for all instances of a keeper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) plan: &'a plan::Plan,
    pub(crate) mounts: plan::Mounts,
    pub(crate) ids: &'a ids::IdMap,
    /// Directories that are ours and are not to be seen inside.
    pub(crate) hidden: &'a [PathBuf],
    /// The running executable.
    pub(crate) executable: &'a Path,
    /// An empty directory to mount on, what is prepared before there is a root to mount it in.
    pub(crate) skeleton: &'a Path,
    pub(crate) filter: &'a BpfProgram,
    /// How many files programs may open.
    pub(crate) descriptors: Rlimit,
}

/// What the root of one instance is built from.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) setting: Setting<'a>,
    pub(crate) wish: &'a StartWish,
    /// The instance's own directory.
    pub(crate) private: &'a Path,
    /// The directory of its app's volumes.
    pub(crate) volumes: &'a Path,
}
