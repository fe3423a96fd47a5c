//! The first process of an instance.
//!
//! It fills the namespaces that it was cloned into, starts the program, and then is its pid 1:
//! it reaps, passes signals on to the program, and ends with it, on which the kernel kills what
//! else runs in the instance.

use std::fs;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, Signal, WaitOptions};
use seccompiler::BpfProgram;

use super::clone::{self, Side};
use super::ids::{self, Identity};
use super::program::{self, Becoming, Streams};
use super::tree::last_errno;
use super::{Layout, capabilities, root};
use crate::clock;
use crate::failure::{Attempt, Failure};
use crate::keeper::channel::Channel;
use crate::keeper::protocol::{Egress, FromInit, Status, ToInit};

const HAND_OVER: &str = "cannot hand the ambassador's sockets over";
/// How many descriptors go with one message; the kernel takes 253.
const PER_MESSAGE: usize = 200;

/// What the process has from the keeper.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) layout: Layout<'a>,
    pub(crate) filter: &'a BpfProgram,
    /// How many files programs may open.
    pub(crate) descriptors: Rlimit,
    /// Files to write oneself into, for the cgroups that a clone cannot be born in.
    pub(crate) joins: &'a [PathBuf],
    pub(crate) channel: &'a Channel,
    /// Closed by a program that starts; gets the failure otherwise.
    pub(crate) status: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) error: OwnedFd,
}

/// Does everything and ends with the program.
pub(crate) fn run(birth: Birth<'_>) -> ! {
    /// A panic must not unwind into the keeper's loop, which this process is a copy of.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            clone::leave(70);
        }
    }
    let _leave = Leave;
    let channel = birth.channel;
    match start(birth) {
        Ok((program, signals)) => watch(program, &signals, channel),
        Err(failure) => {
            let _ = channel.send(&FromInit::Failed(failure), &[]);
            clone::leave(1)
        }
    }
}

fn start(birth: Birth<'_>) -> Result<(Pid, OwnedFd), Failure> {
    let Birth {
        channel,
        status,
        output,
        error,
        ..
    } = &birth;
    clone::close_all_but(&[
        channel.as_fd(),
        status.as_fd(),
        output.as_fd(),
        error.as_fd(),
    ]);
    tie_to_keeper()?;
    let _ = rustix::thread::set_name(c"roads-init");
    for file in birth.joins {
        fs::write(file, "0").attempt(|| format!("cannot join cgroup {}", file.display()))?;
    }
    clone::unshare(libc::CLONE_NEWCGROUP).attempt(|| "cannot make a cgroup namespace")?;
    install_ambassador(&birth)?;
    rustix::system::sethostname(birth.layout.wish.hostname.as_bytes())
        .attempt(|| "cannot set the host name")?;
    rustix::process::chdir(birth.layout.private)
        .attempt(|| format!("cannot enter {}", birth.layout.private.display()))?;
    root::build(&birth.layout)?;
    let rooted = nanoseconds();
    let identity = ids::resolve(birth.layout.wish.program.user.as_deref())?;
    birth.layout.ids.check(identity.user)?;
    birth.layout.ids.check(identity.group)?;
    let signals = take_signals()?;
    let program = fork_program(birth, &identity, rooted)?;
    capabilities::keep_for_init().attempt(|| "cannot drop the capabilities of pid 1")?;
    rustix::thread::set_no_new_privs(true).attempt(|| "cannot forbid new privileges")?;
    tie_to_keeper()?;
    Ok((program, signals))
}

/// When the keeper ends, so does the instance.
fn tie_to_keeper() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .attempt(|| "cannot tie the instance to its keeper")
}

fn nanoseconds() -> u64 {
    u64::try_from(clock::now().since_zero().as_nanos()).unwrap_or(u64::MAX)
}

