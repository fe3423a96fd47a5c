//! What happens inside an instance's own processes, from the clone to the program: namespaces are
//! filled, the root is built, rights are dropped. Runs in children of the keeper, which are
//! single-threaded as it is; it knows nothing of connections, logs or other instances.
//!
//! The first process of an instance ([`init`]) is its pid 1. It stays in the keeper's user
//! namespace with no capability but the one to signal; the program is its child, in a user
//! namespace of its own that owns none of the instance's other namespaces.

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

use crate::keeper::protocol::StartWish;

/// What the root of one instance is built from.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) plan: &'a plan::Plan,
    pub(crate) mounts: plan::Mounts,
    pub(crate) ids: &'a ids::IdMap,
    pub(crate) wish: &'a StartWish,
    /// The instance's own directory.
    pub(crate) private: &'a Path,
    /// The directory of its app's volumes.
    pub(crate) volumes: &'a Path,
    /// Directories that are ours and are not to be seen inside.
    pub(crate) hidden: &'a [PathBuf],
    /// The running executable.
    pub(crate) executable: &'a Path,
}
