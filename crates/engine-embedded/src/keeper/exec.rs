//! Running a command inside an instance that runs.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

use super::channel::Channel;
use super::machine::Machine;
use super::protocol::{Program, Size};
use super::spawn::{Process, ProgramHandle, pipe};
use crate::failure::{Attempt, Failure};
use crate::sandbox::clone::{self, Side};
use crate::sandbox::ids;
use crate::sandbox::program::{self, Becoming, Streams};

/// A command that runs, or is about to.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) pidfd: OwnedFd,
    /// As an instance's.
    pub(crate) status: OwnedFd,
    /// Brings the terminal, if it is to have one.
    channel: Channel,
    /// What the caller gets: input, output and error, or the terminal once it was brought.
    streams: Vec<OwnedFd>,
}

/// What the child has of the streams.
enum Inside {
    Files {
        input: OwnedFd,
        output: OwnedFd,
        error: OwnedFd,
    },
    Terminal(Size),
}

/// Starts a command beside the program of an instance.
pub(crate) fn spawn(
    machine: &Machine,
    process: &Process,
    hostname: &str,
    command: &Program,
    terminal: Option<Size>,
) -> Result<Command, Failure> {
    let Some(handle) = &process.program else {
        return Err(Failure::NoInstance);
    };
    let (channel, channel_inside) = Channel::pair().attempt(|| "cannot make a socket")?;
    let (status, status_inside) = pipe()?;
    let (streams, inside) = match terminal {
        Some(size) => (Vec::new(), Inside::Terminal(size)),
        None => files()?,
    };
    let joins = process.group.joins();
    let enter = |namespaces: &OwnedFd| {
        move_into_thread_name_spaces(namespaces.as_fd(), ThreadNameSpaceType::PROCESS_ID)
    };
    enter(&process.pidfd).attempt(|| "cannot enter the instance's pid namespace")?;
    // SAFETY: the keeper has one thread.
    let side = unsafe { clone::clone(0, process.group.birthplace()) };
    if matches!(side, Ok(Side::Parent { .. }) | Err(_)) {
        let pid = Some(LinkNameSpaceType::ProcessID);
        move_into_link_name_space(machine.processes.as_fd(), pid)
            .attempt(|| "cannot come back from the instance's pid namespace")?;
    }
    match side.attempt(|| "cannot start the command")? {
        Side::Child => {
            let child = Child {
                machine,
                process,
                handle,
                hostname,
                command,
                channel_inside,
            };
            child.run(inside, &status_inside, &joins)
        }
        Side::Parent { pidfd, .. } => Ok(Command {
            pidfd,
            status,
            channel,
            streams,
        }),
    }
}

fn files() -> Result<(Vec<OwnedFd>, Inside), Failure> {
    let what = || "cannot make a pipe";
    let make = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).attempt(what);
    let ((input, ours_input), (ours_output, output), (ours_error, error)) =
        (make()?, make()?, make()?);
    let ours = vec![ours_input, ours_output, ours_error];
    Ok((
        ours,
        Inside::Files {
            input,
            output,
            error,
        },
    ))
}

impl Command {
    /// What the caller gets, once the command has started.
    pub(crate) fn take_streams(&mut self) -> Vec<OwnedFd> {
        if let Ok(Some(((), descriptors))) = self.channel.receive::<()>() {
            self.streams = descriptors;
        }
        std::mem::take(&mut self.streams)
    }
}

struct Child<'a> {
    machine: &'a Machine,
    process: &'a Process,
    handle: &'a ProgramHandle,
    hostname: &'a str,
    command: &'a Program,
    channel_inside: Channel,
}

impl Child<'_> {
    fn run(&self, inside: Inside, status: &OwnedFd, joins: &[std::path::PathBuf]) -> ! {
        /// A panic must not unwind into the keeper's loop.
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                clone::leave(70);
            }
        }
        let _leave = Leave;
        let failure = match self.become_command(inside, status, joins) {
            Ok(failure) | Err(failure) => failure,
        };
        program::report(&failure, status);
        clone::leave(127)
    }

    fn become_command(
        &self,
        inside: Inside,
        status: &OwnedFd,
        joins: &[std::path::PathBuf],
    ) -> Result<Failure, Failure> {
        self.close_others(&inside, status);
        for file in joins {
            std::fs::write(file, "0").attempt(|| "cannot join the instance's control groups")?;
        }
        let shared = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::CONTROL_GROUP;
        move_into_thread_name_spaces(self.process.pidfd.as_fd(), shared)
            .attempt(|| "cannot enter the instance's namespaces")?;
        let identity = ids::resolve(self.command.user.as_deref())?;
        self.machine.ids.check(identity.user)?;
        let streams = self.streams(inside, &identity)?;
        let user = Some(LinkNameSpaceType::User);
        move_into_link_name_space(self.handle.users.as_fd(), user)
            .attempt(|| "cannot enter the instance's user namespace")?;
        let becoming = Becoming {
            program: self.command,
            identity: &identity,
            hostname: self.hostname,
            ids: &self.machine.ids,
            filter: &self.machine.filter,
            descriptors: self.machine.descriptors,
            streams,
        };
        Ok(becoming.execute())
    }

    fn close_others(&self, inside: &Inside, status: &OwnedFd) {
        let mut kept = vec![
            status.as_fd(),
            self.channel_inside.as_fd(),
            self.process.pidfd.as_fd(),
            self.handle.users.as_fd(),
        ];
        if let Inside::Files {
            input,
            output,
            error,
        } = inside
        {
            kept.extend([input.as_fd(), output.as_fd(), error.as_fd()]);
        }
        clone::close_all_but(&kept);
    }

    /// A terminal is the instance's own, so that it has a name there.
    fn streams(&self, inside: Inside, identity: &ids::Identity) -> Result<Streams, Failure> {
        let size = match inside {
            Inside::Files {
                input,
                output,
                error,
            } => {
                return Ok(Streams::Files {
                    input,
                    output,
                    error,
                });
            }
            Inside::Terminal(size) => size,
        };
        let what = || "cannot open a terminal in the instance";
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let ours = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).attempt(what)?;
        rustix::pty::unlockpt(&ours).attempt(what)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags).attempt(what)?;
        let size = Winsize {
            ws_col: size.columns,
            ws_row: size.rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&ours, size).attempt(what)?;
        if !self.machine.ids.is_single() {
            std::os::unix::fs::fchown(&theirs, Some(identity.user), None).attempt(what)?;
        }
        self.channel_inside
            .send(&(), &[ours.as_fd()])
            .attempt(what)?;
        Ok(Streams::Terminal(theirs))
    }
}
