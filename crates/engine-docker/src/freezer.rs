//! Whether a container's processes are frozen, read from its control group.
//!
//! Docker is asked to freeze and to thaw, so that its own tools know; but its answer comes after
//! the fact, and the fact is what a held call waits for.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::listening::pause_for;

/// The pause between two looks. Reading the file costs some microseconds.
const LOOK: Duration = Duration::from_micros(300);

/// The file that tells, in either version of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Freezer(PathBuf);

impl Freezer {
    /// The freezer that a process is in; `None` where it cannot be seen from here.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let freezer = Self(place(&groups, &mounts)?);
        freezer.is_frozen().map(|_| freezer)
    }

    fn is_frozen(&self) -> Option<bool> {
        says_frozen(&fs::read_to_string(&self.0).ok()?)
    }

    /// Done when its processes run, or can no longer be seen.
    pub(crate) async fn until_thawed(&self) {
        while self.is_frozen() == Some(true) {
            pause_for(LOOK).await;
        }
    }
}

/// The state file of the freezer among a process's control groups (`/proc/PID/cgroup`).
fn place(groups: &str, mounts: &str) -> Option<PathBuf> {
    let mount = |kind: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, found) = (words.next()?, words.next()?);
            let options = words.next()?;
            let has = option.is_empty() || options.split(',').any(|o| o == option);
            (found == kind && has).then(|| PathBuf::from(point))
        })
    };
    let group = |line: &str, prefix: &str| {
        let path = line.split_once(prefix)?.1;
        Some(path.trim_start_matches('/').to_owned())
    };
    let v1 = groups.lines().find_map(|line| group(line, ":freezer:"));
    if let (Some(path), Some(point)) = (v1, mount("cgroup", "freezer")) {
        return Some(point.join(path).join("freezer.state"));
    }
    let v2 = groups.lines().find(|line| line.starts_with("0::"))?;
    let path = group(v2, "0::")?;
    Some(mount("cgroup2", "")?.join(path).join("cgroup.events"))
}

/// What the file says: a word in version 1, `frozen 0` or `frozen 1` among others in version 2.
fn says_frozen(text: &str) -> Option<bool> {
    match text.trim() {
        "FROZEN" | "FREEZING" => Some(true),
        "THAWED" => Some(false),
        events => {
            let value = events
                .lines()
                .find_map(|line| line.strip_prefix("frozen "))?;
            Some(value == "1")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    const V2: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";

    #[test]
    fn the_freezer_is_found_in_either_version() {
        for (groups, mounts, expected) in [
            (
                "12:freezer:/docker/c\n0::/system.slice\n",
                V1,
                Some("/sys/fs/cgroup/freezer/docker/c/freezer.state"),
            ),
            (
                "0::/system.slice/docker-c.scope\n",
                V2,
                Some("/sys/fs/cgroup/system.slice/docker-c.scope/cgroup.events"),
            ),
            ("1:cpu:/\n", V1, None),
        ] {
            assert_eq!(place(groups, mounts), expected.map(PathBuf::from));
        }
    }

    #[test]
    fn either_version_says_whether_it_is_frozen() {
        for (text, expected) in [
            ("FROZEN\n", Some(true)),
            ("THAWED\n", Some(false)),
            ("populated 1\nfrozen 1\n", Some(true)),
            ("populated 1\nfrozen 0\n", Some(false)),
            ("populated 1\n", None),
        ] {
            assert_eq!(says_frozen(text), expected, "{text:?}");
        }
    }
}
