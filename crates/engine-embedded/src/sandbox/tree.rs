//! A root file system while it is being built: directories and files inside it, and mounts onto
//! them. No path inside can lead out, whatever symbolic links an instance left there (openat2 with
//! `RESOLVE_IN_ROOT`).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use crate::failure::{Attempt, Failure};

/// The root of what is being built.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

/// Whether what is mounted may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    ReadOnly,
}

impl Tree {
    /// The tree whose root is what is mounted at `path` now.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .attempt(|| format!("cannot open {}", path.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a path inside; `None` when it is not there.
    pub(crate) fn find(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>, Failure> {
        match self.open_inside(path, flags | OFlags::PATH, Mode::empty()) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(Failure::failed(
                format!("cannot open {}", path.display()),
                errno,
            )),
        }
    }

    /// A directory inside, made with those above it where they are missing.
    pub(crate) fn directory(&self, path: &Path, mode: u32) -> Result<OwnedFd, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let what = || format!("cannot make directory {} in the root", path.display());
        match self.open_inside(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            outcome => return outcome.attempt(what),
        }
        let mut made = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            let parent = self
                .open_inside(&made, flags, Mode::empty())
                .attempt(what)?;
            match mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).attempt(what),
            }
            made.push(name);
        }
        self.open_inside(path, flags, Mode::empty()).attempt(what)
    }

    /// A file inside to mount onto, made empty where it is missing.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd, Failure> {
        if let Ok(found) = self.open_inside(path, OFlags::PATH, Mode::empty()) {
            return Ok(found);
        }
        if let Some(parent) = path.parent() {
            self.directory(parent, 0o755)?;
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOCTTY;
        self.open_inside(path, flags, Mode::from_raw_mode(0o644))
            .attempt(|| format!("cannot make file {} in the root", path.display()))
    }

    fn open_inside(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something was renamed meanwhile (openat2(2)).
        loop {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                outcome => return outcome,
            }
        }
    }
}

/// The path by which system calls that take paths reach an open file.
pub(crate) fn path_of(descriptor: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

/// Mounts a file system onto an open directory.
pub(crate) fn mount_onto(
    target: impl AsFd,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> Result<(), Errno> {
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    mount(kind, path_of(&target), kind, flags, data.as_c_str())
}

/// Mounts what is at `source` (and what is mounted below it) onto an open file or directory.
pub(crate) fn bind_onto(source: &Path, target: impl AsFd, access: Access) -> Result<(), Errno> {
    let tree = copy(source)?;
    if access == Access::ReadOnly {
        set_read_only(&tree)?;
    }
    attach(tree, target)
}

/// A copy of what is at `source` and mounted below it, mounted nowhere. It lives as long as the
/// descriptor, also in another process.
pub(crate) fn copy(source: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, source, flags)
}

/// Mounts such a copy onto an open file or directory.
pub(crate) fn attach(copy: OwnedFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&copy, "", target, "", flags)
}

/// Moves what is mounted at `source` onto an open directory.
pub(crate) fn move_onto(source: &Path, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(CWD, source, target, "", flags)
}

/// Makes a mount, and those below it, read-only without touching their other attributes.
fn set_read_only(mount: impl AsFd) -> Result<(), Errno> {
    set_attribute(mount, libc::AT_RECURSIVE)
}

/// Makes one mount read-only; those below it stay as they are.
pub(crate) fn set_only_this_read_only(mount: impl AsFd) -> Result<(), Errno> {
    set_attribute(mount, 0)
}

fn set_attribute(mount: impl AsFd, flags: i32) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open, the path is an empty C string, and the structure lives
    // through the call with its true size.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// What the last system call made through `libc` set.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
