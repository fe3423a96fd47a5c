//! What an instance's root may still do.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::tree::last_errno;

/// Docker's default set without `NET_RAW`, `MKNOD` and `AUDIT_WRITE`. They count in the instance's
/// own user namespace only, which owns none of its other namespaces: so they say whose files its
/// root may touch and which user ids it may take, and nothing of mounts, networks or the machine.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SETFCAP);

/// Takes everything but [`KEPT`] from the bounding set, so that no program gets it back.
pub(crate) fn bound() -> Result<(), Errno> {
    for number in 0..64 {
        if KEPT.bits() & (1 << number) != 0 {
            continue;
        }
        // SAFETY: the call takes numbers only.
        let outcome = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        match outcome {
            0 => {}
            // Beyond the last that this kernel knows.
            _ if last_errno() == Errno::INVAL => break,
            _ => return Err(last_errno()),
        }
    }
    Ok(())
}

/// Leaves root with [`KEPT`] and nothing to inherit.
pub(crate) fn keep_for_root() -> Result<(), Errno> {
    set(KEPT)
}

/// Leaves nothing.
pub(crate) fn drop_all() -> Result<(), Errno> {
    set(CapabilitySet::empty())
}

/// Leaves an instance's pid 1 the right to signal programs of any user.
pub(crate) fn keep_for_init() -> Result<(), Errno> {
    set(CapabilitySet::KILL)
}

fn set(kept: CapabilitySet) -> Result<(), Errno> {
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    rustix::thread::clear_ambient_capability_set()
}
