//! The user namespace in which an ordinary user's daemon, keeper and instances live.
//!
//! In it the user is root, and where `newuidmap` and `newgidmap` are installed and `/etc/subuid`
//! gives the user a range, there are further user ids. The machine's root needs none of this.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, WaitOptions, getegid, geteuid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::failure::{Attempt, Failure};
use crate::sandbox::clone::{self, Side, unshare};
use crate::sandbox::init::user_namespace_failure;

const WHAT: &str = "cannot make a user namespace";

/// Whether the calling process may do what an engine does as it is: it is root with all rights.
pub(crate) fn is_privileged() -> bool {
    let may = rustix::thread::capabilities(None).is_ok_and(|sets| {
        use rustix::thread::CapabilitySet;
        let needed = CapabilitySet::SYS_ADMIN
            .union(CapabilitySet::NET_ADMIN)
            .union(CapabilitySet::SETUID)
            .union(CapabilitySet::SETGID);
        sets.effective.contains(needed)
    });
    may && geteuid().is_root()
}

/// Moves the calling process, which has one thread, into a new user namespace.
pub(crate) fn enter_new() -> Result<(), Failure> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let (mut wait, go) = io::pipe().attempt(|| WHAT)?;
    let (mut outcome, report) = io::pipe().attempt(|| WHAT)?;
    let parent = rustix::process::getpid();
    // Only a process outside may write the maps, and `newuidmap` is one.
    // SAFETY: the caller has one thread.
    let side = unsafe { clone::clone(0, None) };
    let helper = match side.attempt(|| WHAT)? {
        Side::Child => {
            drop((go, outcome));
            map_from_outside(parent, &mut wait, report, user, group)
        }
        Side::Parent { pid, .. } => pid,
    };
    drop((wait, report));
    let unshared = unshare(libc::CLONE_NEWUSER);
    let mut go = go;
    if unshared.is_ok() {
        go.write_all(&[1]).attempt(|| WHAT)?;
    }
    drop(go);
    let mut mapped = String::new();
    let read = outcome.read_to_string(&mut mapped);
    let _ = rustix::process::waitpid(Some(helper), WaitOptions::empty());
    unshared.map_err(|errno| user_namespace_failure(WHAT, errno))?;
    read.attempt(|| WHAT)?;
    if mapped != "mapped" {
        map_alone(user, group)?;
    }
    Ok(())
}

/// Moves the calling process, which has one thread, into the keeper's user namespace.
pub(crate) fn join(namespace: impl AsFd) -> Result<(), Failure> {
    if is_same(&namespace) {
        return Ok(());
    }
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
        .attempt(|| "cannot enter the keeper's user namespace")
}

fn is_same(namespace: impl AsFd) -> bool {
    let theirs = rustix::fs::fstat(namespace).map(|found| (found.st_dev, found.st_ino));
    let ours = rustix::fs::stat("/proc/self/ns/user").map(|found| (found.st_dev, found.st_ino));
    theirs.is_ok() && theirs == ours
}

/// What the child does: waits until its parent is in the namespace, then maps its ids.
fn map_from_outside(
    parent: Pid,
    wait: &mut io::PipeReader,
    mut report: io::PipeWriter,
    user: u32,
    group: u32,
) -> ! {
    let mut byte = [0];
    if wait.read_exact(&mut byte).is_ok() && map_ranges(parent, user, group).is_some() {
        let _ = report.write_all(b"mapped");
    }
    clone::leave(0)
}

/// Maps the user and its subordinate ids; `None` where that is not possible.
fn map_ranges(parent: Pid, user: u32, group: u32) -> Option<()> {
    let name = user_name(user);
    let ranges = |file: &str| {
        let text = fs::read_to_string(file).ok()?;
        subordinate(&text, &name, user)
    };
    let (users, groups) = (ranges("/etc/subuid")?, ranges("/etc/subgid")?);
    map("newuidmap", parent, user, users)?;
    map("newgidmap", parent, group, groups)
}

fn map(program: &str, parent: Pid, own: u32, (first, count): (u32, u32)) -> Option<()> {
    let parent = parent.as_raw_pid().to_string();
    let numbers = [0, own, 1, 1, first, count].map(|number| number.to_string());
    let output = Command::new(program)
        .arg(parent)
        .args(numbers)
        .output()
        .ok()?;
    if !output.status.success() {
        eprintln!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    output.status.success().then_some(())
}

fn user_name(user: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    entry.unwrap_or_default()
}

/// The first range that a file of the form `NAME-OR-ID:FIRST:COUNT` gives a user (subuid(5)).
fn subordinate(text: &str, name: &str, user: u32) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let who = fields.next()?;
        let is_theirs = (who == name && !name.is_empty()) || who.parse() == Ok(user);
        let range = (
            fields.next()?.parse().ok()?,
            fields.next()?.trim().parse().ok()?,
        );
        is_theirs.then_some(range)
    })
}

/// Maps the user alone, which it may do by itself.
fn map_alone(user: u32, group: u32) -> Result<(), Failure> {
    let own = Path::new("/proc/self");
    let lines = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    for (file, line) in lines {
        fs::write(own.join(file), line).map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            user_namespace_failure(WHAT, errno.unwrap_or(rustix::io::Errno::PERM))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_range_is_found_by_name_or_number() {
        let text = "alice:100000:65536\n1001:200000:1000\nbob:x:1\n";
        assert_eq!(subordinate(text, "alice", 1000), Some((100_000, 65_536)));
        assert_eq!(subordinate(text, "carol", 1001), Some((200_000, 1000)));
        assert_eq!(subordinate(text, "bob", 1002), None);
        assert_eq!(subordinate(text, "", 1003), None);
    }
}
