//! What an instance's root file system is made of, for `image: host`.
//!
//! As root one overlay over `/` does. In a user namespace it does not: the mounts that came from
//! the machine are locked there, and an overlay whose lower directory has locked mounts below it
//! is refused (EINVAL, "failed to clone lowerpath"). So the root is then a private directory, and
//! each directory of the machine without mounts below it gets an overlay of its own; one with
//! mounts below is taken apart. Mounts of disks get overlays too, other real ones are shown
//! read-only, and what is pseudo, volatile or ours is left out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// What an instance gets of its own instead.
const OWN: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/lost+found"];
/// File systems on disks, which an overlay may lie over.
const DISKS: [&str; 8] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs",
];
/// Others that hold files of people.
const FOREIGN: [&str; 12] = [
    "nfs", "nfs4", "cifs", "9p", "virtiofs", "vfat", "exfat", "ntfs3", "iso9660", "squashfs",
    "overlay", "erofs",
];
/// Beyond this many, mounting them would take longer than a start may; the rest is read-only.
const OVERLAYS_MAX: usize = 24;
/// Directories of the machine that a program may expect to write to. They get private upper
/// directories from the start, since in a user namespace the machine's root owns them there.
const WRITABLE: [&str; 6] = [
    "var/lib",
    "var/log",
    "var/cache",
    "var/spool",
    "var/tmp",
    "usr/local",
];

/// What a path of the root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A directory of the instance's own.
    Directory { mode: u32 },
    /// A symbolic link as the machine has it.
    Link { target: PathBuf },
    /// The machine's directory under a private layer.
    Overlay { mode: u32 },
    /// The machine's directory as it is.
    ReadOnly,
}

/// The pieces, outer ones first, by their absolute paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) pieces: Vec<(PathBuf, Piece)>,
    /// Directories below overlays that are writable from the start.
    pub(crate) writable: Vec<PathBuf>,
    overlays: usize,
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLine {
    pub(crate) root: PathBuf,
    pub(crate) point: PathBuf,
    pub(crate) kind: String,
    pub(crate) options: String,
}

/// Whether the machine's mounts are locked, as they are in a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounts {
    Free,
    Locked,
}

impl Plan {
    /// Looks at the machine.
    pub(crate) fn make(mounts: &[MountLine], state: Mounts) -> Self {
        let mut plan = Self::default();
        let points: BTreeSet<&Path> = mounts.iter().map(|line| line.point.as_path()).collect();
        match state {
            Mounts::Free => plan.overlay(Path::new("/")),
            Mounts::Locked => plan.take_apart(Path::new("/"), &points),
        }
        for line in mounts {
            plan.add_mount(line, &points, state);
        }
        if state == Mounts::Locked {
            let is_there = |path: &PathBuf| path.is_dir() && plan.has_overlay_above(path);
            plan.writable = WRITABLE
                .iter()
                .map(|path| Path::new("/").join(path))
                .filter(is_there)
                .collect();
        }
        plan
    }

    fn add_mount(&mut self, line: &MountLine, points: &BTreeSet<&Path>, state: Mounts) {
        let is_own = OWN.iter().any(|own| line.point.starts_with(own));
        let is_planned = self.pieces.iter().any(|(path, _)| *path == line.point);
        if is_own || line.point == Path::new("/") || is_planned || !line.point.is_dir() {
            return;
        }
        let kind = line.kind.as_str();
        if DISKS.contains(&kind) && (state == Mounts::Free || !has_below(&line.point, points)) {
            self.overlay(&line.point);
        } else if FOREIGN.contains(&kind) || kind.starts_with("fuse") || DISKS.contains(&kind) {
            self.pieces.push((line.point.clone(), Piece::ReadOnly));
        }
    }

    fn overlay(&mut self, path: &Path) {
        self.overlays += 1;
        let piece = if self.overlays > OVERLAYS_MAX {
            Piece::ReadOnly
        } else {
            Piece::Overlay {
                mode: mode_of(path),
            }
        };
        self.pieces.push((path.to_owned(), piece));
    }

