//! Making an instance's first process, and what the keeper has of it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use logfile::{Flow, Log, Stream};
use model::InstanceId;
use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};

use super::channel::Channel;
use super::machine::Machine;
use super::protocol::{FromInit, HostLine, Place, Recipe, StartWish, Status, Timings, ToInit};
use crate::cgroup::Group;
use crate::clock;
use crate::failure::{Attempt, Failure};
use crate::sandbox::clone::{self, Side};
use crate::sandbox::init::{self, Birth};

/// The namespaces that an instance's first process is cloned into. That of cgroups comes once it is
/// in its own, and that of users is the program's alone.
const NAMESPACES: i32 = libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// A running instance, or what may become one, as the keeper has it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: Channel,
    /// Closes when the program starts; brings the failure otherwise.
    pub(crate) status: OwnedFd,
    pub(crate) output: Stream,
    pub(crate) error: Stream,
    pub(crate) group: Group,
    pub(crate) recipe: Recipe,
    pub(crate) timings: Timings,
    /// There once all is prepared that can be.
    pub(crate) ambassador: Option<Ambassador>,
    /// A copy of its root's layers, mounted nowhere.
    pub(crate) layers: Option<OwnedFd>,
    pub(crate) program: Option<ProgramHandle>,
    /// What kept it from starting.
    pub(crate) failure: Option<Failure>,
    ended: Option<Status>,
    brought: Vec<OwnedFd>,
}

/// The sockets in the instance's network namespace, and that.
#[derive(Debug)]
pub(crate) struct Ambassador {
    pub(crate) namespace: OwnedFd,
    pub(crate) tcp: Vec<OwnedFd>,
    pub(crate) dns: OwnedFd,
    pub(crate) udp: Vec<OwnedFd>,
}

/// The program beside its pid 1.
#[derive(Debug)]
pub(crate) struct ProgramHandle {
    pub(crate) pidfd: OwnedFd,
    pub(crate) users: OwnedFd,
}

/// Nanoseconds of CLOCK_BOOTTIME.
pub(crate) fn nanoseconds() -> u64 {
    u64::try_from(clock::now().since_zero().as_nanos()).unwrap_or(u64::MAX)
}

/// Clones the first process of an instance, which prepares what all have alike. What follows comes
/// by the channel and the status pipe. `name` is that of its control groups.
pub(crate) fn spawn(machine: &Machine, name: &str, recipe: Recipe) -> Result<Process, Failure> {
    let group = machine.cgroups.create(name)?;
    let joins = group.joins();
    let (channel, channel_inside) = Channel::pair().attempt(|| "cannot make a socket")?;
    let (status, status_inside) = pipe()?;
    let (output, output_inside) = pipe()?;
    let (error, error_inside) = pipe()?;
    let birth = Birth {
        setting: machine.setting(),
        recipe,
        joins: &joins,
        channel: &channel_inside,
        status: status_inside,
        output: output_inside,
        error: error_inside,
    };
    // SAFETY: the keeper has one thread.
    let side = unsafe { clone::clone(NAMESPACES, group.birthplace()) };
    match side {
        Ok(Side::Child) => init::run(birth),
        Ok(Side::Parent { pidfd, .. }) => Ok(Process {
            pidfd,
            channel,
            status,
            output: Stream::new(output, "stdout"),
            error: Stream::new(error, "stderr"),
            group,
            recipe,
            timings: Timings::default(),
            ambassador: None,
            layers: None,
            program: None,
            failure: None,
            ended: None,
            brought: Vec::new(),
        }),
        Err(errno) => {
            group.remove();
            Err(init::user_namespace_failure(
                "cannot make the instance's namespaces",
                errno,
            ))
        }
    }
}

/// A pipe whose reading end never blocks.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    let what = || "cannot make a pipe";
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).attempt(what)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).attempt(what)?;
    Ok((read, write))
}

/// The files in /etc that are the instance's own.
fn write_own_files(private: &Path, id: &InstanceId, wish: &StartWish) -> Result<(), Failure> {
    let what = || format!("cannot write the private files of {id}");
    let directory = private.join("etc");
    fs::create_dir_all(&directory).attempt(what)?;
    let resolver = format!(
        "nameserver {}\nsearch {}.internal\noptions ndots:1\n",
        netns::DNS_ADDRESS,
        id.app
    );
    let files = [
        ("resolv.conf", resolver),
        ("hostname", format!("{}\n", wish.hostname)),
        ("hosts", hosts_text(&wish.hostname, &wish.hosts)),
    ];
    for (name, text) in files {
        let path = directory.join(name);
        // An instance that starts again mostly has them already, and a disk can be slow.
        if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        fs::write(path, text).attempt(what)?;
    }
    Ok(())
}

/// `/etc/hosts`. An instance is itself at 127.0.0.1, where it is dialled.
pub(crate) fn hosts_text(hostname: &str, lines: &[HostLine]) -> String {
    let mut text = format!(
        "127.0.0.1 localhost\n127.0.0.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"
    );
    for HostLine { address, names } in lines {
        let _ = writeln!(text, "{address} {}", names.join(" "));
    }
    text
}

