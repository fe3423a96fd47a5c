//! The instances, and how each goes from one phase to the next.
//!
//! ```text
//! start ─► Starting ── program executed ─► Running ◄─ thawed / frozen ─► Frozen
//!             │ failed                        │ pid 1 ended                │ pid 1 ended
//!             ▼                               ▼                            ▼
//!         forgotten                         Exited ◄───────────────────────┘
//! ```
//! An instance that was started again and fails is Exited as it was before. Removal kills first
//! what runs, and is answered when the end was seen.

use std::os::fd::OwnedFd;

use logfile::{Flow, Log};
use model::InstanceId;
use rustix::event::epoll;
use rustix::process::{Signal, pidfd_send_signal};

use super::freezing::Freezing;
use super::machine::Pieces;
use super::protocol::{Answer, FromKeeper, HostLine, Recipe, Seen, SeenState, StartWish, Status};
use super::spawn::{Process, hosts_text, nanoseconds};
use super::{Keeper, Source, Ticket};
use crate::failure::{Attempt, Failure};

/// How many instances that have ended keep the layers of their root mounted, for a quick start:
/// this is kernel memory that nobody uses.
const LAYERS_MAX: usize = 32;

/// One instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) key: u64,
    pub(super) id: InstanceId,
    pub(super) wish: StartWish,
    pub(super) phase: Phase,
    log: Log,
    started: u64,
    starts: Vec<Ticket>,
    removals: Vec<Ticket>,
    pub(super) freezing: Option<Freezing>,
    /// The layers of its root, if it has ended and may start again.
    layers: Option<OwnedFd>,
    /// When that was.
    ended: u64,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// `before` is what it was if it ran before.
    Starting {
        process: Box<Process>,
        before: Option<Status>,
    },
    Running(Box<Process>),
    Frozen(Box<Process>),
    Exited(Status),
}

impl Instance {
    /// What runs of it, if anything does.
    fn process(&mut self) -> Option<&mut Process> {
        match &mut self.phase {
            Phase::Starting { process, .. } | Phase::Running(process) | Phase::Frozen(process) => {
                Some(process)
            }
            Phase::Exited(_) => None,
        }
    }

    /// As [`Self::process`], without an instance that is not yet started.
    pub(super) fn started_process(&self) -> Option<&Process> {
        match &self.phase {
            Phase::Running(process) | Phase::Frozen(process) => Some(process),
            Phase::Starting { .. } | Phase::Exited(_) => None,
        }
    }

    fn kill(&mut self) {
        self.freezing = None;
        if let Some(process) = self.process() {
            let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
            // A group frozen by the old freezer dies once it is thawed.
            let _ = process.group.thaw();
        }
    }

    fn seen(&self, name: &str) -> Option<Seen> {
        let state = match &self.phase {
            Phase::Starting { .. } => return None,
            Phase::Running(_) => SeenState::Running,
            Phase::Frozen(_) => SeenState::Frozen,
            Phase::Exited(status) => SeenState::Exited(*status),
        };
        Some(Seen {
            instance: name.to_owned(),
            revision: self.wish.revision,
            state,
            started: self.started,
        })
    }
}

impl Keeper {
    pub(super) fn observe(&self) -> Vec<Seen> {
        self.instances
            .iter()
            .filter_map(|(name, instance)| instance.seen(name))
            .collect()
    }

    /// Begins a start; the answer follows when the program was executed.
    pub(super) fn start(&mut self, ticket: Ticket, wish: StartWish) -> Result<(), Failure> {
        let name = wish.instance.clone();
        let mut before = None;
        if let Some(instance) = self.instances.get_mut(&name) {
            match &instance.phase {
                Phase::Starting { .. } => instance.starts.push(ticket),
                Phase::Running(process) | Phase::Frozen(process) => {
                    let timings = process.timings;
                    self.reply(ticket, Ok(Answer::Started(timings)));
                }
                Phase::Exited(status) => before = Some(*status),
            }
            if before.is_none() {
                return Ok(());
            }
        }
        let asked = nanoseconds();
        let id = InstanceId::parse(&name).attempt(|| "cannot start an instance")?;
        if self.machine.refresh()? == Pieces::Others {
            self.forget_layers();
            self.dismiss_spares();
        }
        let log = Log::open(self.machine.home.log(&id))
            .attempt(|| format!("cannot open the log of {id}"))?;
        let recipe = Recipe {
            captures: wish.captures,
            egress: wish.egress,
        };
        let (key, mut process) = self.first_process(recipe)?;
        (process.timings.asked, process.timings.cloned) = (asked, nanoseconds());
        let old = self.instances.get_mut(&name);
        let layers = old.and_then(|old| old.layers.take());
        if let Err(failure) = process.begin(&self.machine, &id, &wish, layers) {
            self.dismiss(key, process);
            return Err(failure);
        }
        let instance = Instance {
            key,
            id,
            wish,
            started: nanoseconds(),
            log,
            phase: Phase::Starting { process, before },
            starts: vec![ticket],
            removals: Vec::new(),
            freezing: None,
            layers: None,
            ended: 0,
        };
        self.names.insert(key, name.clone());
        if let Some(old) = self.instances.insert(name, instance) {
            self.names.remove(&old.key);
        }
        Ok(())
    }