    fn take_apart(&mut self, path: &Path, points: &BTreeSet<&Path>) {
        let mode = mode_of(path);
        self.pieces
            .push((path.to_owned(), Piece::Directory { mode }));
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        entries.sort();
        for entry in entries {
            let Ok(found) = fs::symlink_metadata(&entry) else {
                continue;
            };
            if OWN.iter().any(|own| entry == Path::new(own)) {
                continue;
            }
            if let (true, Ok(target)) = (found.is_symlink(), fs::read_link(&entry)) {
                self.pieces.push((entry, Piece::Link { target }));
            } else if found.is_dir() {
                self.directory(entry, points);
            }
        }
    }

    fn directory(&mut self, path: PathBuf, points: &BTreeSet<&Path>) {
        let readable = rustix::fs::access(&path, Access::READ_OK | Access::EXEC_OK).is_ok();
        let is_empty = || fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
        if points.contains(path.as_path()) || !readable || is_empty() {
            // A mount is added by what it is; the rest has nothing to show.
            let mode = mode_of(&path);
            self.pieces.push((path, Piece::Directory { mode }));
        } else if has_below(&path, points) {
            self.take_apart(&path, points);
        } else {
            self.overlay(&path);
        }
    }

    fn has_overlay_above(&self, path: &Path) -> bool {
        let above = self
            .pieces
            .iter()
            .rev()
            .find(|(piece, _)| path.starts_with(piece));
        matches!(above, Some((_, Piece::Overlay { .. })))
    }
}

/// Whether a path is one of those an instance gets of its own, or below one.
pub(crate) fn is_own(path: &Path) -> bool {
    OWN.iter().any(|own| path.starts_with(own))
}

fn has_below(path: &Path, points: &BTreeSet<&Path>) -> bool {
    points
        .iter()
        .any(|point| point.starts_with(path) && *point != path)
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).map_or(0o755, |found| found.mode() & 0o7777)
}

/// Reads mountinfo; lines that are not as the manual says are left out.
pub(crate) fn parse_mounts(text: &str) -> Vec<MountLine> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<MountLine> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (unescape(mount.next()?), unescape(mount.next()?));
    let mut filesystem = filesystem.split(' ');
    let kind = filesystem.next()?.to_owned();
    let options = filesystem.nth(1).unwrap_or_default().to_owned();
    Some(MountLine {
        root,
        point,
        kind,
        options,
    })
}

/// Space, tab, line feed and backslash are written as `\` and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            Some(_) | None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext4 /dev/root rw,errors=continue\nx\n";
        let expected = MountLine {
            root: "/mnt1".into(),
            point: "/mnt 2".into(),
            kind: "ext4".into(),
            options: "rw,errors=continue".into(),
        };
        assert_eq!(parse_mounts(text), [expected]);
    }

    #[test]
    fn where_mounts_are_free_one_overlay_is_the_root() {
        let plan = Plan::make(&[], Mounts::Free);
        assert_eq!(plan.pieces.len(), 1);
        assert!(matches!(plan.pieces[0].1, Piece::Overlay { .. }));
    }

    #[test]
    fn where_mounts_are_locked_no_overlay_has_a_mount_below() {
        let mounts = parse_mounts("1 0 0:1 / /usr/share rw - tmpfs none rw\n");
        let plan = Plan::make(&mounts, Mounts::Locked);
        let usr = plan
            .pieces
            .iter()
            .find(|(path, _)| path == Path::new("/usr"));
        assert!(matches!(usr, Some((_, Piece::Directory { .. }))), "{usr:?}");
        let etc = plan
            .pieces
            .iter()
            .find(|(path, _)| path == Path::new("/etc"));
        assert!(matches!(etc, Some((_, Piece::Overlay { .. }))), "{etc:?}");
        assert!(
            !plan
                .pieces
                .iter()
                .any(|(path, _)| path.starts_with("/proc"))
        );
    }
}