impl Process {
    /// Tells it which instance it is; `layers` are those of its life before.
    pub(crate) fn begin(
        &mut self,
        machine: &Machine,
        id: &InstanceId,
        wish: &StartWish,
        layers: Option<OwnedFd>,
    ) -> Result<(), Failure> {
        let private = machine.home.private(id);
        write_own_files(&private, id, wish)?;
        let joins = machine.cgroups.limit(&mut self.group, &wish.limits);
        let joins = joins.attempt(|| format!("cannot limit {id}"))?;
        let what = || format!("cannot tell the first process of {id} what it is");
        let text = serde_json::to_vec(wish).attempt(what)?;
        // By a file, since a message has bounds that an environment need not keep.
        let file = memfd_create("wish", MemfdFlags::CLOEXEC).attempt(what)?;
        let mut file = File::from(file);
        file.write_all(&text).attempt(what)?;
        let order = ToInit::Start(Place {
            private,
            volumes: machine.home.volumes(&id.app),
            joins,
        });
        let mut descriptors = vec![file.as_fd()];
        descriptors.extend(layers.as_ref().map(AsFd::as_fd));
        self.channel.send(&order, &descriptors).attempt(what)
    }

    /// What the loop watches: the end, what pid 1 says, the start, and the two streams.
    pub(crate) fn watched(&self) -> [BorrowedFd<'_>; 5] {
        [
            self.pidfd.as_fd(),
            self.channel.as_fd(),
            self.status.as_fd(),
            self.output.pipe.as_fd(),
            self.error.pipe.as_fd(),
        ]
    }

    /// Takes what the instance's pid 1 has said. Whether it may say more.
    pub(crate) fn listen(&mut self) -> Flow {
        loop {
            match self.channel.receive::<FromInit>() {
                Ok(Some((message, descriptors))) => self.hear(message, descriptors),
                Ok(None) => return Flow::Ended,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Flow::Dry,
                Err(error) => {
                    self.failure
                        .get_or_insert(Failure::failed("cannot hear pid 1", error));
                    return Flow::Ended;
                }
            }
        }
    }

    fn hear(&mut self, message: FromInit, descriptors: Vec<OwnedFd>) {
        match message {
            FromInit::Descriptors => self.brought.extend(descriptors),
            FromInit::Ambassador { unset } => {
                for setting in unset {
                    eprintln!("{setting}");
                }
                let brought = std::mem::take(&mut self.brought);
                let mut all = brought.into_iter().chain(descriptors);
                if let (Some(namespace), Some(dns)) = (all.next(), all.next()) {
                    self.ambassador = Some(Ambassador {
                        namespace,
                        dns,
                        tcp: all.collect(),
                        udp: Vec::new(),
                    });
                }
            }
            FromInit::Datagrams { at } => {
                self.timings.ambassador = at;
                let brought = std::mem::take(&mut self.brought);
                if let Some(ambassador) = &mut self.ambassador {
                    ambassador.udp = brought.into_iter().chain(descriptors).collect();
                }
            }
            FromInit::Layers => self.layers = descriptors.into_iter().next(),
            FromInit::Program { root, forked } => {
                (self.timings.root, self.timings.forked) = (root, forked);
                let mut all = descriptors.into_iter();
                if let (Some(pidfd), Some(users)) = (all.next(), all.next()) {
                    self.program = Some(ProgramHandle { pidfd, users });
                }
            }
            FromInit::Ended(status) => self.ended = Some(status),
            FromInit::Failed(failure) => self.failure = Some(failure),
        }
    }

    /// Writes what the instance has written, without waiting for more.
    pub(crate) fn drain(&mut self, log: &mut Log) {
        for stream in [&mut self.output, &mut self.error] {
            while stream.pass(log) == Flow::More {}
            stream.finish(log);
        }
    }

    /// Reaps the instance's pid 1; how the program ended.
    pub(crate) fn reap(&self) -> Status {
        let waited = wait(&self.pidfd);
        let told = self.ended.or(waited).unwrap_or(Status::Unknown);
        // By itself, or as a shell says that a child of it was.
        let is_killed = matches!(told, Status::Signal(9) | Status::Code(137));
        if is_killed && self.group.has_killed_for_memory() {
            Status::OutOfMemory
        } else {
            told
        }
    }
}

/// Reaps a child by its pidfd; `None` when it cannot be.
pub(crate) fn wait(pidfd: &OwnedFd) -> Option<Status> {
    let status = rustix::process::waitid(
        WaitId::PidFd(pidfd.as_fd()),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    );
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    let status: WaitIdStatus = status.ok().flatten()?;
    let code = status.exit_status().map(|code| Status::Code(byte(code)));
    code.or_else(|| {
        status
            .terminating_signal()
            .map(|signal| Status::Signal(byte(signal)))
    })
}

/// Whether a stopped program is, by the state that the kernel shows of it.
pub(crate) fn is_stopped(pidfd: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let pid = info.ok().and_then(|text| {
        let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        Pid::from_raw(pid.trim().parse().ok()?)
    });
    let state = pid.and_then(|pid| {
        let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        // The name before it may have any letter, also a parenthesis.
        text.rsplit_once(") ")?.1.chars().next()
    });
    // D: it waits for a child that was stopped before it could run its program (vfork), and has the
    // stop pending.
    matches!(state, Some('T' | 't' | 'D' | 'Z' | 'X') | None)
}
