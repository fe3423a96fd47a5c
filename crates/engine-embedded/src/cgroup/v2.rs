//! The unified hierarchy of control groups (Documentation/admin-guide/cgroup-v2).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::{Controller, Progress, claim_directory, make, own_directory, write};
use crate::keeper::protocol::Limits;
use crate::sandbox::plan::MountLine;

/// Microseconds in which a quota of processor time is spent.
const PERIOD: u64 = 100_000;

/// The keeper's own group, below which each instance has one.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) own: PathBuf,
    /// Those that groups below have.
    controllers: Vec<Controller>,
}

/// An instance's group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) path: PathBuf,
    directory: File,
}

impl Hierarchy {
    /// Makes the keeper's own group where it may: below the group that it was started in, else, as
    /// the machine's root, at the top. `None` where it may nowhere.
    pub(super) fn claim(
        mounts: &[MountLine],
        membership: &str,
        name: &str,
        starter: u32,
    ) -> Option<Self> {
        let mount = mounts.iter().find(|line| line.kind == "cgroup2")?;
        let path = membership
            .lines()
            .find_map(|line| line.strip_prefix("0::"))?;
        let below = own_directory(mount, path);
        let mut best: Option<Self> = None;
        for parent in [&below, &mount.point] {
            let Ok(own) = claim_directory(parent, name) else {
                continue;
            };
            let controllers = hand_down(parent, &own, starter);
            let claimed = Self { own, controllers };
            if claimed.can_bear() && best.as_ref().is_none_or(|b| b.count() < claimed.count()) {
                best = Some(claimed);
            }
            if *parent == mount.point || best.as_ref().is_some_and(|b| b.count() == 3) {
                break;
            }
        }
        best
    }

    fn count(&self) -> usize {
        self.controllers.len()
    }

    /// Whether a process may be moved here: that takes rights over the groups above, too.
    fn can_bear(&self) -> bool {
        let trial = self.own.join("trial");
        let Ok(group) = Group::make(trial.clone()) else {
            return false;
        };
        // SAFETY: the keeper has one thread.
        let side = unsafe { crate::sandbox::clone::clone(0, Some(group.descriptor())) };
        let is_born = match side {
            Ok(crate::sandbox::clone::Side::Child) => crate::sandbox::clone::leave(0),
            Ok(crate::sandbox::clone::Side::Parent { pid, .. }) => {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                true
            }
            Err(_) => false,
        };
        super::remove(&trial);
        is_born
    }

    pub(super) fn has(&self, controller: Controller) -> bool {
        controller == Controller::Freezer || self.controllers.contains(&controller)
    }

    pub(super) fn create(&self, name: &str) -> io::Result<Group> {
        Group::make(self.own.join(name))
    }

    pub(super) fn limit(&self, group: &Group, limits: &Limits) -> io::Result<()> {
        let path = &group.path;
        if let (true, Some(bytes)) = (self.has(Controller::Memory), limits.memory_max) {
            write(path, "memory.max", bytes.to_string())?;
        }
        if let (true, Some(milli)) = (self.has(Controller::Cpu), limits.cpu_milli_max) {
            let quota = u64::from(milli) * PERIOD / 1000;
            write(path, "cpu.max", format!("{} {PERIOD}", quota.max(1000)))?;
        }
        if let (true, Some(count)) = (self.has(Controller::Pids), limits.pids_max) {
            write(path, "pids.max", count.to_string())?;
        }
        Ok(())
    }
}

impl Group {
    fn make(path: PathBuf) -> io::Result<Self> {
        make(&path)?;
        let directory = File::open(&path)?;
        Ok(Self { path, directory })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Asks for it, and looks whether it is so.
    pub(super) fn freeze(&self) -> io::Result<Progress> {
        write(&self.path, "cgroup.freeze", "1")?;
        let events = fs::read_to_string(self.path.join("cgroup.events"))?;
        let is_frozen = events.lines().any(|line| line == "frozen 1");
        Ok(if is_frozen {
            Progress::Done
        } else {
            Progress::Underway
        })
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        write(&self.path, "cgroup.freeze", "0")
    }

    pub(super) fn has_killed_for_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events"));
        events.is_ok_and(|text| {
            let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            count.is_some_and(|count| count != "0")
        })
    }
}

/// Gives the groups below `own` as many of the controllers as possible; those that it could.
fn hand_down(parent: &Path, own: &Path, starter: u32) -> Vec<Controller> {
    let is_handed = |controller: &Controller| {
        let given = give(parent, *controller);
        let given = given || (make_room(parent, own, starter).is_ok() && give(parent, *controller));
        given && give(own, *controller)
    };
    Controller::LIMITS.into_iter().filter(is_handed).collect()
}

/// Lets the groups below `group` have a controller.
fn give(group: &Path, controller: Controller) -> bool {
    write(
        group,
        "cgroup.subtree_control",
        format!("+{}", controller.name()),
    )
    .is_ok()
}

/// A group whose children have controllers may have no processes itself. Where all that it has are
/// the keeper and the daemon that made it, they move into a group of their own; where a stranger is
/// among them, they stay.
fn make_room(parent: &Path, own: &Path, starter: u32) -> io::Result<()> {
    let ours = [std::process::id(), starter];
    let there = fs::read_to_string(parent.join("cgroup.procs"))?;
    let there: Vec<u32> = there.lines().filter_map(|line| line.parse().ok()).collect();
    if there.iter().any(|pid| !ours.contains(pid)) {
        return Err(io::Error::from(io::ErrorKind::ResourceBusy));
    }
    let room = own.with_extension("keeper");
    if !room.exists() {
        fs::create_dir(&room)?;
    }
    for pid in there {
        write(&room, "cgroup.procs", pid.to_string())?;
    }
    Ok(())
}
