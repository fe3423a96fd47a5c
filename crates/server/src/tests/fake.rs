//! Fake parts around a real control. Commands run on this machine, and every log has lines.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;

use control::Control;
use model::{AppName, ExitStatus, InstanceId, ServiceName, Signal, Timestamp};
use ports::{
    Attachment, Engine, EngineError, EngineEvent, ExecWish, Execution, HostNames, InstanceWish,
    LogFollow, LogLine, LogSource, LogStream, LogWish, Pending, Sighting, Volumes,
};
use testkit::{FakeClock, FakeDataplane, FakeEngine, FakeStore};
use tokio::sync::watch;

/// A program of this name ends at once, with code 3.
pub(crate) const FAILS: &str = "fails";

/// A control of fakes, and what must run for it.
pub(crate) fn control() -> (Control, impl Future<Output = ()> + Send) {
    Control::new(control::Parts {
        engine: Arc::new(TalkingEngine::default()),
        store: Arc::new(FakeStore::default()),
        dataplane: Arc::new(FakeDataplane::default()),
        clock: Arc::new(FakeClock::default()),
        snapshots: watch::channel(Arc::default()).0,
        captures: 1,
    })
}

/// The fake engine, with commands and logs.
#[derive(Default)]
struct TalkingEngine(FakeEngine);

fn ready<T: Send + 'static>(value: T) -> Pending<'static, T> {
    Box::pin(std::future::ready(value))
}

impl Engine for TalkingEngine {
    fn exec(&self, wish: ExecWish) -> Pending<'_, Result<Execution, EngineError>> {
        let mut child = tokio::process::Command::new(&wish.argv[0])
            .args(&wish.argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        ready(Ok(Execution {
            input: child.stdin.take().unwrap().into_owned_fd().unwrap(),
            output: child.stdout.take().unwrap().into_owned_fd().unwrap(),
            error: Some(child.stderr.take().unwrap().into_owned_fd().unwrap()),
            status: Box::pin(async move {
                let status = child.wait().await.unwrap();
                let code = status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap());
                Ok(ExitStatus::Code(u8::try_from(code).unwrap()))
            }),
        }))
    }

    fn logs(&self, wish: LogWish) -> Pending<'_, Result<Box<dyn LogStream>, EngineError>> {
        let line = |number: usize| LogLine {
            instance: InstanceId {
                app: wish.app.clone(),
                service: ServiceName::new("rng").unwrap(),
                number: 1,
            },
            at: wish.since.unwrap_or(Timestamp(7)),
            source: LogSource::Output,
            text: format!("line {number}"),
        };
        let lines = (1..=wish.tail.unwrap_or(3)).map(line).collect();
        ready(Ok(Box::new(FakeLog(lines, wish.follow))))
    }

    fn start(&self, wish: InstanceWish) -> Pending<'_, Result<(), EngineError>> {
        Box::pin(async move {
            let (id, fails) = (wish.id.clone(), wish.spec.argv() == [FAILS]);
            self.0.start(wish).await?;
            if fails {
                self.0.exit(&id, ExitStatus::Code(3));
            }
            Ok(())
        })
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn shortcomings(&self) -> Vec<String> {
        vec!["nothing is real".to_owned()]
    }

    fn observe(&self) -> Pending<'_, Result<Vec<Sighting>, EngineError>> {
        self.0.observe()
    }

    fn attachment<'a>(
        &'a self,
        id: &'a InstanceId,
    ) -> Pending<'a, Result<Attachment, EngineError>> {
        self.0.attachment(id)
    }

    fn until_listening<'a>(
        &'a self,
        id: &'a InstanceId,
        ports: &'a [u16],
    ) -> Pending<'a, Result<Option<u16>, EngineError>> {
        self.0.until_listening(id, ports)
    }

    fn signal<'a>(
        &'a self,
        id: &'a InstanceId,
        signal: Signal,
    ) -> Pending<'a, Result<(), EngineError>> {
        self.0.signal(id, signal)
    }

    fn freeze<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        self.0.freeze(id)
    }

    fn thaw<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        self.0.thaw(id)
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        self.0.remove(id)
    }

    fn rename<'a>(
        &'a self,
        id: &'a InstanceId,
        hosts: &'a [HostNames],
    ) -> Pending<'a, Result<(), EngineError>> {
        self.0.rename(id, hosts)
    }

    fn remove_app<'a>(
        &'a self,
        app: &'a AppName,
        volumes: Volumes,
    ) -> Pending<'a, Result<(), EngineError>> {
        self.0.remove_app(app, volumes)
    }

    fn next_event(&self) -> Pending<'_, EngineEvent> {
        self.0.next_event()
    }

    fn shut_down(&self) -> Pending<'_, Result<(), EngineError>> {
        self.0.shut_down()
    }
}

/// Lines, and then an end or none.
struct FakeLog(VecDeque<LogLine>, LogFollow);

impl LogStream for FakeLog {
    fn next(&mut self) -> Pending<'_, Result<Option<LogLine>, EngineError>> {
        match (self.0.pop_front(), self.1) {
            (Some(line), _) => ready(Ok(Some(line))),
            (None, LogFollow::Stop) => ready(Ok(None)),
            (None, LogFollow::Follow) => Box::pin(std::future::pending()),
        }
    }
}
