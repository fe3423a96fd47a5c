//! The files of an instance that its container mounts, and where they are.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::{AppName, InstanceId, WrittenFile};
use ports::HostNames;

/// The gate, as build.rs made it.
const GATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gate"));
/// Divides what an instance is itself from what it may call.
const DIVIDER: &str = "# services\n";

/// Where the engine keeps what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The daemon's state folder; nobody else may write in it. Programs must be executable there.
    pub state: PathBuf,
    /// The config.json that `docker login` writes, if this user has one.
    pub docker_config: Option<PathBuf>,
}

impl Home {
    /// A home at the state folder of a daemon whose user is this process's.
    #[must_use]
    pub fn at(state: PathBuf) -> Self {
        let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let own = folder("DOCKER_CONFIG").map(PathBuf::from);
        let of_user = || Some(PathBuf::from(folder("HOME")?).join(".docker"));
        Self {
            state,
            docker_config: own
                .or_else(of_user)
                .map(|folder| folder.join("config.json")),
        }
    }

    fn root(&self) -> PathBuf {
        self.state.join("docker")
    }

    /// What says on a container whose it is.
    pub(crate) fn label(&self) -> String {
        self.state.display().to_string()
    }

    /// Where the output of an app's removed instances is.
    pub(crate) fn logs(&self, app: &AppName) -> PathBuf {
        self.root().join("logs").join(app.as_str())
    }

    /// What an instance mounts.
    pub(crate) fn folder(&self, id: &InstanceId) -> Folder {
        let app = self.root().join("instances").join(id.app.as_str());
        Folder(app.join(format!("{}.{}", id.service, id.number)))
    }

    /// Writes the gate; an older one stays as it is for the instances that have it.
    pub(crate) fn write_gate(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.root())?;
        let (place, fresh) = (self.root().join("gate"), self.root().join("gate.new"));
        if fs::read(&place).is_ok_and(|old| old == GATE) {
            return Ok(());
        }
        fs::write(&fresh, GATE)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o755))?;
        fs::rename(fresh, place)
    }
}

/// The folder of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The gate and its door: `/.roadstead` in the container.
    pub(crate) fn shared(&self) -> PathBuf {
        self.0.join("shared")
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("hosts")
    }

    pub(crate) fn resolver(&self) -> PathBuf {
        self.0.join("resolv.conf")
    }

    /// Where one of its written files is.
    pub(crate) fn file(&self, index: usize) -> PathBuf {
        self.0.join("files").join(index.to_string())
    }

    /// Writes the files that come from nowhere on this machine.
    pub(crate) fn write_files(&self, files: &[WrittenFile]) -> io::Result<()> {
        for (index, file) in files.iter().enumerate() {
            let path = self.file(index);
            fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
            rewrite(&path, &file.content)?;
            fs::set_permissions(&path, Permissions::from_mode(file.mode & 0o7777))?;
        }
        Ok(())
    }

    /// What its ambassador is to be.
    pub(crate) fn wish(&self) -> PathBuf {
        self.0.join("ambassador")
    }

    /// Makes the folder with a gate, or gives it the newest gate. Nobody but its container and
    /// root come by it, since the state folder is closed to others.
    pub(crate) fn make(&self, home: &Home) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755).create(self.shared())?;
        let gate = self.shared().join("gate");
        remove_if_there(&gate)?;
        fs::hard_link(home.root().join("gate"), gate)
    }

    /// Writes who the instance is, and what it may call.
    pub(crate) fn write_names(
        &self,
        hostname: &str,
        app: &AppName,
        services: &[HostNames],
    ) -> io::Result<()> {
        let resolver = format!(
            "nameserver {}\nsearch {app}.internal\noptions ndots:1\n",
            netns::DNS_ADDRESS
        );
        rewrite(&self.resolver(), &resolver)?;
        let own = own_names(IpAddr::V4(Ipv4Addr::LOCALHOST), hostname);
        rewrite(&self.hosts(), &(own + DIVIDER + &service_names(services)))
    }

    /// Writes by which address the instance knows itself.
    pub(crate) fn write_own_address(&self, address: IpAddr, hostname: &str) -> io::Result<()> {
        let text = fs::read_to_string(self.hosts())?;
        let services = text
            .split_once(DIVIDER)
            .map_or("", |(_, services)| services);
        rewrite(
            &self.hosts(),
            &(own_names(address, hostname) + DIVIDER + services),
        )
    }

    /// Writes what the instance may call.
    pub(crate) fn write_services(&self, services: &[HostNames]) -> io::Result<()> {
        let text = fs::read_to_string(self.hosts())?;
        let own = text
            .split_once(DIVIDER)
            .map_or(text.as_str(), |(own, _)| own);
        rewrite(
            &self.hosts(),
            &(own.to_owned() + DIVIDER + &service_names(services)),
        )
    }

    /// Forgets it all.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if let Some(app) = self.0.parent() {
            // Others of the app may still have theirs.
            drop(fs::remove_dir(app));
        }
        Ok(())
    }
}

/// The lines that every machine has, and the instance's own name.
fn own_names(address: IpAddr, hostname: &str) -> String {
    format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{address} {hostname}\n")
}

fn service_names(services: &[HostNames]) -> String {
    let mut text = String::new();
    for HostNames { address, names } in services {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address} {}", names.join(" "));
    }
    text
}

/// Writes a file that a container has mounted: the same file, so what is mounted changes. A reader
/// in between sees the new text, perhaps with an end of the old one behind it.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o644);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Removes a file, if there is one.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use model::ServiceAddress;

    use super::*;

    fn names(last: u8, name: &str) -> HostNames {
        HostNames {
            address: ServiceAddress::from_ip(Ipv4Addr::new(127, 127, 0, last)).unwrap(),
            names: vec![name.to_owned(), format!("{name}.demo")],
        }
    }

    #[test]
    fn own_and_other_names_change_by_themselves() {
        let state = tempfile::tempdir().unwrap();
        let home = Home::at(state.path().to_owned());
        let id = InstanceId::parse("demo/web/1").unwrap();
        let folder = home.folder(&id);
        home.write_gate().unwrap();
        folder.make(&home).unwrap();
        folder
            .write_names("web-1", &id.app, &[names(2, "rng"), names(3, "hasher")])
            .unwrap();
        let before = fs::metadata(folder.hosts()).unwrap();
        folder
            .write_own_address(Ipv4Addr::new(172, 18, 0, 2).into(), "web-1")
            .unwrap();
        folder.write_services(&[names(2, "rng")]).unwrap();
        let text = fs::read_to_string(folder.hosts()).unwrap();
        assert_eq!(
            text,
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\
             172.18.0.2 web-1\n# services\n127.127.0.2 rng rng.demo\n"
        );
        let after = fs::metadata(folder.hosts()).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!(before.ino(), after.ino(), "what is mounted is this file");
        let file = |content: &str| WrittenFile {
            target: "/run/secrets/key".into(),
            content: content.to_owned(),
            mode: 0o440,
        };
        for content in ["longer", "short"] {
            folder.write_files(&[file(content)]).unwrap();
            assert_eq!(fs::read_to_string(folder.file(0)).unwrap(), content);
        }
        let mode = fs::metadata(folder.file(0)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o440);
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert!(!home.root().join("instances/demo").exists());
    }
}
