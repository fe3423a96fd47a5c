//! The system calls that an instance may not make.
//!
//! In the spirit of Docker's default: what administers the machine, reaches around namespaces or
//! has no use in a service is refused with EPERM. Calls newer than this list are unknown (ENOSYS),
//! as is `clone3`, whose flags a filter cannot read; C libraries fall back to `clone`. Calls of
//! another architecture (32-bit programs, x32) do not pass.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use crate::failure::{Attempt, Failure};

/// The newest call that was looked at for this list (`file_setattr`, Linux 6.17).
const NEWEST: u32 = 469;
/// `SYS_fsopen` and its family have numbers of their own on every architecture.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS__sysctl,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The flags of `clone` that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Sockets that leave the network namespace: `AF_VSOCK`.
const OUTSIDE_SOCKETS: u64 = libc::AF_VSOCK as u64;

/// Compiles the filter; done once.
pub(crate) fn compile() -> Result<BpfProgram, Failure> {
    build().attempt(|| "cannot compile the seccomp filter")
}

/// Installs the filter for the calling thread and what it will execute.
pub(crate) fn install(filter: &BpfProgram) -> Result<(), Failure> {
    seccompiler::apply_filter(filter).attempt(|| "cannot install the seccomp filter")
}

fn build() -> Result<BpfProgram, seccompiler::BackendError> {
    let refused = REFUSED.iter().chain(REFUSED_HERE);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        refused.map(|&number| (number, Vec::new())).collect();
    let flags = NAMESPACES
        .iter()
        .map(|&flag| masked(0, u64::from(flag.cast_unsigned())))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_clone, flags);
    rules.insert(libc::SYS_socket, vec![equal(0, OUTSIDE_SOCKETS)?]);
    // Typing into the terminal of somebody else.
    rules.insert(libc::SYS_ioctl, vec![equal(1, libc::TIOCSTI)?]);
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?;
    let mut program = unknown_calls();
    program.append(&mut BpfProgram::try_from(filter)?);
    Ok(program)
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let length = SeccompCmpArgLen::Dword;
    let condition = SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value)?;
    SeccompRule::new(vec![condition])
}

fn masked(argument: u8, bit: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let length = SeccompCmpArgLen::Dword;
    let operator = SeccompCmpOp::MaskedEq(bit);
    SeccompRule::new(vec![SeccompCondition::new(
        argument, length, operator, bit,
    )?])
}

/// Answers ENOSYS to `clone3` and to what is newer than [`NEWEST`], which x32 calls are too; what
/// it lets pass goes on behind it. (`linux/filter.h`, `linux/seccomp.h`.)
fn unknown_calls() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, at offset 0 of seccomp_data
    const JUMP_IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const RETURN_ERRNO: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let clone3 = u32::try_from(libc::SYS_clone3).expect("a call's number is small");
    vec![
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_IF_GREATER, 1, 0, NEWEST),
        step(JUMP_IF_EQUAL, 0, 1, clone3),
        step(RETURN, 0, 0, RETURN_ERRNO | libc::ENOSYS.cast_unsigned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_is_short_enough_for_the_kernel() {
        let filter = compile().unwrap();
        assert!(filter.len() < 4096, "{}", filter.len());
    }
}
