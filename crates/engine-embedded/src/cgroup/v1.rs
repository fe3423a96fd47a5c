//! Control groups of the old kind: one hierarchy a controller (Documentation/admin-guide/cgroup-v1).

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Controller, Progress, claim_directory, make, own_directory, write};
use crate::keeper::protocol::Limits;
use crate::sandbox::plan::MountLine;

/// Microseconds in which a quota of processor time is spent.
const PERIOD: u64 = 100_000;

/// The keeper's own group with one controller.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) controller: Controller,
    pub(super) own: PathBuf,
}

/// An instance's group with one controller.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) controller: Controller,
    pub(super) path: PathBuf,
}

impl Hierarchy {
    /// Makes the keeper's own group; `None` where there is no such hierarchy, or it may not.
    pub(super) fn claim(
        mounts: &[MountLine],
        membership: &str,
        controller: Controller,
        name: &str,
    ) -> Option<Self> {
        let names = |list: &str| list.split(',').any(|word| word == controller.name());
        let mount = mounts
            .iter()
            .find(|line| line.kind == "cgroup" && names(&line.options))?;
        // `4:memory:/path` (cgroups(7)).
        let path = membership.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            names(controllers).then_some(path)
        })?;
        let own = claim_directory(&own_directory(mount, path), name).ok()?;
        Some(Self { controller, own })
    }

    pub(super) fn create(&self, name: &str) -> io::Result<Group> {
        let path = self.own.join(name);
        make(&path)?;
        Ok(Group {
            controller: self.controller,
            path,
        })
    }
}

impl Group {
    pub(super) fn limit(&self, limits: &Limits) -> io::Result<()> {
        let path = &self.path;
        match self.controller {
            Controller::Memory => {
                if let Some(bytes) = limits.memory_max {
                    write(path, "memory.limit_in_bytes", bytes.to_string())?;
                }
            }
            Controller::Cpu => {
                if let Some(milli) = limits.cpu_milli_max {
                    let quota = u64::from(milli) * PERIOD / 1000;
                    write(path, "cpu.cfs_period_us", PERIOD.to_string())?;
                    write(path, "cpu.cfs_quota_us", quota.max(1000).to_string())?;
                }
            }
            Controller::Pids => {
                if let Some(count) = limits.pids_max {
                    write(path, "pids.max", count.to_string())?;
                }
            }
            Controller::Freezer => {}
        }
        Ok(())
    }

    /// Asks for it the first time, and looks each time.
    pub(super) fn freeze(&self) -> io::Result<Progress> {
        let state = fs::read_to_string(self.path.join("freezer.state"))?;
        match state.trim() {
            "FROZEN" => Ok(Progress::Done),
            _ => {
                // Written again, since a fork meanwhile can keep it from being done.
                write(&self.path, "freezer.state", "FROZEN")?;
                Ok(Progress::Underway)
            }
        }
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        write(&self.path, "freezer.state", "THAWED")
    }

    pub(super) fn has_killed_for_memory(&self) -> bool {
        let counts = || fs::read_to_string(self.path.join("memory.oom_control"));
        self.controller == Controller::Memory
            && counts().is_ok_and(|text| {
                let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                count.is_some_and(|count| count != "0")
            })
    }
}
