//! Building an instance's root file system, in its child process, before anything of the instance
//! runs: the pieces of the plan, the kernel's own file systems, what the file mounts, and then
//! the change into it.

use std::fs::{self, DirBuilder, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use super::plan::{Mounts, Piece};
use super::tree::{
    Access, Tree, attach, bind_onto, copy, mount_onto, path_of, set_only_this_read_only,
};
use super::{Layout, Setting, devices};
use crate::failure::{Attempt, Failure};
use crate::keeper::channel::Channel;
use crate::keeper::protocol::{FromInit, Missing, Mount, RootAccess, WrittenFile};

/// Where the running executable is inside every instance; the directory is last in its PATH.
pub(crate) const EXECUTABLES: &str = "/.roads/bin";

/// Mounts ahead of need what an instance has of its own whatever its root is. The process must be
/// alone in a new mount namespace. That still follows the machine's mounts: so an old one of this
/// process keeps no disk busy.
pub(crate) fn prepare(setting: &Setting<'_>) -> Result<(), Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount(
        "tmpfs",
        setting.skeleton,
        "tmpfs",
        flags,
        c"mode=755,size=64k",
    )
    .attempt(|| "cannot mount what is prepared for instances")?;
    devices::mount_kernel_filesystems(&Tree::open(setting.skeleton)?)
}

/// Builds the root and makes it the calling process's own; [`prepare`] comes before. The layers of
/// the machine's file system, which take longest, are those given, or mounted anew. The keeper gets
/// a copy of them for the instance's next life.
pub(crate) fn build(
    layout: &Layout<'_>,
    layers: Option<OwnedFd>,
    channel: &Channel,
) -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).attempt(|| "cannot make the mounts private")?;
    let root = layout.private.join("root");
    match layers {
        Some(layers) => attach(layers, Tree::open(&root)?.root())
            .attempt(|| "cannot mount the private layers again")?,
        None => lay(layout, &root)?,
    }
    let copy = copy(&root).attempt(|| "cannot keep the private layers")?;
    channel
        .send(&FromInit::Layers, &[copy.as_fd()])
        .attempt(|| "cannot hand the private layers over")?;
    let tree = Tree::open(&root)?;
    devices::show(layout.setting.skeleton, &tree)?;
    hide(layout, &tree)?;
    mount_own_files(layout, &tree)?;
    let pieces = pieces(layout, &tree)?;
    for (index, wished) in layout.wish.mounts.iter().enumerate() {
        mount_wished(layout, &tree, wished, index)?;
    }
    for (index, file) in layout.wish.files.iter().enumerate() {
        show_file(layout, &tree, file, index)?;
    }
    for piece in &pieces {
        set_only_this_read_only(piece).attempt(|| "cannot make the root read-only")?;
    }
    enter(&tree)
}

/// Makes the plan's pieces true at `root`, which is a mount afterwards.
fn lay(layout: &Layout<'_>, root: &Path) -> Result<(), Failure> {
    make_directory(root, 0o755)?;
    let is_overlay = |piece: &Piece| matches!(piece, Piece::Overlay { .. });
    let first_is_overlay = layout
        .setting
        .plan
        .pieces
        .first()
        .is_some_and(|(_, p)| is_overlay(p));
    if !first_is_overlay {
        mount_bind(root, root).attempt(|| "cannot mount the private root")?;
    }
    let mut tree = None;
    for (path, piece) in &layout.setting.plan.pieces {
        if path == Path::new("/") {
            if let Piece::Overlay { mode } = piece {
                prepare_layer(layout, path, *mode)?;
                mount_overlay(layout, path, root)?;
            }
            continue;
        }
        if tree.is_none() {
            tree = Some(Tree::open(root)?);
        }
        let tree = tree.as_ref().expect("it was just opened");
        lay_piece(layout, tree, path, piece)?;
    }
    Ok(())
}