    /// Unmounts the layers that are kept for a next life.
    fn forget_layers(&mut self) {
        for instance in self.instances.values_mut() {
            instance.layers = None;
        }
    }

    /// Unmounts those of the instances that ended the longest ago, where too many are kept.
    fn bound_layers(&mut self) {
        let mut kept: Vec<&mut Instance> = self
            .instances
            .values_mut()
            .filter(|instance| instance.layers.is_some())
            .collect();
        let excess = kept.len().saturating_sub(LAYERS_MAX);
        kept.sort_by_key(|instance| instance.ended);
        for instance in kept.into_iter().take(excess) {
            instance.layers = None;
        }
    }

    pub(super) fn watch_process(&self, process: &Process, key: u64) -> Result<(), Failure> {
        let sources = [
            Source::Pidfd,
            Source::Channel,
            Source::Status,
            Source::Output,
            Source::Error,
        ];
        for (descriptor, source) in process.watched().into_iter().zip(sources) {
            self.watch(descriptor, source, key)?;
        }
        Ok(())
    }

    /// An instance and the loop that watches it.
    fn by_key(&mut self, key: u64) -> Option<(&mut Instance, &OwnedFd)> {
        let instance = self.instances.get_mut(self.names.get(&key)?)?;
        Some((instance, &self.epoll))
    }

    /// What pid 1 says.
    pub(super) fn handle_channel(&mut self, key: u64) {
        let Some((instance, epoll)) = self.by_key(key) else {
            return self.hear_spare(key);
        };
        let Some(process) = instance.process() else {
            return;
        };
        if process.listen() == Flow::Ended {
            // The end follows by the pidfd; an ended channel would wake the loop until then.
            let _ = epoll::delete(epoll, &process.channel);
        }
    }

    /// The program was executed, or could not be.
    pub(super) fn handle_status(&mut self, key: u64) {
        let Some((instance, epoll)) = self.by_key(key) else {
            return;
        };
        let Phase::Starting { process, .. } = &mut instance.phase else {
            return;
        };
        process.listen();
        let mut text = vec![0; 64 << 10];
        let length = match rustix::io::read(&process.status, &mut text) {
            Ok(length) => length,
            Err(_) => return,
        };
        if length > 0 {
            let failure = serde_json::from_slice(&text[..length])
                .unwrap_or_else(|error| Failure::failed("cannot start the program", error));
            process.failure.get_or_insert(failure);
            return;
        }
        let is_executed = process.failure.is_none() && process.program.is_some();
        let _ = epoll::delete(epoll, &process.status);
        if is_executed {
            self.executed(key);
        }
    }

    fn executed(&mut self, key: u64) {
        let Some((instance, _)) = self.by_key(key) else {
            return;
        };
        let phase = std::mem::replace(&mut instance.phase, Phase::Exited(Status::Unknown));
        let Phase::Starting { mut process, .. } = phase else {
            instance.phase = phase;
            return;
        };
        process.timings.executed = nanoseconds();
        let timings = process.timings;
        instance.started = timings.executed;
        instance.phase = Phase::Running(process);
        let tickets = std::mem::take(&mut instance.starts);
        self.reply_all(tickets, || Ok(Answer::Started(timings)));
    }

    pub(super) fn handle_output(&mut self, source: Source, key: u64) {
        let Some((instance, epoll)) = self.by_key(key) else {
            return;
        };
        let process = match &mut instance.phase {
            Phase::Starting { process, .. } | Phase::Running(process) | Phase::Frozen(process) => {
                process
            }
            Phase::Exited(_) => return,
        };
        let stream = if source == Source::Output {
            &mut process.output
        } else {
            &mut process.error
        };
        if stream.pass(&mut instance.log) == Flow::Ended {
            let _ = epoll::delete(epoll, &stream.pipe);
        }
    }

