//! Limits, freezing and the cause of death, by whatever control groups this machine lets us have.
//!
//! Each instance gets a group below one of the keeper's own: in the unified hierarchy (v2), whose
//! freezer and birth-in-group we use even where it has no controllers, and, where v2 lacks a
//! controller, in the hierarchy of the old kind (v1) that has it, if there is something to limit:
//! to join a group of v1 the kernel waits 8 to 20 ms, and keeps every process of the machine from
//! being made meanwhile. What cannot be had is a shortcoming in
//! words, not an error; a frozen instance without any freezer is one whose processes are stopped.

mod v1;
mod v2;

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::failure::{Attempt, Failure};
use crate::keeper::protocol::Limits;
use crate::sandbox::plan::MountLine;

/// What is limited or controlled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
    /// The freezer of v1; in v2 it is part of every group.
    Freezer,
}

impl Controller {
    const LIMITS: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// As the kernel calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
            Self::Freezer => "freezer",
        }
    }
}

/// Where this keeper may make groups.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    unified: Option<v2::Hierarchy>,
    old: Vec<v1::Hierarchy>,
}

/// The groups of one instance.
#[derive(Debug, Default)]
pub(crate) struct Group {
    name: String,
    unified: Option<v2::Group>,
    old: Vec<v1::Group>,
}

/// How far a group is with what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    Underway,
}

impl Cgroups {
    /// Finds the hierarchies and makes the keeper's own groups in them; `starter` is the process
    /// that made the keeper.
    pub(crate) fn discover(mounts: &[MountLine], starter: u32) -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = format!("roads-{}", std::process::id());
        let unified = v2::Hierarchy::claim(mounts, &membership, &name, starter);
        let missing = |controller: &Controller| {
            !unified
                .as_ref()
                .is_some_and(|unified| unified.has(*controller))
        };
        let mut wanted: Vec<Controller> = Controller::LIMITS.into_iter().filter(missing).collect();
        if unified.is_none() {
            wanted.push(Controller::Freezer);
        }
        let claim = |controller| v1::Hierarchy::claim(mounts, &membership, controller, &name);
        Self {
            unified,
            old: wanted.into_iter().filter_map(claim).collect(),
        }
    }

    /// What cannot be limited here, in words.
    pub(crate) fn shortcomings(&self) -> Vec<String> {
        let has = |controller: &Controller| {
            self.unified
                .as_ref()
                .is_some_and(|unified| unified.has(*controller))
                || self.old.iter().any(|old| old.controller == *controller)
        };
        let missing: Vec<&str> = Controller::LIMITS
            .into_iter()
            .filter(|controller| !has(controller))
            .map(Controller::name)
            .collect();
        let mut shortcomings = Vec::new();
        if !missing.is_empty() {
            shortcomings.push(format!(
                "limits of {} are not enforced: no control group with {} is yours to write; start \
                 the daemon as root, or by systemd-run --user --scope -p Delegate=yes roads daemon",
                missing.join(", "),
                if missing.len() == 1 { "it" } else { "them" },
            ));
        }
        if self.unified.is_none() && !has(&Controller::Freezer) {
            shortcomings.push(
                "instances are frozen by stopping their processes, which these can notice: no \
                 control group is yours to write"
                    .to_owned(),
            );
        }
        shortcomings
    }

    /// Makes the groups of an instance that has no limits.
    pub(crate) fn create(&self, name: &str) -> Result<Group, Failure> {
        let what = || format!("cannot make the control group {name}");
        let unified = self.unified.as_ref().map(|u| u.create(name)).transpose();
        let unified = unified.attempt(what)?;
        let freezers = self.old.iter();
        let freezers = freezers.filter(|old| old.controller == Controller::Freezer);
        let old = freezers.map(|old| old.create(name));
        let old = old.collect::<io::Result<_>>().attempt(what)?;
        let name = name.to_owned();
        Ok(Group { name, unified, old })
    }

    /// Sets the limits of an instance's groups, which have none yet; the files by which its first
    /// process joins those that this took.
    pub(crate) fn limit(&self, group: &mut Group, limits: &Limits) -> io::Result<Vec<PathBuf>> {
        if let (Some(hierarchy), Some(unified)) = (&self.unified, &group.unified) {
            hierarchy.limit(unified, limits)?;
        }
        let joined = group.old.len();
        for hierarchy in &self.old {
            if limits.limit(hierarchy.controller) {
                let old = hierarchy.create(&group.name)?;
                old.limit(limits)?;
                group.old.push(old);
            }
        }
        Ok(group.joins().split_off(joined))
    }

    /// Removes the keeper's own groups; for its end.
    pub(crate) fn leave(&self) {
        if let Some(unified) = &self.unified {
            let _ = fs::remove_dir(&unified.own);
        }
        for old in &self.old {
            let _ = fs::remove_dir(&old.own);
        }
    }
}