fn lay_piece(layout: &Layout<'_>, tree: &Tree, path: &Path, piece: &Piece) -> Result<(), Failure> {
    match piece {
        Piece::Directory { mode } => {
            tree.directory(path, *mode)?;
        }
        Piece::Link { target } => {
            let link = layout.private.join("root").join(inside(path));
            match symlink(target, link) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).attempt(|| format!("cannot link {}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Piece::Overlay { mode } => {
            prepare_layer(layout, path, *mode)?;
            let target = tree.directory(path, *mode)?;
            mount_overlay(layout, path, Path::new(&path_of(&target)))?;
        }
        Piece::ReadOnly => {
            let target = tree.directory(path, 0o755)?;
            bind_onto(path, target, Access::ReadOnly)
                .attempt(|| format!("cannot show {}", path.display()))?;
        }
    }
    Ok(())
}

/// Makes the upper and work directories of one overlay, once in an instance's life.
fn prepare_layer(layout: &Layout<'_>, path: &Path, mode: u32) -> Result<(), Failure> {
    let (upper, work) = layers(path);
    let (upper, work) = (layout.private.join(upper), layout.private.join(work));
    if upper.exists() {
        // It was mounted with `volatile`, which leaves this to be taken away before the next time.
        let _ = fs::remove_dir_all(work.join("work/incompat"));
        return Ok(());
    }
    make_directory(&work, 0o700)?;
    make_directory(&upper, mode)?;
    for writable in &layout.setting.plan.writable {
        let Ok(below) = writable.strip_prefix(path) else {
            continue;
        };
        if below.as_os_str().is_empty() {
            continue;
        }
        let mode = if below.ends_with("tmp") {
            0o1777
        } else {
            0o755
        };
        make_directory(&upper.join(below), mode)?;
    }
    if path == Path::new("/") {
        make_directory(&upper.join(inside(Path::new(EXECUTABLES))), 0o755)?;
    }
    Ok(())
}

/// The names of a piece's layers: one directory each, whatever the path.
fn layers(path: &Path) -> (PathBuf, PathBuf) {
    let name = path.to_string_lossy().replace('%', "%25").replace('/', "%");
    (
        Path::new("upper").join(&name),
        Path::new("work").join(&name),
    )
}

/// The working directory is the private one, so that names there need no escaping.
fn mount_overlay(layout: &Layout<'_>, lower: &Path, target: &Path) -> Result<(), Failure> {
    let (upper, work) = layers(lower);
    let escaped = escape(lower);
    let (upper, work) = (upper.display(), work.display());
    let user = if layout.setting.mounts == Mounts::Locked {
        ",userxattr"
    } else {
        ""
    };
    let data = format!("lowerdir={escaped},upperdir={upper},workdir={work},volatile{user}");
    let data = std::ffi::CString::new(data).attempt(|| "a path has a zero byte")?;
    let flags = MountFlags::empty();
    mount("overlay", target, "overlay", flags, data.as_c_str())
        .map_err(|errno| overlay_failure(lower, errno))
}

/// Overlayfs takes `\` before what would end a path in its options.
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for letter in path.to_string_lossy().chars() {
        if [':', ',', '\\'].contains(&letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Says what to do where the kernel does not let us.
pub(crate) fn overlay_failure(lower: &Path, errno: Errno) -> Failure {
    let what = format!("cannot put a private layer over {}", lower.display());
    match errno {
        Errno::NODEV => Failure::forbidden(
            what,
            "this kernel has no overlayfs",
            "load it as root: modprobe overlay",
        ),
        Errno::PERM => Failure::forbidden(
            what,
            "this kernel lets no ordinary user mount an overlay",
            "use Linux 5.11 or later, or run the daemon as root",
        ),
        errno => Failure::failed(what, errno),
    }
}

/// Covers what is ours with nothing.
fn hide(layout: &Layout<'_>, tree: &Tree) -> Result<(), Failure> {
    for path in layout.setting.hidden {
        let Some(found) = tree.find(path, OFlags::DIRECTORY | OFlags::NOFOLLOW)? else {
            continue;
        };
        mount_onto(found, "tmpfs", MountFlags::RDONLY, "size=4k,mode=000")
            .attempt(|| format!("cannot hide {}", path.display()))?;
    }
    Ok(())
}

/// The files that name things, and the executable.
fn mount_own_files(layout: &Layout<'_>, tree: &Tree) -> Result<(), Failure> {
    for name in ["hosts", "resolv.conf", "hostname"] {
        let path = Path::new("/etc").join(name);
        let what = || format!("cannot give the instance its {}", path.display());
        replace_link(layout, &path).attempt(what)?;
        let target = tree.file(&path)?;
        let source = layout.private.join("etc").join(name);
        bind_onto(&source, target, Access::Write).attempt(what)?;
    }
    let target = tree.file(&Path::new(EXECUTABLES).join("roads"))?;
    bind_onto(layout.setting.executable, target, Access::ReadOnly)
        .attempt(|| "cannot show the instance the roads executable")
}

/// `/etc/resolv.conf` is often a link into `/run`, which the instance has of its own: then a file
/// takes its place in the private layer.
fn replace_link(layout: &Layout<'_>, path: &Path) -> std::io::Result<()> {
    let root = layout.private.join("root");
    let etc = root.join("etc");
    let path = root.join(inside(path));
    if fs::symlink_metadata(&etc)?.is_dir() && path.is_symlink() {
        fs::remove_file(&path)?;
        fs::write(&path, "")?;
    }
    Ok(())
}

fn mount_wished(
    layout: &Layout<'_>,
    tree: &Tree,
    wished: &Mount,
    index: usize,
) -> Result<(), Failure> {
    match wished {
        Mount::Bind {
            source,
            target,
            access,
            missing,
        } => bind(tree, source, target, *access, *missing),
        Mount::Volume {
            name,
            target,
            access,
        } => {
            let source = match name {
                Some(name) => layout.volumes.join(name),
                None => layout.private.join("volumes").join(index.to_string()),
            };
            if !source.exists() {
                // The program's user writes it; that is what a volume is for.
                make_directory(&source, 0o755)?;
                let user = super::ids::resolve(layout.wish.program.user.as_deref())?;
                if !layout.setting.ids.is_single() {
                    std::os::unix::fs::chown(&source, Some(user.user), Some(user.group))
                        .attempt(|| format!("cannot give away volume {}", source.display()))?;
                }
            }
            bind(tree, &source, target, *access, Missing::Fail)
        }
        Mount::Tmpfs {
            target,
            size_max,
            mode,
        } => {
            let size = size_max.map_or(String::new(), |size| format!(",size={size}"));
            let mode = mode.unwrap_or(0o1777) & 0o7777;
            let found = tree.directory(target, 0o755)?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount_onto(found, "tmpfs", flags, &format!("mode={mode:o}{size}"))
                .attempt(|| format!("cannot mount memory at {}", target.display()))
        }
    }
}

/// Writes a file beside the private root and shows it inside, where it cannot be written.
fn show_file(
    layout: &Layout<'_>,
    tree: &Tree,
    file: &WrittenFile,
    index: usize,
) -> Result<(), Failure> {
    let what = || format!("cannot write {}", file.target.display());
    let folder = layout.private.join("files");
    make_directory(&folder, 0o755)?;
    let source = folder.join(index.to_string());
    // What an earlier start has written cannot be written again.
    match fs::remove_file(&source) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).attempt(what)?,
        Ok(()) | Err(_) => {}
    }
    fs::write(&source, &file.content).attempt(what)?;
    fs::set_permissions(&source, Permissions::from_mode(file.mode & 0o7777)).attempt(what)?;
    let read_only = RootAccess::ReadOnly;
    bind(tree, &source, &file.target, read_only, Missing::Fail)
}

fn bind(
    tree: &Tree,
    source: &Path,
    target: &Path,
    access: RootAccess,
    missing: Missing,
) -> Result<(), Failure> {
    let what = || format!("cannot mount {} at {}", source.display(), target.display());
    let found = match (fs::metadata(source), missing) {
        (Err(error), Missing::Create) if error.kind() == std::io::ErrorKind::NotFound => {
            make_directory(source, 0o755)?;
            fs::metadata(source).attempt(what)?
        }
        (Err(error), Missing::Fail) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::forbidden(
                what(),
                format!("{} does not exist", source.display()),
                "make it, or use the short syntax, which makes a directory",
            ));
        }
        (found, Missing::Create | Missing::Fail) => found.attempt(what)?,
    };
    let onto = if found.is_dir() {
        tree.directory(target, 0o755)?
    } else {
        tree.file(target)?
    };
    let access = match access {
        RootAccess::Write => Access::Write,
        RootAccess::ReadOnly => Access::ReadOnly,
    };
    bind_onto(source, onto, access).attempt(what)
}

