//! The door of an instance: the socket at which its gate waits.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

use crate::folder::remove_if_there;

/// A door that gates can come to.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
}

/// A gate that waits.
#[derive(Debug)]
pub(crate) struct Arrival {
    stream: UnixStream,
    /// Its process, as this machine numbers it: the kernel says so, not the container.
    pub(crate) pid: u32,
}

impl Door {
    /// Makes the door in a folder, in place of one that a daemon before left there.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let place = folder.join("door");
        remove_if_there(&place)?;
        let directory = File::open(folder)?;
        // The path of a socket may have 107 bytes; the folder's may have more.
        let short = format!("/proc/self/fd/{}/door", directory.as_raw_fd());
        let listener = StdListener::bind(short)?;
        // Whichever user the container's program runs as must come in.
        fs::set_permissions(&place, Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
        })
    }

    /// The next gate.
    pub(crate) async fn arrival(&self) -> io::Result<Arrival> {
        let (stream, _) = self.listener.accept().await?;
        let pid = stream.peer_cred()?.pid();
        let pid = pid.and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.filter(|&pid| pid > 0).ok_or_else(|| {
            io::Error::other("it is in a process namespace that this daemon does not see")
        })?;
        Ok(Arrival { stream, pid })
    }
}

impl Arrival {
    /// Lets it through. That it is gone meanwhile is told by Docker.
    pub(crate) async fn admit(mut self) {
        drop(self.stream.write_all(b"+").await);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_gate_is_known_by_its_process_and_let_through_with_a_byte() {
        let folder = tempfile::tempdir().unwrap();
        drop(Door::open(folder.path()).unwrap());
        let door = Door::open(folder.path()).unwrap();
        let mut gate = UnixStream::connect(folder.path().join("door"))
            .await
            .unwrap();
        let arrival = door.arrival().await.unwrap();
        assert_eq!(arrival.pid, std::process::id());
        arrival.admit().await;
        let mut all = Vec::new();
        gate.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 1);
    }
}