    /// Pid 1 has ended, and with it everything in the instance.
    pub(super) fn handle_end(&mut self, key: u64) {
        // A program may have begun and ended before its beginning was seen: what it reported, then
        // that its pipe is closed.
        self.handle_status(key);
        self.handle_status(key);
        let Some((instance, epoll)) = self.by_key(key) else {
            return self.bury_spare(key);
        };
        let phase = std::mem::replace(&mut instance.phase, Phase::Exited(Status::Unknown));
        let (mut process, before, was_started) = match phase {
            Phase::Starting { process, before } => (process, before, false),
            Phase::Running(process) | Phase::Frozen(process) => (process, None, true),
            Phase::Exited(_) => return,
        };
        process.listen();
        process.drain(&mut instance.log);
        // A child that was just cloned may still have copies, and so keep them watched.
        for descriptor in process.watched() {
            let _ = epoll::delete(epoll, descriptor);
        }
        let status = process.reap();
        process.group.remove();
        instance.layers = process.layers.take();
        instance.ended = nanoseconds();
        let starts = std::mem::take(&mut instance.starts);
        let removals = std::mem::take(&mut instance.removals);
        let freezing = instance.freezing.take();
        instance.phase = Phase::Exited(if was_started {
            status
        } else {
            before.unwrap_or(status)
        });
        let name = instance.wish.instance.clone();
        let failure = process.failure.take();
        drop(process);
        let failure = failure.unwrap_or_else(|| {
            Failure::failed("cannot start the program", "its first process was killed")
        });
        self.reply_all(starts, || Err(failure.clone()));
        self.reply_all(freezing.map(|f| f.tickets).unwrap_or_default(), || {
            Err(Failure::NoInstance)
        });
        let is_removed = !removals.is_empty();
        if was_started {
            let instance = name.clone();
            self.announce(&FromKeeper::Exited { instance, status });
        }
        if is_removed || (!was_started && before.is_none()) {
            self.discard(&name);
        } else {
            self.bound_layers();
        }
        self.reply_all(removals, || Ok(Answer::Done));
    }

    pub(super) fn signal(&mut self, name: &str, number: u8) -> Result<Answer, Failure> {
        let instance = self.instances.get_mut(name).ok_or(Failure::NoInstance)?;
        if number == 9 {
            if matches!(instance.phase, Phase::Exited(_)) {
                return Err(Failure::NoInstance);
            }
            instance.kill();
            return Ok(Answer::Done);
        }
        let process = instance.started_process().ok_or(Failure::NoInstance)?;
        let program = process.program.as_ref().ok_or(Failure::NoInstance)?;
        send_signal(&program.pidfd, number)
            .attempt(|| format!("cannot send signal {number} to {name}"))?;
        Ok(Answer::Done)
    }

    /// Kills what runs and forgets the rest; the answer follows when that is done.
    pub(super) fn remove(&mut self, ticket: Ticket, name: &str) -> Result<(), Failure> {
        let id = InstanceId::parse(name).attempt(|| "cannot remove an instance")?;
        match self.instances.get_mut(name) {
            Some(instance) if !matches!(instance.phase, Phase::Exited(_)) => {
                instance.removals.push(ticket);
                instance.kill();
            }
            Some(_) => {
                self.discard(name);
                self.reply(ticket, Ok(Answer::Done));
            }
            None => {
                self.throw_away(&self.machine.home.private(&id));
                self.reply(ticket, Ok(Answer::Done));
            }
        }
        Ok(())
    }

    fn discard(&mut self, name: &str) {
        if let Some(instance) = self.instances.remove(name) {
            self.names.remove(&instance.key);
            self.throw_away(&self.machine.home.private(&instance.id));
        }
    }

    pub(super) fn rename(&mut self, name: &str, hosts: Vec<HostLine>) -> Result<Answer, Failure> {
        let instance = self.instances.get_mut(name).ok_or(Failure::NoInstance)?;
        let text = hosts_text(&instance.wish.hostname, &hosts);
        let path = self.machine.home.private(&instance.id).join("etc/hosts");
        // In place, since the file itself is mounted; written before it is cut, so that a reader
        // meanwhile finds whole lines.
        let what = || format!("cannot rewrite the hosts file of {name}");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .attempt(what)?;
        std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).attempt(what)?;
        file.set_len(text.len() as u64).attempt(what)?;
        instance.wish.hosts = hosts;
        Ok(Answer::Done)
    }

    pub(super) fn attachment(&self, name: &str) -> Result<(Answer, Vec<OwnedFd>), Failure> {
        let instance = self.instances.get(name).ok_or(Failure::NoInstance)?;
        let process = instance.started_process().ok_or(Failure::NoInstance)?;
        let held = process.ambassador.as_ref().ok_or(Failure::NoInstance)?;
        let all = [&held.namespace]
            .into_iter()
            .chain(&held.tcp)
            .chain([&held.dns]);
        let duplicates = all.chain(&held.udp).map(OwnedFd::try_clone);
        let duplicates = duplicates
            .collect::<Result<_, _>>()
            .attempt(|| format!("cannot hand out the sockets of {name}"))?;
        let answer = Answer::Attachment {
            tcp: held.tcp.len(),
            udp: instance.wish.udp.clone(),
        };
        Ok((answer, duplicates))
    }
}

/// By number, since the real-time ones have no name.
fn send_signal(pidfd: &OwnedFd, number: u8) -> Result<(), rustix::io::Errno> {
    use std::os::fd::AsRawFd;
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, the rest are numbers and a null pointer, which is allowed.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            i32::from(number),
            none,
            0,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(crate::sandbox::tree::last_errno())
    }
}
