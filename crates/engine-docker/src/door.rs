//! The door of an instance: the socket at which its gate waits.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::folder::remove_if_there;

/// The most bytes of a gate's words that are read.
const WORDS_MAX: u64 = 1024;

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
    /// Lets it through, and waits until it has become its program. That it is gone meanwhile is
    /// told by Docker.
    ///
    /// # Errors
    /// Why there is no program to become, in words.
    pub(crate) async fn admit(mut self) -> Result<(), String> {
        drop(self.stream.write_all(b"+").await);
        let mut said = Vec::new();
        drop(self.stream.take(WORDS_MAX).read_to_end(&mut said).await);
        let said = String::from_utf8_lossy(&said);
        match said.trim().trim_start_matches("roads: ") {
            "" => Ok(()),
            words => Err(words.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_is_known_by_its_process_and_says_what_became_of_it() {
        let folder = tempfile::tempdir().unwrap();
        drop(Door::open(folder.path()).unwrap());
        let door = Door::open(folder.path()).unwrap();
        for said in ["", "roads: cannot run x: it was not found\n"] {
            let place = folder.path().join("door");
            let mut gate = UnixStream::connect(place).await.unwrap();
            let arrival = door.arrival().await.unwrap();
            assert_eq!(arrival.pid, std::process::id());
            let (admitted, ()) = tokio::join!(arrival.admit(), async move {
                assert_eq!(gate.read_u8().await.unwrap(), b'+');
                gate.write_all(said.as_bytes()).await.unwrap();
            });
            assert_eq!(admitted.is_ok(), said.is_empty());
        }
    }
}
