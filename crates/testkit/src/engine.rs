//! An engine in memory, whose programs do what a test tells them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{AppName, ExitStatus, InstanceId, Moment, Revision, Signal};
use ports::{
    Attachment, Engine, EngineError, EngineEvent, ExecWish, Execution, HostNames, InstanceState,
    InstanceWish, LogLine, LogStream, LogWish, Pending, Sighting, Volumes,
};
use tokio::sync::watch;

/// What an engine may be asked, for faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// [`Engine::observe`].
    Observe,
    /// [`Engine::start`].
    Start,
    /// [`Engine::attachment`].
    Attachment,
    /// [`Engine::until_listening`].
    UntilListening,
    /// [`Engine::signal`].
    Signal,
    /// [`Engine::freeze`].
    Freeze,
    /// [`Engine::thaw`].
    Thaw,
    /// [`Engine::remove`].
    Remove,
    /// [`Engine::exec`].
    Exec,
    /// [`Engine::remove_app`].
    RemoveApp,
}

/// When programs listen on the ports that they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listen {
    /// From their start.
    #[default]
    AtStart,
    /// When the test says so ([`FakeEngine::listen`]).
    OnCommand,
}

/// An engine in memory.
#[derive(Debug)]
pub struct FakeEngine {
    state: Mutex<State>,
    /// Counts changes; whoever waits for something looks again at each.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    programs: BTreeMap<InstanceId, Program>,
    listen: Listen,
    failures: BTreeMap<Operation, VecDeque<EngineError>>,
    stalled: BTreeSet<Operation>,
    events: VecDeque<EngineEvent>,
    asked: Vec<String>,
    starts: u64,
    shut_down: bool,
}

#[derive(Debug)]
struct Program {
    revision: Revision,
    state: InstanceState,
    started: Moment,
    listens: bool,
    deaf: bool,
    exec_status: ExitStatus,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new(Listen::default())
    }
}

impl FakeEngine {
    /// An engine without instances.
    #[must_use]
    pub fn new(listen: Listen) -> Self {
        Self {
            state: Mutex::new(State {
                listen,
                ..State::default()
            }),
            changes: watch::Sender::new(0),
        }
    }

    /// The next such operation fails like this; said twice, the two next do.
    pub fn fail_next(&self, operation: Operation, error: EngineError) {
        let mut state = self.state();
        state
            .failures
            .entry(operation)
            .or_default()
            .push_back(error);
    }

    /// Such operations are not answered, until they are resumed.
    pub fn stall(&self, operation: Operation) {
        self.state().stalled.insert(operation);
    }

    /// Such operations are answered again.
    pub fn resume(&self, operation: Operation) {
        self.change(|state| state.stalled.remove(&operation));
    }

    /// The program of an instance listens from now on.
    pub fn listen(&self, id: &InstanceId) {
        self.with_program(id, |program| program.listens = true);
    }

    /// The program does not end for any signal but SIGKILL.
    pub fn deafen(&self, id: &InstanceId) {
        self.with_program(id, |program| program.deaf = true);
    }

    /// Commands inside the instance end like this from now on.
    pub fn set_exec_status(&self, id: &InstanceId, status: ExitStatus) {
        self.with_program(id, |program| program.exec_status = status);
    }

    /// The program of an instance ends, and that is told.
    pub fn exit(&self, id: &InstanceId, status: ExitStatus) {
        self.change(|state| state.end(id, status));
    }

    /// The program of an instance ends, and nobody is told.
    pub fn exit_unseen(&self, id: &InstanceId, status: ExitStatus) {
        self.with_program(id, |program| program.state = InstanceState::Exited(status));
    }

    /// Tells something.
    pub fn tell(&self, event: EngineEvent) {
        self.change(|state| state.events.push_back(event));
    }

