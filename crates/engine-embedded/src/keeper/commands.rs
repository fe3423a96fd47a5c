//! Carrying out what a daemon asks for.

use std::os::fd::OwnedFd;

use model::AppName;
use rustix::event::epoll;

use super::instances::Phase;
use super::protocol::{Answer, Call, FromKeeper, Program, Size, Status, VERSION, Volumes};
use super::{Keeper, RunningCommand, Source, Ticket, exec, spawn};
use crate::failure::{Attempt, Failure};

impl Keeper {
    pub(super) fn carry_out(&mut self, ticket: Ticket, call: Call, brought: Vec<OwnedFd>) {
        let outcome = match call {
            Call::Hello { .. } => return self.greet(ticket),
            Call::Observe => Ok(Answer::Sightings(self.observe())),
            Call::Start(wish) => return self.later(ticket, |keeper| keeper.start(ticket, *wish)),
            Call::Attachment { instance } => match self.attachment(&instance) {
                Ok((answer, sockets)) => return self.reply_with(ticket, Ok(answer), sockets),
                Err(failure) => Err(failure),
            },
            Call::Signal { instance, signal } => self.signal(&instance, signal),
            Call::Freeze { instance } => {
                return self.later(ticket, |keeper| keeper.freeze(ticket, &instance));
            }
            Call::Thaw { instance } => self.thaw(&instance),
            Call::Remove { instance } => {
                return self.later(ticket, |keeper| keeper.remove(ticket, &instance));
            }
            Call::Rename { instance, hosts } => self.rename(&instance, hosts),
            Call::Exec {
                instance,
                command,
                terminal,
            } => {
                let run = |keeper: &mut Self| keeper.exec(ticket, &instance, &command, terminal);
                return self.later(ticket, run);
            }
            Call::EndExec { exec } => {
                self.end_command(exec);
                Ok(Answer::Done)
            }
            Call::RemoveApp { app, volumes } => self.remove_app(&app, volumes),
            Call::Deposit { name } => self
                .deposits
                .deposit(name, brought)
                .attempt(|| "cannot hold these descriptors")
                .map(|()| Answer::Done),
            Call::DepositNames => Ok(Answer::DepositNames(self.deposits.names())),
            Call::Deposited { name } => match self.deposits.duplicates(&name) {
                Ok(held) => return self.reply_with(ticket, Ok(Answer::Deposited), held),
                Err(error) => Err(Failure::failed("cannot give back what is held", error)),
            },
            Call::Withdraw { name } => {
                self.deposits.withdraw(&name);
                Ok(Answer::Done)
            }
            Call::ShutDown => self.shut_down(),
        };
        self.reply(ticket, outcome);
    }

    /// Runs what answers by itself later, unless it fails at once.
    fn later(&mut self, ticket: Ticket, run: impl FnOnce(&mut Self) -> Result<(), Failure>) {
        if let Err(failure) = run(self) {
            self.reply(ticket, Err(failure));
        }
    }

    fn greet(&mut self, ticket: Ticket) {
        // A daemon will start something.
        self.want_spares();
        let answer = Answer::Hello {
            version: VERSION,
            pid: std::process::id().cast_signed(),
            shortcomings: self.machine.shortcomings.clone(),
        };
        let users = std::fs::File::open("/proc/self/ns/user").map(OwnedFd::from);
        match users.attempt(|| "cannot open our user namespace") {
            Ok(users) => self.reply_with(ticket, Ok(answer), vec![users]),
            Err(failure) => self.reply(ticket, Err(failure)),
        }
    }

    /// Lets go of everything held, and ends when the instances have.
    fn shut_down(&mut self) -> Result<Answer, Failure> {
        let is_kept = |phase: &Phase| !matches!(phase, Phase::Exited(_));
        let kept = self
            .instances
            .values()
            .find(|instance| is_kept(&instance.phase));
        if let Some(kept) = kept {
            let why = format!("instance {} is still there", kept.id);
            return Err(Failure::failed("cannot end the keeper", why));
        }
        self.instances.clear();
        self.names.clear();
        self.deposits = super::Deposits::default();
        self.sweep_instances();
        self.life = super::Life::Leaving;
        Ok(Answer::Done)
    }