fn install_ambassador(birth: &Birth<'_>) -> Result<(), Failure> {
    let wish = birth.layout.wish;
    let udp = |&(address, port): &_| netns::ambassador::UdpCapture { address, port };
    let wished = netns::ambassador::Wish {
        tcp_captures: wish.captures,
        udp: wish.udp.iter().map(udp).collect(),
        egress: match wish.egress {
            Egress::Tcp => netns::ambassador::Egress::Tcp,
            Egress::None => netns::ambassador::Egress::None,
        },
    };
    let sockets = netns::ambassador::install(&wished).map_err(ambassador_failure)?;
    let namespace = fs::File::open("/proc/self/ns/net")
        .attempt(|| "cannot open the instance's network namespace")?;
    let mut descriptors = vec![namespace.as_fd()];
    descriptors.extend(sockets.tcp.iter().map(AsFd::as_fd));
    descriptors.push(sockets.dns.as_fd());
    descriptors.extend(sockets.udp.iter().map(|(_, socket)| socket.as_fd()));
    let unset = sockets.unset.iter().map(chain).collect();
    let message = FromInit::Ambassador {
        at: nanoseconds(),
        unset,
    };
    let last = descriptors.split_off(descriptors.len() / PER_MESSAGE * PER_MESSAGE);
    for some in descriptors.chunks(PER_MESSAGE) {
        birth
            .channel
            .send(&FromInit::Descriptors, some)
            .attempt(|| HAND_OVER)?;
    }
    birth.channel.send(&message, &last).attempt(|| HAND_OVER)
}

fn ambassador_failure(error: netns::ambassador::InstallError) -> Failure {
    use netns::ambassador::InstallError;
    let what = "cannot install the instance's ambassador";
    match error {
        InstallError::Missing { .. } => Failure::forbidden(
            what,
            chain(&error),
            "as root: modprobe -a nf_tables nft_redir nft_reject_ipv4 nft_ct, or use a kernel \
             that has them",
        ),
        InstallError::Forbidden { .. } => Failure::forbidden(
            what,
            chain(&error),
            "allow user namespaces full rights (AppArmor, SELinux), or run the daemon as root",
        ),
        InstallError::TooManyUdp { .. } => Failure::forbidden(
            what,
            chain(&error),
            "declare fewer UDP ports, or split the app",
        ),
        InstallError::Namespace(_)
        | InstallError::Socket { .. }
        | InstallError::Netlink { .. }
        | InstallError::Refused { .. } => Failure::failed(what, chain(&error)),
    }
}

