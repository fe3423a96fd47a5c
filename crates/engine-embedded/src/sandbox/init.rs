//! The first process of an instance.
//!
//! It fills the namespaces that it was cloned into as far as all instances are alike, then waits
//! to be told which it is. It builds the root, starts the program, and then is its pid 1: it reaps,
//! passes signals on to the program, and ends with it, on which the kernel kills what else runs in
//! the instance.

use std::fs::{self, File};
use std::io::Seek;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::clone::{self, Side};
use super::ids::{self, Identity};
use super::program::{self, Becoming, Streams};
use super::tree::last_errno;
use super::{Layout, Setting, ambassador, capabilities, root};
use crate::clock;
use crate::failure::{Attempt, Failure};
use crate::keeper::channel::Channel;
use crate::keeper::protocol::{FromInit, Place, Recipe, StartWish, Status, ToInit};

/// What the process has from the keeper.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) setting: Setting<'a>,
    pub(crate) recipe: Recipe,
    /// Files to write oneself into, for the cgroups that a clone cannot be born in.
    pub(crate) joins: &'a [PathBuf],
    pub(crate) channel: &'a Channel,
    /// Closed by a program that starts; gets the failure otherwise.
    pub(crate) status: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) error: OwnedFd,
}

/// Which instance it is.
struct Order {
    wish: StartWish,
    place: Place,
    /// The layers of the root as they were in its life before.
    layers: Option<OwnedFd>,
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
    match prepare(&birth).and_then(|()| start(birth)) {
        Ok((program, signals)) => watch(program, &signals, channel),
        Err(failure) => {
            let _ = channel.send(&FromInit::Failed(failure), &[]);
            clone::leave(1)
        }
    }
}

/// What can be done ahead of need.
fn prepare(birth: &Birth<'_>) -> Result<(), Failure> {
    clone::close_all_but(&[
        birth.channel.as_fd(),
        birth.status.as_fd(),
        birth.output.as_fd(),
        birth.error.as_fd(),
    ]);
    tie_to_keeper()?;
    let _ = rustix::thread::set_name(c"roads-spare");
    join(birth.joins)?;
    root::prepare(&birth.setting)?;
    // Last, since it tells the keeper that this process is ready.
    ambassador::install(birth.recipe, birth.channel)
}

fn start(birth: Birth<'_>) -> Result<(Pid, OwnedFd), Failure> {
    let Order {
        wish,
        place,
        layers,
    } = receive_order(birth.channel)?;
    let _ = rustix::thread::set_name(c"roads-init");
    join(&place.joins)?;
    // Now that it is in all its groups: they are the roots of what it sees.
    clone::unshare(libc::CLONE_NEWCGROUP).attempt(|| "cannot make a cgroup namespace")?;
    ambassador::capture_datagrams(&wish.udp, birth.channel)?;
    rustix::system::sethostname(wish.hostname.as_bytes()).attempt(|| "cannot set the host name")?;
    rustix::process::chdir(&place.private)
        .attempt(|| format!("cannot enter {}", place.private.display()))?;
    let layout = Layout {
        setting: birth.setting,
        wish: &wish,
        private: &place.private,
        volumes: &place.volumes,
    };
    root::build(&layout, layers, birth.channel)?;
    let rooted = nanoseconds();
    let identity = ids::resolve(wish.program.user.as_deref())?;
    birth.setting.ids.check(identity.user)?;
    birth.setting.ids.check(identity.group)?;
    let signals = take_signals()?;
    let program = fork_program(birth, &wish, &identity, rooted)?;
    capabilities::keep_for_init().attempt(|| "cannot drop the capabilities of pid 1")?;
    rustix::thread::set_no_new_privs(true).attempt(|| "cannot forbid new privileges")?;
    tie_to_keeper()?;
    Ok((program, signals))
}

/// Joins control groups by their files.
fn join(files: &[PathBuf]) -> Result<(), Failure> {
    files.iter().try_for_each(|file| {
        fs::write(file, "0").attempt(|| format!("cannot join cgroup {}", file.display()))
    })
}

/// Waits until it is told which instance it is.
fn receive_order(channel: &Channel) -> Result<Order, Failure> {
    let what = || "cannot hear which instance to start";
    let received = channel.receive::<ToInit>().attempt(what)?;
    let Some((ToInit::Start(place), descriptors)) = received else {
        // The keeper has no use for it, or is gone.
        clone::leave(0)
    };
    let mut descriptors = descriptors.into_iter();
    let file = descriptors.next().ok_or("no wish").attempt(what)?;
    let mut file = File::from(file);
    file.rewind().attempt(what)?;
    let wish = serde_json::from_reader(std::io::BufReader::new(file)).attempt(what)?;
    Ok(Order {
        wish,
        place,
        layers: descriptors.next(),
    })
}

/// When the keeper ends, so does the instance.
fn tie_to_keeper() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .attempt(|| "cannot tie the instance to its keeper")
}

pub(super) fn nanoseconds() -> u64 {
    u64::try_from(clock::now().since_zero().as_nanos()).unwrap_or(u64::MAX)
}

/// Starts the program in a user namespace of its own, and tells the keeper.
fn fork_program(
    birth: Birth<'_>,
    wish: &StartWish,
    identity: &Identity,
    rooted: u64,
) -> Result<Pid, Failure> {
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .attempt(|| "cannot make a pipe")?;
    // SAFETY: this process was cloned from the keeper, which has one thread, and makes no other.
    let side = unsafe { clone::clone(libc::CLONE_NEWUSER, None) };
    match side.map_err(|errno| user_namespace_failure("cannot start the program", errno))? {
        Side::Child => {
            drop(go);
            become_program(birth, wish, identity, &wait)
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
    let ids = birth.setting.ids;
    for (file, id) in [("uid_map", identity.user), ("gid_map", identity.group)] {
        fs::write(directory.join(file), ids.child(id))
            .attempt(|| format!("cannot write the instance's {file}"))?;
    }
    fs::File::open(directory.join("ns/user"))
        .attempt(|| "cannot open the instance's user namespace")
}

fn become_program(birth: Birth<'_>, wish: &StartWish, identity: &Identity, wait: &OwnedFd) -> ! {
    let mut byte = [0];
    if !matches!(rustix::io::read(wait, &mut byte), Ok(1)) {
        clone::leave(1);
    }
    let status = birth.status;
    let becoming = fs::File::open("/dev/null")
        .attempt(|| "cannot open /dev/null")
        .map(|input| Becoming {
            program: &wish.program,
            identity,
            hostname: &wish.hostname,
            setting: birth.setting,
            streams: Streams::Files {
                input: input.into(),
                output: birth.output,
                error: birth.error,
            },
        });
    let failure = match becoming {
        Ok(becoming) => becoming.execute().into_failure(),
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
        // The keeper is gone, and so will we be; or it is not ours.
        Ok(Some((ToInit::Start(_), _)) | None) | Err(_) => clone::leave(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_is_named() {
        let failure = user_namespace_failure("cannot", Errno::NOSPC);
        assert!(matches!(failure, Failure::Forbidden { hint, .. } if hint.contains("sysctl")));
    }
}