    fn remove_app(&mut self, app: &str, volumes: Volumes) -> Result<Answer, Failure> {
        let app = AppName::new(app).attempt(|| "cannot remove an app")?;
        let home = &self.machine.home;
        let (logs, named, private) = (
            home.logs(&app),
            home.volumes(&app),
            home.instances().join(app.as_str()),
        );
        if !self
            .instances
            .values()
            .any(|instance| instance.id.app == app)
        {
            self.throw_away(&logs);
            self.throw_away(&private);
        }
        if volumes == Volumes::Remove {
            self.throw_away(&named);
        }
        Ok(Answer::Done)
    }

    fn exec(
        &mut self,
        ticket: Ticket,
        name: &str,
        command: &Program,
        terminal: Option<Size>,
    ) -> Result<(), Failure> {
        let instance = self.instances.get(name).ok_or(Failure::NoInstance)?;
        let process = match &instance.phase {
            Phase::Running(process) => process,
            Phase::Frozen(_) => {
                let why = "it is frozen, and so would the command be";
                return Err(Failure::failed(
                    format!("cannot run a command in {name}"),
                    why,
                ));
            }
            Phase::Starting { .. } | Phase::Exited(_) => return Err(Failure::NoInstance),
        };
        if command.argv.is_empty() {
            return Err(Failure::failed("cannot run a command", "it is empty"));
        }
        // What it does not say is as the instance has it.
        let own = &instance.wish.program;
        let is_new = |(key, _): &&(String, String)| {
            !command.environment.iter().any(|(other, _)| other == key)
        };
        let mut command = command.clone();
        let inherited = own.environment.iter().filter(is_new).cloned();
        let environment = inherited
            .chain(command.environment.iter().cloned())
            .collect();
        command.environment = environment;
        command.user = command.user.or_else(|| own.user.clone());
        command.working_dir = command.working_dir.or_else(|| own.working_dir.clone());
        let hostname = &instance.wish.hostname;
        let spawned = exec::spawn(&self.machine, process, hostname, &command, terminal)?;
        let key = self.key();
        self.watch(&spawned.status, Source::CommandStatus, key)?;
        if let Some(pidfd) = &spawned.pidfd {
            self.watch(pidfd, Source::CommandPidfd, key)?;
        }
        let connection = ticket.connection;
        let running = RunningCommand {
            command: spawned,
            connection,
            ticket: Some(ticket),
        };
        self.commands.insert(key, running);
        Ok(())
    }

    /// The command was executed, or could not be.
    pub(super) fn handle_command_status(&mut self, key: u64) {
        let Some(running) = self.commands.get_mut(&key) else {
            return;
        };
        let mut text = vec![0; 64 << 10];
        let Ok(length) = rustix::io::read(&running.command.status, &mut text) else {
            return;
        };
        let ticket = running.ticket.take();
        let streams = running.command.take_streams();
        // What is not watched any more need not be forgotten.
        let _ = epoll::delete(&self.epoll, &running.command.status);
        let Some(ticket) = ticket else { return };
        if length == 0 {
            self.reply_with(ticket, Ok(Answer::Execution { exec: key }), streams);
        } else {
            let failure = serde_json::from_slice(&text[..length])
                .unwrap_or_else(|error| Failure::failed("cannot run the command", error));
            self.reply(ticket, Err(failure));
        }
    }

    pub(super) fn handle_command_end(&mut self, key: u64) {
        // Whether it was ever executed must be answered first.
        self.handle_command_status(key);
        let Some(running) = self.commands.remove(&key) else {
            return;
        };
        self.forget(&running.command.status);
        let mut status = Status::Unknown;
        if let Some(pidfd) = &running.command.pidfd {
            self.forget(pidfd);
            status = spawn::wait(pidfd).unwrap_or(status);
        }
        if let Some(connection) = self.connections.get_mut(&running.connection) {
            connection.push(&FromKeeper::ExecEnded { exec: key, status }, Vec::new());
            self.flush(running.connection);
        }
    }

    fn end_command(&self, key: u64) {
        if let Some(running) = self.commands.get(&key) {
            running.command.kill();
        }
    }

    pub(super) fn end_commands_of(&self, connection: u64) {
        for running in self
            .commands
            .values()
            .filter(|r| r.connection == connection)
        {
            running.command.kill();
        }
    }
}
