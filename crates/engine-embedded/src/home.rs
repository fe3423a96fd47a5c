//! Where the engine keeps what it keeps.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::{AppName, InstanceId};

use crate::failure::{Attempt, Failure};

/// The two directories of one user's daemon and keeper. Both belong to that user alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What outlives the machine's restart: volumes, logs, the instances' private files.
    pub state: PathBuf,
    /// What does not: sockets and locks.
    pub runtime: PathBuf,
}

impl Home {
    /// Makes the directories where they are missing and refuses those that others could use.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for directory in [&self.state, &self.runtime] {
            if !directory.is_absolute() {
                return Err(Failure::forbidden(
                    format!("cannot use directory {}", directory.display()),
                    "its path is not absolute",
                    "set ROADS_STATE_DIR and ROADS_RUNTIME_DIR to absolute paths",
                ));
            }
            make_private(directory).attempt(|| format!("cannot make {}", directory.display()))?;
            own(directory)?;
        }
        for part in ["instances", "volumes", "logs", "trash"] {
            let directory = self.state.join(part);
            make_private(&directory).attempt(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(())
    }

    pub(crate) fn keeper_socket(&self) -> PathBuf {
        self.runtime.join("keeper.sock")
    }

    /// Held while one process looks for the keeper or makes it.
    pub(crate) fn keeper_lock(&self) -> PathBuf {
        self.runtime.join("keeper.lock")
    }

    pub(crate) fn keeper_log(&self) -> PathBuf {
        self.state.join("keeper.log")
    }

    /// Where the keeper mounts what instances share; it is empty outside the keeper.
    pub(crate) fn stage(&self) -> PathBuf {
        self.runtime.join("stage")
    }

    pub(crate) fn instances(&self) -> PathBuf {
        self.state.join("instances")
    }

    pub(crate) fn private(&self, id: &InstanceId) -> PathBuf {
        let name = format!("{}.{}", id.service, id.number);
        self.instances().join(id.app.as_str()).join(name)
    }

    pub(crate) fn volumes(&self, app: &AppName) -> PathBuf {
        self.state.join("volumes").join(app.as_str())
    }

    pub(crate) fn logs(&self, app: &AppName) -> PathBuf {
        self.state.join("logs").join(app.as_str())
    }

    pub(crate) fn log(&self, id: &InstanceId) -> PathBuf {
        self.logs(&id.app)
            .join(format!("{}.{}.log", id.service, id.number))
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.state.join("trash")
    }
}

/// Makes a directory, and those above it, that its user alone may enter.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn own(directory: &Path) -> Result<(), Failure> {
    let what = || format!("cannot use directory {}", directory.display());
    let found = fs::symlink_metadata(directory).attempt(what)?;
    let user = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != user {
        return Err(Failure::forbidden(
            what(),
            format!("it is not a directory of user id {user}"),
            "remove it, or name another by ROADS_STATE_DIR or ROADS_RUNTIME_DIR",
        ));
    }
    if found.mode() & 0o077 != 0 {
        return Err(Failure::forbidden(
            what(),
            format!("others may use it (mode {:o})", found.mode() & 0o777),
            format!("run: chmod 700 {}", directory.display()),
        ));
    }
    Ok(())
}