    /// What an instance does, if there is one.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<InstanceState> {
        self.state().programs.get(id).map(|program| program.state)
    }

    /// All instances and what they do.
    #[must_use]
    pub fn instances(&self) -> Vec<(InstanceId, InstanceState)> {
        let state = self.state();
        let pair = |(id, program): (&InstanceId, &Program)| (id.clone(), program.state);
        state.programs.iter().map(pair).collect()
    }

    /// What was asked, in order, one line each: `start app/web/1`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Whether it was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state().shut_down
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    fn with_program(&self, id: &InstanceId, change: impl FnOnce(&mut Program)) {
        self.change(|state| {
            if let Some(program) = state.programs.get_mut(id) {
                change(program);
            }
        });
    }

    /// Waits until `ready` says what comes of it.
    async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(result) = ready(&mut self.state()) {
                return result;
            }
            if changes.changed().await.is_err() {
                // The sender is a field of ours and lives as long as we are borrowed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Writes down what is asked, waits while it is stalled, and fails if it is to fail.
    async fn begin(&self, operation: Operation, asked: String) -> Result<(), EngineError> {
        self.state().asked.push(asked);
        self.until(|state| (!state.stalled.contains(&operation)).then_some(()))
            .await;
        let mut state = self.state();
        match state
            .failures
            .get_mut(&operation)
            .and_then(VecDeque::pop_front)
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl State {
    fn end(&mut self, id: &InstanceId, status: ExitStatus) {
        if let Some(program) = self.programs.get_mut(id) {
            program.state = InstanceState::Exited(status);
            program.listens = false;
            let id = id.clone();
            self.events.push_back(EngineEvent::Exited { id, status });
        }
    }

    fn live(&mut self, id: &InstanceId) -> Result<&mut Program, EngineError> {
        let program = self.programs.get_mut(id);
        program
            .filter(|program| !matches!(program.state, InstanceState::Exited(_)))
            .ok_or_else(|| EngineError::NoInstance { id: id.clone() })
    }

    fn start(&mut self, wish: &InstanceWish) {
        if self.live(&wish.id).is_ok() {
            return;
        }
        self.starts += 1;
        let program = Program {
            revision: wish.revision,
            state: InstanceState::Running,
            started: Moment::from_zero(std::time::Duration::from_millis(self.starts)),
            listens: self.listen == Listen::AtStart,
            deaf: false,
            exec_status: ExitStatus::Code(0),
        };
        self.programs.insert(wish.id.clone(), program);
    }
}

impl Engine for FakeEngine {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn shortcomings(&self) -> Vec<String> {
        Vec::new()
    }

    fn observe(&self) -> Pending<'_, Result<Vec<Sighting>, EngineError>> {
        Box::pin(async move {
            self.begin(Operation::Observe, "observe".to_owned()).await?;
            let sighting = |(id, program): (&InstanceId, &Program)| Sighting {
                id: id.clone(),
                revision: program.revision,
                state: program.state,
                started: program.started,
            };
            Ok(self.state().programs.iter().map(sighting).collect())
        })
    }

    fn start(&self, wish: InstanceWish) -> Pending<'_, Result<(), EngineError>> {
        Box::pin(async move {
            self.begin(Operation::Start, format!("start {}", wish.id))
                .await?;
            self.change(|state| state.start(&wish));
            Ok(())
        })
    }

    fn attachment<'a>(
        &'a self,
        id: &'a InstanceId,
    ) -> Pending<'a, Result<Attachment, EngineError>> {
        Box::pin(async move {
            self.begin(Operation::Attachment, format!("attachment {id}"))
                .await?;
            self.state().live(id)?;
            attachment().map_err(|why| EngineError::Failed {
                what: "cannot make sockets".to_owned(),
                why: why.to_string(),
            })
        })
    }

    fn until_listening<'a>(
        &'a self,
        id: &'a InstanceId,
        ports: &'a [u16],
    ) -> Pending<'a, Result<Option<u16>, EngineError>> {
        Box::pin(async move {
            let asked = format!("until_listening {id} {ports:?}");
            self.begin(Operation::UntilListening, asked).await?;
            self.until(|state| match state.live(id) {
                Ok(program) if program.listens || ports.is_empty() => {
                    Some(Ok(ports.first().copied()))
                }
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .await
        })
    }

    fn signal<'a>(
        &'a self,
        id: &'a InstanceId,
        signal: Signal,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.begin(Operation::Signal, format!("signal {id} {signal}"))
                .await?;
            self.change(|state| {
                let deaf = state.live(id)?.deaf && signal != Signal::KILL;
                if !deaf {
                    state.end(id, ExitStatus::Signal(signal));
                }
                Ok(())
            })
        })
    }

    fn freeze<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.begin(Operation::Freeze, format!("freeze {id}"))
                .await?;
            self.change(|state| {
                state.live(id)?.state = InstanceState::Frozen;
                Ok(())
            })
        })
    }

    fn thaw<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.begin(Operation::Thaw, format!("thaw {id}")).await?;
            self.change(|state| {
                state.live(id)?.state = InstanceState::Running;
                Ok(())
            })
        })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.begin(Operation::Remove, format!("remove {id}"))
                .await?;
            self.change(|state| state.programs.remove(id));
            Ok(())
        })
    }

    fn rename<'a>(
        &'a self,
        id: &'a InstanceId,
        hosts: &'a [HostNames],
    ) -> Pending<'a, Result<(), EngineError>> {
        self.state()
            .asked
            .push(format!("rename {id} {}", hosts.len()));
        Box::pin(std::future::ready(Ok(())))
    }

    fn exec(&self, wish: ExecWish) -> Pending<'_, Result<Execution, EngineError>> {
        Box::pin(async move {
            let asked = format!("exec {} {}", wish.id, wish.argv.join(" "));
            self.begin(Operation::Exec, asked).await?;
            let status = self.state().live(&wish.id)?.exec_status;
            execution(status).map_err(|why| EngineError::Failed {
                what: "cannot make pipes".to_owned(),
                why: why.to_string(),
            })
        })
    }

    fn logs(&self, _wish: LogWish) -> Pending<'_, Result<Box<dyn LogStream>, EngineError>> {
        Box::pin(std::future::ready(Ok(
            Box::new(NoLines) as Box<dyn LogStream>
        )))
    }

    fn remove_app<'a>(
        &'a self,
        app: &'a AppName,
        volumes: Volumes,
    ) -> Pending<'a, Result<(), EngineError>> {
        let asked = format!("remove_app {app} {volumes:?}");
        Box::pin(self.begin(Operation::RemoveApp, asked))
    }

    fn next_event(&self) -> Pending<'_, EngineEvent> {
        Box::pin(self.until(|state| state.events.pop_front()))
    }

    fn shut_down(&self) -> Pending<'_, Result<(), EngineError>> {
        self.change(|state| state.shut_down = true);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Sockets of this namespace, which nobody calls.