/// An error and its causes on one line.
fn chain(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Starts the program in a user namespace of its own, and tells the keeper.
fn fork_program(birth: Birth<'_>, identity: &Identity, rooted: u64) -> Result<Pid, Failure> {
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .attempt(|| "cannot make a pipe")?;
    // SAFETY: this process was cloned from the keeper, which has one thread, and makes no other.
    let side = unsafe { clone::clone(libc::CLONE_NEWUSER, None) };
    match side.map_err(|errno| user_namespace_failure("cannot start the program", errno))? {
        Side::Child => {
            drop(go);
            become_program(birth, identity, &wait)
        }
        Side::Parent { pid, pidfd } => {
            drop(wait);
            let namespace = map_ids(&birth, identity, pid)?;
            rustix::io::write(&go, &[1]).attempt(|| "cannot let the program go")?;
            let message = FromInit::Program {
                root: rooted,
                forked: nanoseconds(),
            };
            birth
                .channel
                .send(&message, &[pidfd.as_fd(), namespace.as_fd()])
                .attempt(|| "cannot hand the program over")?;
            Ok(pid)
        }
    }
}

fn map_ids(birth: &Birth<'_>, identity: &Identity, pid: Pid) -> Result<fs::File, Failure> {
    let directory = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
    let ids = birth.layout.ids;
    for (file, id) in [("uid_map", identity.user), ("gid_map", identity.group)] {
        fs::write(directory.join(file), ids.child(id))
            .attempt(|| format!("cannot write the instance's {file}"))?;
    }
    fs::File::open(directory.join("ns/user"))
        .attempt(|| "cannot open the instance's user namespace")
}

fn become_program(birth: Birth<'_>, identity: &Identity, wait: &OwnedFd) -> ! {
    let mut byte = [0];
    if !matches!(rustix::io::read(wait, &mut byte), Ok(1)) {
        clone::leave(1);
    }
    let status = birth.status;
    let becoming = fs::File::open("/dev/null")
        .attempt(|| "cannot open /dev/null")
        .map(|input| Becoming {
            program: &birth.layout.wish.program,
            identity,
            hostname: &birth.layout.wish.hostname,
            ids: birth.layout.ids,
            filter: birth.filter,
            descriptors: birth.descriptors,
            streams: Streams::Files {
                input: input.into(),
                output: birth.output,
                error: birth.error,
            },
        });
    let failure = match becoming {
        Ok(becoming) => becoming.execute(),
        Err(failure) => failure,
    };
    program::report(&failure, &status);
    clone::leave(127)
}

/// Names the setting that forbids user namespaces.
pub(crate) fn user_namespace_failure(what: &str, errno: Errno) -> Failure {
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    let is = |name, value: &str| setting(name).trim() == value;
    if is("user/max_user_namespaces", "0") || errno == Errno::NOSPC {
        return Failure::forbidden(
            what,
            format!("user.max_user_namespaces allows no further user namespace ({errno})"),
            "as root: sysctl user.max_user_namespaces=15000",
        );
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        return Failure::forbidden(
            what,
            format!("kernel.unprivileged_userns_clone is 0 ({errno})"),
            "as root: sysctl kernel.unprivileged_userns_clone=1, or run the daemon as root",
        );
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Failure::forbidden(
            what,
            format!("kernel.apparmor_restrict_unprivileged_userns is 1 ({errno})"),
            "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or add an AppArmor \
             profile with `userns,` for roads",
        );
    }
    Failure::failed(what, errno)
}

/// Blocks every signal and gets them as messages instead (signalfd(2)).
fn take_signals() -> Result<OwnedFd, Failure> {
    // SAFETY: the set lives through the calls, and is what `sigfillset` makes of it.
    let descriptor = unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if descriptor < 0 {
        return Err(Failure::failed("cannot take signals", last_errno()));
    }
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// What pid 1 does for the rest of its life.
fn watch(program: Pid, signals: &OwnedFd, channel: &Channel) -> ! {
    loop {
        let mut ready = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(channel, PollFlags::IN),
        ];
        if poll(&mut ready, None).is_err_and(|errno| errno != Errno::INTR) {
            clone::leave(1);
        }
        let has_order = !ready[1].revents().is_empty();
        while let Some(number) = next_signal(signals) {
            if number == libc::SIGCHLD.cast_unsigned() {
                reap(program, channel);
            } else {
                pass_on(program, number);
            }
        }
        if has_order {
            obey(channel);
        }
    }
}

fn next_signal(signals: &OwnedFd) -> Option<u32> {
    let mut record = [0; size_of::<libc::signalfd_siginfo>()];
    let length = rustix::io::read(signals, &mut record).ok()?;
    // The number is the first field.
    (length == record.len())
        .then(|| u32::from_ne_bytes([record[0], record[1], record[2], record[3]]))
}

fn pass_on(program: Pid, number: u32) {
    // SAFETY: it takes numbers; a program that is gone is no longer there to be signalled, and its
    // id is not given to another process before it is reaped.
    unsafe { libc::kill(program.as_raw_pid(), number.cast_signed()) };
}

/// Reaps everybody who has ended; ends with the program.
fn reap(program: Pid, channel: &Channel) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid != program {
            continue;
        }
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Status::Code(byte(code)),
            (None, Some(signal)) => Status::Signal(byte(signal)),
            (None, None) => continue,
        };
        let _ = channel.send(&FromInit::Ended(ended), &[]);
        clone::leave(0);
    }
}

fn obey(channel: &Channel) {
    let every = |signal| {
        // Every process of the instance but this one: pid -1 is all that this namespace has.
        // SAFETY: it takes numbers.
        unsafe { libc::kill(-1, signal) };
    };
    match channel.receive::<ToInit>() {
        Ok(Some((ToInit::StopAll, _))) => every(libc::SIGSTOP),
        Ok(Some((ToInit::ContinueAll, _))) => every(libc::SIGCONT),
        // The keeper is gone, and so will we be.
        Ok(None) | Err(_) => clone::leave(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let inner = std::io::Error::other("inner");
        let outer = netns::NamespaceError::Enter { source: inner };
        assert_eq!(chain(&outer), "cannot enter the network namespace: inner");
    }

    #[test]
    fn the_setting_that_forbids_is_named() {
        let failure = user_namespace_failure("cannot", Errno::NOSPC);
        assert!(matches!(failure, Failure::Forbidden { hint, .. } if hint.contains("sysctl")));
    }
}
