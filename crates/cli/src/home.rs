//! Where the daemon of this user keeps its state and its socket, and the lock that there is one.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The longest path of a unix socket (Linux, `unix(7)`: 108 bytes with the final zero).
const SOCKET_PATH_MAX: usize = 107;

/// The folders of one user's daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What outlives a restart of the machine.
    pub state: PathBuf,
    /// What does not.
    pub runtime: PathBuf,
}

/// Why the folders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nobody says where.
    #[error("there is no place for the state: neither HOME nor ROADS_STATE_DIR is set")]
    Nowhere,
    /// A folder cannot be made or looked at.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder is somebody else's, or open to others.
    #[error("the folder {} is not this user's alone: {why}", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The socket's path is longer than the kernel allows.
    #[error(
        "the path {} is too long for a socket; set ROADS_RUNTIME_DIR to a shorter one",
        path.display()
    )]
    TooLong {
        /// The socket's path.
        path: PathBuf,
    },
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error("a daemon already runs: {holder}")]
    Held {
        /// Its process and its socket, as it wrote them down.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Says that this process is the daemon, until it is dropped or the process ends.
///
/// The lock belongs to the process (POSIX `fcntl`), not to the open file, so that a process which
/// was forked off, as the keeper is, does not hold it after the daemon died.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Home {
    /// The folders by this process's environment and user. To be asked before a user namespace
    /// is entered.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`].
    pub fn find() -> Result<Self, HomeError> {
        let user = rustix::process::geteuid().as_raw();
        Self::by(
            |name| std::env::var_os(name).filter(|value| !value.is_empty()),
            user,
        )
    }

    fn by(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> Result<Self, HomeError> {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let is_root = user == 0;
        let state = path("ROADS_STATE_DIR")
            .or_else(|| is_root.then(|| "/var/lib/roads".into()))
            .or_else(|| path("XDG_STATE_HOME").map(|base| base.join("roads")))
            .or_else(|| path("HOME").map(|home| home.join(".local/state/roads")))
            .ok_or(HomeError::Nowhere)?;
        let runtime = path("ROADS_RUNTIME_DIR")
            .or_else(|| is_root.then(|| "/run/roads".into()))
            .or_else(|| path("XDG_RUNTIME_DIR").map(|base| base.join("roads")))
            .unwrap_or_else(|| format!("/tmp/roads-{user}").into());
        Ok(Self { state, runtime })
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("roads.sock")
    }

    /// What the daemon remembers.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state.join("state.db")
    }

    /// What a detached daemon says.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("daemon.log")
    }

    /// Makes the folders, for this user alone, and checks that they are.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn prepare(&self) -> Result<(), HomeError> {
        let path = self.socket();
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(HomeError::TooLong { path });
        }
        own_folder(&self.state)?;
        own_folder(&self.runtime)
    }

    /// Takes the lock, in the process that is to be the daemon.
    ///
    /// # Errors
    /// [`LockError::Held`] when there is a daemon.
    pub fn lock(&self) -> Result<Lock, LockError> {
        let path = self.state.join("daemon.lock");
        let failed = |source: io::Error| LockError::File {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                let holder = holder.trim().to_owned();
                return Err(LockError::Held { holder });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).map_err(failed)?;
        let (pid, socket) = (std::process::id(), self.socket());
        writeln!(file, "process {pid}, socket {}", socket.display()).map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

/// Makes a folder with mode 0700, or checks that the one that is there is this user's alone.
fn own_folder(path: &Path) -> Result<(), HomeError> {
    let failed = |source| HomeError::Folder {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    // The link itself is looked at: in `/tmp` anybody could have put one.
    let metadata = path.symlink_metadata().map_err(failed)?;
    let user = rustix::process::geteuid().as_raw();
    let why = if !metadata.is_dir() {
        "it is no folder".to_owned()
    } else if metadata.uid() != user {
        format!("it belongs to user {}", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        format!(
            "others may write in it (mode {:o})",
            metadata.mode() & 0o7777
        )
    } else {
        return Ok(());
    };
    let path = path.to_owned();
    Err(HomeError::NotOurs { path, why })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn home(user: u32, variables: &[(&str, &str)]) -> (String, String) {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let home = Home::by(|name| variables.get(name).map(OsString::from), user).unwrap();
        let text = |path: PathBuf| path.display().to_string();
        (text(home.state), text(home.runtime))
    }

    #[test]
    fn the_folders_follow_the_user_and_the_environment() {
        let own = [("ROADS_STATE_DIR", "/s"), ("ROADS_RUNTIME_DIR", "/r")];
        let xdg = [("XDG_STATE_HOME", "/x"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        for (user, variables, state, runtime) in [
            (0, &own[..], "/s", "/r"),
            (0, &xdg, "/var/lib/roads", "/run/roads"),
            (7, &own, "/s", "/r"),
            (7, &xdg, "/x/roads", "/run/user/7/roads"),
            (
                7,
                &[("HOME", "/h")],
                "/h/.local/state/roads",
                "/tmp/roads-7",
            ),
        ] {
            let expected = (state.to_owned(), runtime.to_owned());
            assert_eq!(home(user, variables), expected, "{user} {variables:?}");
        }
        assert!(Home::by(|_| None, 7).is_err());
    }

    #[test]
    fn a_folder_that_others_may_write_in_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home {
            state: folder.path().join("a/state"),
            runtime: folder.path().join("run"),
        };
        home.prepare().unwrap();
        home.prepare().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&home.runtime, open).unwrap();
        assert!(matches!(home.prepare(), Err(HomeError::NotOurs { .. })));
        std::fs::remove_dir(&home.runtime).unwrap();
        std::os::unix::fs::symlink(&home.state, &home.runtime).unwrap();
        assert!(matches!(home.prepare(), Err(HomeError::NotOurs { .. })));
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_refused_in_words() {
        let home = Home {
            state: "/tmp".into(),
            runtime: format!("/tmp/{}", "x".repeat(120)).into(),
        };
        assert!(matches!(home.prepare(), Err(HomeError::TooLong { .. })));
    }
}