fn attachment() -> std::io::Result<Attachment> {
    let tcp = TcpListener::bind(("127.0.0.1", 0))?;
    tcp.set_nonblocking(true)?;
    let dns = UdpSocket::bind(("127.0.0.1", 0))?;
    dns.set_nonblocking(true)?;
    Ok(Attachment {
        namespace: File::open("/proc/self/ns/net")?.into(),
        tcp: vec![OwnedFd::from(tcp)],
        dns: OwnedFd::from(dns),
        udp: Vec::new(),
    })
}

/// A command that reads and writes nothing and has ended.
fn execution(status: ExitStatus) -> std::io::Result<Execution> {
    let ours = || UnixStream::pair().map(|(ours, _theirs)| OwnedFd::from(ours));
    Ok(Execution {
        input: ours()?,
        output: ours()?,
        error: Some(ours()?),
        status: Box::pin(std::future::ready(Ok(status))),
    })
}

/// The output of programs that write nothing.
struct NoLines;

impl LogStream for NoLines {
    fn next(&mut self) -> Pending<'_, Result<Option<LogLine>, EngineError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{AppSpec, Image, ServiceName, ServiceSpec};
    use ports::Terminal;

    use super::*;

    fn id() -> InstanceId {
        InstanceId::parse("app/web/1").unwrap()
    }

    fn wish() -> InstanceWish {
        let spec = ServiceSpec::new(ServiceName::new("web").unwrap(), Image::Host);
        InstanceWish {
            id: id(),
            revision: Revision::FIRST,
            spec: Arc::new(spec),
            app: Arc::new(AppSpec::new(id().app)),
            hosts: Vec::new(),
            udp: Vec::new(),
            egress: model::Egress::None,
            captures: 1,
        }
    }

    #[tokio::test]
    async fn a_program_listens_when_it_is_told_and_its_end_is_an_event() {
        let engine = FakeEngine::new(Listen::OnCommand);
        engine.start(wish()).await.unwrap();
        let id = id();
        let (listening, ()) = tokio::join!(engine.until_listening(&id, &[80]), async {
            tokio::task::yield_now().await;
            engine.listen(&id);
        });
        assert_eq!(listening, Ok(Some(80)));
        engine.signal(&id, Signal::TERM).await.unwrap();
        let status = ExitStatus::Signal(Signal::TERM);
        assert_eq!(
            engine.next_event().await,
            EngineEvent::Exited {
                id: id.clone(),
                status
            }
        );
        assert!(engine.until_listening(&id, &[80]).await.is_err());
        assert_eq!(engine.asked()[0], "start app/web/1");
    }

    #[tokio::test]
    async fn a_failure_is_used_once_and_a_stalled_operation_waits() {
        let engine = FakeEngine::default();
        let error = EngineError::Failed {
            what: "cannot start".to_owned(),
            why: "the test says so".to_owned(),
        };
        engine.fail_next(Operation::Start, error.clone());
        assert_eq!(engine.start(wish()).await, Err(error));
        engine.stall(Operation::Start);
        let (started, ()) = tokio::join!(engine.start(wish()), async {
            tokio::task::yield_now().await;
            assert_eq!(engine.instance(&id()), None);
            engine.resume(Operation::Start);
        });
        started.unwrap();
        assert_eq!(engine.instance(&id()), Some(InstanceState::Running));
        assert!(engine.attachment(&id()).await.is_ok());
    }

    #[tokio::test]
    async fn a_command_ends_as_the_test_says() {
        let engine = FakeEngine::default();
        engine.start(wish()).await.unwrap();
        engine.set_exec_status(&id(), ExitStatus::Code(1));
        let wish = ExecWish {
            id: id(),
            argv: vec!["true".to_owned()],
            environment: BTreeMap::new(),
            user: None,
            working_dir: None,
            terminal: Terminal::None,
        };
        let execution = engine.exec(wish).await.unwrap();
        assert_eq!(execution.status.await, Ok(ExitStatus::Code(1)));
    }
}
