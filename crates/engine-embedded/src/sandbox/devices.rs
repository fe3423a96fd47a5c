//! The kernel's own file systems inside an instance: /proc, /sys, /dev, /run and /tmp.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::tree::{Access, Tree, bind_onto, mount_onto, move_onto};
use crate::failure::{Attempt, Failure};

/// Devices that every program may expect; they do no harm.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];
/// What of /proc speaks about or to the whole machine. As Docker: the first may be read, of the
/// second nothing is seen.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
const MASKED_FILES: [&str; 7] = [
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
];
const MASKED_DIRECTORIES: [&str; 5] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What is mounted here at the top of a root.
const MOUNTS: [&str; 5] = ["proc", "sys", "tmp", "run", "dev"];

/// Mounts them all, in a tree that is not yet the root.
pub(crate) fn mount_kernel_filesystems(tree: &Tree) -> Result<(), Failure> {
    let strict = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let loose = MountFlags::NOSUID | MountFlags::NODEV;
    mount_at(tree, "/proc", "proc", strict, "").map_err(|(what, errno)| match errno {
        Errno::PERM => Failure::forbidden(
            what,
            "part of this machine's own /proc is covered, so a new one would show too much",
            "run the daemon outside of a container, or in one with an uncovered /proc",
        ),
        errno => Failure::failed(what, errno),
    })?;
    let failed = |(what, errno)| Failure::failed(what, errno);
    mount_at(tree, "/sys", "sysfs", strict | MountFlags::RDONLY, "")
        .or_else(|_| share_sys(tree))?;
    mount_at(tree, "/tmp", "tmpfs", loose, "mode=1777,size=1g").map_err(failed)?;
    mount_at(tree, "/run", "tmpfs", loose, "mode=755,size=128m").map_err(failed)?;
    tree.directory(Path::new("/run/lock"), 0o1777)?;
    let devices = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_at(tree, "/dev", "tmpfs", devices, "mode=755,size=64k").map_err(failed)?;
    fill_devices(tree, strict)?;
    guard(tree)
}

/// Moves them from the tree at `skeleton` into a root.
pub(crate) fn show(skeleton: &Path, tree: &Tree) -> Result<(), Failure> {
    for name in MOUNTS {
        let target = tree.directory(&Path::new("/").join(name), 0o755)?;
        move_onto(&skeleton.join(name), target).attempt(|| format!("cannot mount /{name}"))?;
    }
    Ok(())
}

type MountError = (String, Errno);

fn mount_at(
    tree: &Tree,
    path: &str,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> Result<(), MountError> {
    let what = || format!("cannot mount {path}");
    let target = tree
        .directory(Path::new(path), 0o755)
        .map_err(|_| (what(), Errno::NOTDIR))?;
    mount_onto(target, kind, flags, data).map_err(|errno| (what(), errno))
}

/// Where a sysfs of its own is refused, the machine's is shown, read-only.
fn share_sys(tree: &Tree) -> Result<(), Failure> {
    let target = tree.directory(Path::new("/sys"), 0o755)?;
    bind_onto(Path::new("/sys"), target, Access::ReadOnly).attempt(|| "cannot mount /sys")
}

fn fill_devices(tree: &Tree, strict: MountFlags) -> Result<(), Failure> {
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        let target = tree.file(&path)?;
        bind_onto(&path, target, Access::Write)
            .attempt(|| format!("cannot show {}", path.display()))?;
    }
    for (to, link) in LINKS {
        symlinkat(to, tree.root(), link.trim_start_matches('/'))
            .attempt(|| format!("cannot link {link}"))?;
    }
    let failed = |(what, errno)| Failure::failed(what, errno);
    let terminals = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_at(
        tree,
        "/dev/pts",
        "devpts",
        terminals,
        "newinstance,ptmxmode=0666,mode=620",
    )
    .map_err(failed)?;
    mount_at(tree, "/dev/shm", "tmpfs", strict, "mode=1777,size=64m").map_err(failed)?;
    // A kernel without POSIX message queues has no instance that uses them.
    let _ = mount_at(tree, "/dev/mqueue", "mqueue", strict, "");
    Ok(())
}

/// Guards what speaks to the whole machine; a kernel need not have each.
fn guard(tree: &Tree) -> Result<(), Failure> {
    for path in READ_ONLY {
        if let Some(target) = tree.find(Path::new(path), OFlags::empty())? {
            let source = super::tree::path_of(&target);
            bind_onto(Path::new(&source), &target, Access::ReadOnly)
                .attempt(|| format!("cannot guard {path}"))?;
        }
    }
    for path in MASKED_FILES {
        if let Some(target) = tree.find(Path::new(path), OFlags::empty())? {
            bind_onto(Path::new("/dev/null"), target, Access::Write)
                .attempt(|| format!("cannot mask {path}"))?;
        }
    }
    for path in MASKED_DIRECTORIES {
        if let Some(target) = tree.find(Path::new(path), OFlags::DIRECTORY)? {
            mask(&target).attempt(|| format!("cannot mask {path}"))?;
        }
    }
    Ok(())
}

fn mask(target: &OwnedFd) -> Result<(), Errno> {
    mount_onto(
        target.as_fd(),
        "tmpfs",
        MountFlags::RDONLY,
        "size=4k,mode=555",
    )
}
