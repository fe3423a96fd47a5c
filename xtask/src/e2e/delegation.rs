//! Control groups for the run as an ordinary user, as a session of systemd would give it: made
//! below our own by root, handed to the user, and left by the run.
//!
//! What this machine does not let root make is not handed on; the suite then checks that the
//! limits are told to be without effect.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The controllers of old hierarchies (v1) that an engine can use.
const CONTROLLERS: [&str; 4] = ["memory", "cpu", "pids", "freezer"];
/// What a user must be able to write in a group, besides the folder.
const FILES: [&str; 4] = [
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "tasks",
];
/// Moves itself into every group before `--`, and becomes what is behind it. That hears of Ctrl-C also
/// where all was started in the background of a shell, which has its commands ignore it.
const ENTER: &str = "\
while [ \"$1\" != -- ]; do echo $$ > \"$1/cgroup.procs\" || exit 1; shift; done
shift
exec env --default-signal=INT,QUIT \"$@\"";

/// The groups. Dropping it removes them.
#[derive(Debug, Default)]
pub(super) struct Delegation {
    groups: Vec<PathBuf>,
}

impl Delegation {
    /// Makes a group for the user in every hierarchy that has one of ours.
    pub(super) fn make(user: u32, group: u32) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let own = own_groups(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let name = format!("roadstead-e2e-{}", std::process::id());
        let mut groups = Vec::new();
        for parent in own {
            give_controllers(&parent);
            let path = parent.join(&name);
            if fs::create_dir(&path).is_err() {
                continue;
            }
            // A file that this kind of group does not have need not be handed on.
            let files = FILES.iter().map(|file| path.join(file));
            for file in files.filter(|file| file.exists()).chain([path.clone()]) {
                drop(chown(&file, Some(user), Some(group)));
            }
            groups.push(path);
        }
        Self { groups }
    }

    /// The same command, inside the groups.
    pub(super) fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside
            .args(["-c", ENTER, "sh"])
            .args(&self.groups)
            .arg("--");
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        for group in &self.groups {
            remove(group);
        }
    }
}

/// Lets groups below this one of the unified hierarchy have controllers, where there are some.
fn give_controllers(parent: &Path) {
    for controller in ["memory", "cpu", "pids"] {
        drop(fs::write(
            parent.join("cgroup.subtree_control"),
            format!("+{controller}"),
        ));
    }
}

/// A group and those below it; the kernel keeps those that somebody is in.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(fs::remove_dir(group));
}

/// Our own groups in the hierarchies that matter, by proc(5)'s mountinfo and cgroup files.
fn own_groups(mounts: &str, memberships: &str) -> Vec<PathBuf> {
    let group = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let path = match kind.next()? {
            "cgroup2" => membership(memberships, |controllers| controllers.is_empty()),
            "cgroup" => {
                let options = kind.nth(1)?;
                let of = |list: &str| list.split(',').any(|word| CONTROLLERS.contains(&word));
                let is_it = |controllers: &str| of(controllers) && has_all(options, controllers);
                membership(memberships, is_it)
            }
            _ => None,
        }?;
        let below = Path::new(path)
            .strip_prefix(root)
            .unwrap_or(OsStr::new("").as_ref());
        Some(Path::new(point).join(below))
    };
    mounts.lines().filter_map(group).collect()
}

fn has_all(options: &str, controllers: &str) -> bool {
    let options: Vec<&str> = options.split(',').collect();
    controllers
        .split(',')
        .all(|controller| options.contains(&controller))
}

/// The path of the line `NUMBER:CONTROLLERS:PATH` whose controllers are those.
fn membership(lines: &str, is_it: impl Fn(&str) -> bool) -> Option<&str> {
    lines.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        is_it(controllers).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_groups_are_found_in_both_kinds_of_hierarchy() {
        let mounts = "\
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 25 0:27 /docker/1 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 25 0:30 / /tmp rw - tmpfs tmpfs rw\n";
        let memberships = "4:memory:/a/b\n3:cpu,cpuacct:/docker/1/x\n2:blkio:/\n0::/\n";
        let expected = [
            "/sys/fs/cgroup/memory/a/b",
            "/sys/fs/cgroup/cpu/x",
            "/sys/fs/cgroup/unified/",
        ];
        assert_eq!(own_groups(mounts, memberships), expected.map(PathBuf::from));
    }

    #[test]
    fn a_command_enters_the_groups_first() {
        let groups = vec![PathBuf::from("/g/1")];
        let mut command = Command::new("setpriv");
        command.arg("x");
        let delegation = std::mem::ManuallyDrop::new(Delegation { groups });
        let inside = delegation.enter(&command);
        let words: Vec<_> = inside.get_args().skip(2).collect();
        assert_eq!(words, ["sh", "/g/1", "--", "setpriv", "x"]);
    }
}
