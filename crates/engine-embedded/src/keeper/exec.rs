//! Running a command inside an instance that runs.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitOptions, pidfd_send_signal};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::machine::Machine;
use super::protocol::{Program, Size};
use super::spawn::{Process, ProgramHandle, pipe};
use crate::failure::{Attempt, Failure};
use crate::sandbox::clone::{self, Side};
use crate::sandbox::ids;
use crate::sandbox::program::{self, Becoming, Streams, Unexecuted};

/// A command that runs, or is about to.
#[derive(Debug)]
pub(crate) struct Command {
    /// There once it was made.
    pub(crate) pidfd: Option<OwnedFd>,
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
    let child = Child {
        machine,
        process,
        handle,
        hostname,
        command,
        channel_inside,
    };
    // A process is born into the pid namespace that its parent has entered, and the keeper could
    // not come back; so a child enters, and makes the command as the keeper's.
    // SAFETY: the keeper has one thread.
    match unsafe { clone::clone(0, None) }.attempt(|| "cannot start the command")? {
        Side::Child => child.enter(inside, &status_inside),
        Side::Parent { pid, .. } => {
            // It does not become part of the instance, so it does not wait for it either.
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
    }
    drop((child, inside, status_inside));
    let mut command = Command {
        pidfd: None,
        status,
        channel,
        streams,
    };
    command.listen();
    if command.pidfd.is_none() {
        let mut text = vec![0; 64 << 10];
        let length = rustix::io::read(&command.status, &mut text).unwrap_or(0);
        return Err(serde_json::from_slice(&text[..length])
            .unwrap_or_else(|error| Failure::failed("cannot start the command", error)));
    }
    Ok(command)
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

/// What the keeper's new child says of itself, each with one descriptor.
#[derive(Debug, Serialize, Deserialize)]
enum FromCommand {
    /// Its pidfd.
    Process,
    /// Our end of its terminal.
    Terminal,
}

impl Command {
    /// Takes what was said.
    fn listen(&mut self) {
        while let Ok(Some((message, descriptors))) = self.channel.receive() {
            match message {
                FromCommand::Process => self.pidfd = descriptors.into_iter().next(),
                FromCommand::Terminal => self.streams = descriptors,
            }
        }
    }

    /// What the caller gets, once the command has started.
    pub(crate) fn take_streams(&mut self) -> Vec<OwnedFd> {
        self.listen();
        std::mem::take(&mut self.streams)
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        if let Some(pidfd) = &self.pidfd {
            // One that has ended is past killing.
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
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
    /// Enters the pid namespace and makes the command there.
    fn enter(&self, inside: Inside, status: &OwnedFd) -> ! {
        /// A panic must not unwind into the keeper's loop.
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                clone::leave(70);
            }
        }
        let _leave = Leave;
        match self.enter_processes() {
            Ok(Side::Child) => self.run(inside, status),
            Ok(Side::Parent { pidfd, .. }) => {
                let message = FromCommand::Process;
                // Without it the keeper says that the command could not be started.
                let _ = self.channel_inside.send(&message, &[pidfd.as_fd()]);
                clone::leave(0)
            }
            Err(failure) => {
                program::report(&failure, status);
                clone::leave(1)
            }
        }
    }

    fn enter_processes(&self) -> Result<Side, Failure> {
        let kind = ThreadNameSpaceType::PROCESS_ID;
        move_into_thread_name_spaces(self.process.pidfd.as_fd(), kind)
            .attempt(|| "cannot enter the instance's pid namespace")?;
        let cgroup = self.process.group.birthplace();
        // SAFETY: this is a copy of the keeper, which has one thread.
        unsafe { clone::clone_sibling(cgroup) }.attempt(|| "cannot start the command")
    }

    fn run(&self, inside: Inside, status: &OwnedFd) -> ! {
        let failure = match self.become_command(inside, status) {
            // The command's own end, with the codes that a shell has for it.
            Ok(Unexecuted::Missing(failure)) => Self::tell(&failure, 127),
            Ok(Unexecuted::Forbidden(failure)) => Self::tell(&failure, 126),
            Ok(Unexecuted::Unprepared(failure)) | Err(failure) => failure,
        };
        program::report(&failure, status);
        clone::leave(1)
    }

    /// Says on the command's standard error why it is none, and ends.
    fn tell(failure: &Failure, code: i32) -> ! {
        match failure {
            Failure::Forbidden { what, why, .. } | Failure::Failed { what, why } => {
                eprintln!("{what}: {why}");
            }
            Failure::NoInstance => {}
        }
        clone::leave(code)
    }

    fn become_command(&self, inside: Inside, status: &OwnedFd) -> Result<Unexecuted, Failure> {
        self.close_others(&inside, status);
        for file in self.process.group.joins() {
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
            setting: self.machine.setting(),
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
            .send(&FromCommand::Terminal, &[ours.as_fd()])
            .attempt(what)?;
        Ok(Streams::Terminal(theirs))
    }
}
