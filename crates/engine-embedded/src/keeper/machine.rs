//! What the keeper learns of the machine when it starts, and what it prepares for all instances.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::BpfProgram;

use crate::Home;
use crate::cgroup::Cgroups;
use crate::failure::{Attempt, Failure};
use crate::sandbox::ids::IdMap;
use crate::sandbox::plan::{self, MountLine, Mounts, Plan};
use crate::sandbox::tree::{Access, Tree, bind_onto};
use crate::sandbox::{Setting, clone, root, seccomp};

/// The same for all instances of this keeper.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) home: Home,
    plan: Plan,
    mounts: Mounts,
    pub(crate) ids: IdMap,
    filter: BpfProgram,
    pub(crate) cgroups: Cgroups,
    /// Our directories that instances would see otherwise.
    hidden: Vec<PathBuf>,
    /// The running executable, inside the stage.
    executable: PathBuf,
    /// An empty directory there.
    skeleton: PathBuf,
    /// How many files programs may open; the keeper itself may open more.
    descriptors: Rlimit,
    /// What this machine keeps instances from, in sentences.
    pub(crate) shortcomings: Vec<String>,
    mountinfo: File,
}

impl Machine {
    /// Moves the calling process into a mount namespace of its own and prepares it.
    pub(crate) fn prepare(home: Home, starter: u32) -> Result<Self, Failure> {
        clone::unshare(libc::CLONE_NEWNS).attempt(|| "cannot make a mount namespace")?;
        let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", downstream).attempt(|| "cannot keep the mounts to ourselves")?;
        let map = fs::read_to_string("/proc/self/uid_map").attempt(|| "cannot read the id map")?;
        let ids = IdMap::parse(&map);
        let mounts = if is_initial_namespace(&map) {
            Mounts::Free
        } else {
            Mounts::Locked
        };
        let mountinfo = File::open("/proc/self/mountinfo").attempt(|| "cannot list the mounts")?;
        let lines = mount_lines(&home)?;
        let cgroups = Cgroups::discover(&lines, starter);
        let (executable, skeleton) = set_stage(&home)?;
        let mut shortcomings = cgroups.shortcomings();
        shortcomings.extend(try_overlay(&home, mounts)?);
        if ids.is_single() {
            shortcomings.push(
                "instances have one user id: install newuidmap (package uidmap) and give your \
                 user a range in /etc/subuid and /etc/subgid"
                    .to_owned(),
            );
        }
        let hidden = [&home.state, &home.runtime]
            .into_iter()
            .filter(|p| !plan::is_own(p));
        Ok(Self {
            plan: Plan::make(&lines, mounts),
            mounts,
            ids,
            filter: seccomp::compile()?,
            cgroups,
            hidden: hidden.cloned().collect(),
            executable,
            skeleton,
            descriptors: raise_descriptors(),
            shortcomings,
            mountinfo,
            home,
        })
    }

    /// What all instances have alike.
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting {
            plan: &self.plan,
            mounts: self.mounts,
            ids: &self.ids,
            hidden: &self.hidden,
            executable: &self.executable,
            skeleton: &self.skeleton,
            filter: &self.filter,
            descriptors: self.descriptors,
        }
    }

    /// Looks at the mounts again when they changed since; whether the root is now made of other
    /// pieces.
    pub(crate) fn refresh(&mut self) -> Result<Pieces, Failure> {
        let mut watched = [PollFd::new(&self.mountinfo, PollFlags::PRI)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let changed = poll(&mut watched, Some(&now)).attempt(|| "cannot watch the mounts")?;
        if changed == 0 {
            return Ok(Pieces::AsBefore);
        }
        self.plan = Plan::make(&mount_lines(&self.home)?, self.mounts);
        Ok(Pieces::Others)
    }
}

/// Whether the pieces that a root is made of are those of the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    AsBefore,
    Others,
}

/// Whether user ids are the machine's own, all of them: then mounts are not locked.
fn is_initial_namespace(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The machine's mounts without ours.
fn mount_lines(home: &Home) -> Result<Vec<MountLine>, Failure> {
    let text = fs::read_to_string("/proc/self/mountinfo").attempt(|| "cannot list the mounts")?;
    let mut lines = plan::parse_mounts(&text);
    let ours = [home.stage(), home.instances()];
    lines.retain(|line| !ours.iter().any(|own| line.point.starts_with(own)));
    Ok(lines)
}

/// Mounts the stage, which only this mount namespace and its children see: the executable, and an
/// empty directory to mount on.
fn set_stage(home: &Home) -> Result<(PathBuf, PathBuf), Failure> {
    let stage = home.stage();
    let what = || "cannot prepare what instances share";
    crate::home::make_private(&stage).attempt(what)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", &stage, "tmpfs", flags, c"mode=700,size=1m").attempt(what)?;
    let executable = std::env::current_exe().attempt(|| "cannot find the running executable")?;
    let tree = Tree::open(&stage)?;
    bind_onto(
        &executable,
        tree.file(Path::new("/roads"))?,
        Access::ReadOnly,
    )
    .attempt(|| format!("cannot share {} with instances", executable.display()))?;
    tree.directory(Path::new("/skeleton"), 0o700)?;
    Ok((stage.join("roads"), stage.join("skeleton")))
}

/// Where the state's file system cannot carry private layers, memory does, as long as the keeper
/// lives. A sentence in that case.
fn try_overlay(home: &Home, mounts: Mounts) -> Result<Option<String>, Failure> {
    let trial = home.trash().join(format!("trial-{}", std::process::id()));
    let names = ["lower", "upper", "work", "merged"];
    let [lower, upper, work, merged] = names.map(|name| trial.join(name));
    for directory in [&lower, &upper, &work, &merged] {
        crate::home::make_private(directory).attempt(|| "cannot make a private layer")?;
    }
    let user = if mounts == Mounts::Locked {
        ",userxattr"
    } else {
        ""
    };
    // Relative, so that no name needs escaping.
    rustix::process::chdir(&trial).attempt(|| "cannot enter a private layer")?;
    let data = format!("lowerdir=lower,upperdir=upper,workdir=work,volatile{user}");
    let data = std::ffi::CString::new(data).attempt(|| "a path has a zero byte")?;
    let outcome = mount(
        "overlay",
        &merged,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    );
    if outcome.is_ok() {
        let _ = unmount(&merged, UnmountFlags::DETACH);
    }
    let _ = rustix::process::chdir("/");
    let _ = fs::remove_dir_all(&trial);
    match outcome {
        Ok(()) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount("tmpfs", home.instances(), "tmpfs", flags, c"mode=700")
                .attempt(|| "cannot keep private layers in memory")?;
            Ok(Some(format!(
                "instances keep their private files in memory: the file system of {} cannot \
                 carry an overlay; set ROADS_STATE_DIR to a directory on ext4, xfs or btrfs",
                home.state.display()
            )))
        }
        Err(errno) => Err(root::overlay_failure(&home.state, errno)),
    }
}

/// The keeper holds some fifteen descriptors an instance; the limit as it was before.
fn raise_descriptors() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // What cannot be raised bounds how many instances there can be.
    let _ = setrlimit(Resource::Nofile, raised);
    before
}
