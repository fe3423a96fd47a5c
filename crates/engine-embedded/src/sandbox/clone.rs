//! Making processes with namespaces, as a single-threaded process does.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use super::tree::last_errno;

/// `CLONE_INTO_CGROUP` of `linux/sched.h`, which does not fit the type that `libc` gives it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which of the two processes this is.
#[derive(Debug)]
pub(crate) enum Side {
    Child,
    Parent { pid: Pid, pidfd: OwnedFd },
}

/// Makes a child with new namespaces (`CLONE_NEW…`), in a cgroup if one is given (clone3(2)).
///
/// # Safety
/// The calling process must have one thread only: the child has a copy of its memory in which no
/// other thread will ever release a lock.
pub(crate) unsafe fn clone(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    // SAFETY: the caller vouches for what is asked of it.
    unsafe { clone_with(namespaces, libc::SIGCHLD, cgroup) }
}

/// As [`clone`], but the new process is the child of the calling one's parent.
///
/// # Safety
/// As of [`clone`].
pub(crate) unsafe fn clone_sibling(cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    // SAFETY: the caller vouches for what is asked of it. The signal is then the caller's own.
    unsafe { clone_with(libc::CLONE_PARENT, 0, cgroup) }
}

unsafe fn clone_with(
    flags: i32,
    signal: i32,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Side, Errno> {
    let mut pidfd: i32 = -1;
    // SAFETY: all fields are numbers, for which zero means absent.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(flags.cast_unsigned() | libc::CLONE_PIDFD.cast_unsigned());
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = u64::from(signal.cast_unsigned());
    if let Some(cgroup) = cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM the child has memory of its own, and no new stack is needed; the
    // caller vouches for there being no other thread.
    let outcome = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) };
    match i32::try_from(outcome) {
        Ok(0) => Ok(Side::Child),
        Ok(raw @ 1..) => {
            // SAFETY: the kernel has just opened it for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = Pid::from_raw(raw).ok_or(Errno::CHILD)?;
            Ok(Side::Parent { pid, pidfd })
        }
        Ok(_) | Err(_) => Err(last_errno()),
    }
}

/// Ends the calling process at once: a child must not run what its parent would run at its end.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor above 2 but these.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) {
    let mut kept: Vec<u32> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for next in kept.into_iter().chain([u32::MAX]) {
        if next > first {
            let last = if next == u32::MAX { next } else { next - 1 };
            // SAFETY: it takes numbers; the caller's other descriptors are never used again, since
            // the process goes on with those that it keeps.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        first = next.saturating_add(1).max(first);
    }
}

/// Unshares a namespace of the calling process, which has one thread.
pub(crate) fn unshare(namespace: i32) -> Result<(), Errno> {
    // SAFETY: it takes a number; descriptors and memory are not touched by CLONE_NEW… flags.
    let outcome = unsafe { libc::unshare(namespace) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_an_error_and_no_process() {
        // A user namespace cannot share the file system state of its parent.
        let impossible = libc::CLONE_NEWUSER | libc::CLONE_FS;
        // SAFETY: no process is made.
        let refused = unsafe { clone(impossible, None) };
        assert_eq!(refused.unwrap_err(), Errno::INVAL);
    }
}