/// The mounts of a root that is to be read-only, opened before anything is mounted over them; what
/// is mounted on purpose stays as it is.
fn pieces(layout: &Layout<'_>, tree: &Tree) -> Result<Vec<OwnedFd>, Failure> {
    if layout.wish.root == RootAccess::Write {
        return Ok(Vec::new());
    }
    let overlays = layout
        .setting
        .plan
        .pieces
        .iter()
        .filter_map(|(path, piece)| match piece {
            Piece::Overlay { .. } => Some(path.as_path()),
            Piece::Directory { .. } | Piece::Link { .. } | Piece::ReadOnly => None,
        });
    let mut found = Vec::new();
    for path in overlays.chain([Path::new("/")]) {
        found.extend(tree.find(path, OFlags::DIRECTORY)?);
    }
    Ok(found)
}

/// Makes the tree the process's root, and lets go of the machine's.
fn enter(tree: &Tree) -> Result<(), Failure> {
    let what = || "cannot change into the private root";
    rustix::process::fchdir(tree.root()).attempt(what)?;
    rustix::process::pivot_root(".", ".").attempt(what)?;
    // The old root now lies over the new one.
    unmount(".", UnmountFlags::DETACH).attempt(what)?;
    rustix::process::chdir("/").attempt(what)
}

fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Makes a directory with exactly this mode, and those above it as usual.
fn make_directory(path: &Path, mode: u32) -> Result<(), Failure> {
    let what = || format!("cannot make directory {}", path.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .attempt(what)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).attempt(what)
}