impl Limits {
    fn limit(&self, controller: Controller) -> bool {
        match controller {
            Controller::Memory => self.memory_max.is_some(),
            Controller::Cpu => self.cpu_milli_max.is_some(),
            Controller::Pids => self.pids_max.is_some(),
            Controller::Freezer => false,
        }
    }
}

impl Group {
    /// The group that a clone is to be born in.
    pub(crate) fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(v2::Group::descriptor)
    }

    /// The files by which a process joins the groups that it was not born in.
    pub(crate) fn joins(&self) -> Vec<PathBuf> {
        self.old
            .iter()
            .map(|old| old.path.join("cgroup.procs"))
            .collect()
    }

    /// Whether there is a freezer; without one the processes must be stopped.
    pub(crate) fn can_freeze(&self) -> bool {
        self.unified.is_some() || self.freezer().is_some()
    }

    pub(crate) fn freeze(&self) -> io::Result<Progress> {
        match (&self.unified, self.freezer()) {
            (Some(unified), _) => unified.freeze(),
            (None, Some(old)) => old.freeze(),
            (None, None) => Ok(Progress::Done),
        }
    }

    pub(crate) fn thaw(&self) -> io::Result<()> {
        match (&self.unified, self.freezer()) {
            (Some(unified), _) => unified.thaw(),
            (None, Some(old)) => old.thaw(),
            (None, None) => Ok(()),
        }
    }

    /// Whether the kernel has killed one of the group for want of memory.
    pub(crate) fn has_killed_for_memory(&self) -> bool {
        self.unified
            .as_ref()
            .is_some_and(v2::Group::has_killed_for_memory)
            || self.old.iter().any(v1::Group::has_killed_for_memory)
    }

    /// Removes the groups, which nobody is in any more.
    pub(crate) fn remove(&self) {
        if let Some(unified) = &self.unified {
            remove(&unified.path);
        }
        for old in &self.old {
            remove(&old.path);
        }
    }

    fn freezer(&self) -> Option<&v1::Group> {
        self.old
            .iter()
            .find(|old| old.controller == Controller::Freezer)
    }
}

/// Removes a group and those that the instance made below; what is busy is left to the next keeper.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// Makes the keeper's own group, and removes those of keepers that are gone.
fn claim_directory(parent: &Path, name: &str) -> io::Result<PathBuf> {
    for entry in fs::read_dir(parent)?.flatten() {
        let file_name = entry.file_name();
        let keeper = file_name
            .to_str()
            .and_then(|name| name.strip_prefix("roads-"));
        let is_gone = |pid: &str| {
            let pid = pid.split('.').next().unwrap_or_default();
            pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()
        };
        if keeper.is_some_and(is_gone) {
            remove(&entry.path());
        }
    }
    let own = parent.join(name);
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(own),
    }
}

/// The directory of the calling process's own group in a mounted hierarchy.
fn own_directory(mount: &MountLine, path: &str) -> PathBuf {
    let below = Path::new(path)
        .strip_prefix(&mount.root)
        .unwrap_or(Path::new(""));
    mount.point.join(below)
}

fn write(directory: &Path, file: &str, value: impl AsRef<[u8]>) -> io::Result<()> {
    let path = directory.join(file);
    fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        // Left by an earlier life of the instance.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove(path);
            fs::create_dir(path)
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_the_mounts_root() {
        let mount = |root: &str| MountLine {
            root: root.into(),
            point: "/sys/fs/cgroup".into(),
            kind: "cgroup2".into(),
            options: String::new(),
        };
        for (root, path, expected) in [
            ("/", "/", "/sys/fs/cgroup"),
            (
                "/",
                "/user.slice/a.scope",
                "/sys/fs/cgroup/user.slice/a.scope",
            ),
            ("/docker/1", "/docker/1/x", "/sys/fs/cgroup/x"),
            ("/docker/1", "/elsewhere", "/sys/fs/cgroup"),
        ] {
            let found = own_directory(&mount(root), path);
            assert_eq!(found, Path::new(expected).components().collect::<PathBuf>());
        }
    }
}
