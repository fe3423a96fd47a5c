//! Carries out one action of a pass, to its one answer, within a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{AppName, HealthTest, Healthcheck, InstanceId, Revision, ServiceSpec};
use plan::{Action, Fact, Failure, Probe, Retry, Sight, Sighting, Step, Ticket};
use ports::{
    Dataplane, Engine, EngineError, ExecWish, HostNames, InstanceState, InstanceWish, Pending,
    Terminal, UdpCapture,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;
use traffic::Directory;

/// An engine that takes longer for a start is taken to have failed.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for everything else but probes, which bring their own.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// What is kept of a failed healthcheck's output, in bytes.
const OUTPUT_MAX: usize = 400;

/// What carries out the actions of one app.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) app: AppName,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) dataplane: Arc<dyn Dataplane>,
    /// Sockets that each new ambassador gets for TCP.
    pub(crate) captures: usize,
    /// The instances whose ambassadors are served.
    pub(crate) attached: Arc<Mutex<BTreeSet<InstanceId>>>,
}

impl Executor {
    /// Carries out a step; its answer.
    pub(crate) async fn execute(self, step: Step, directory: Arc<Directory>) -> Fact {
        let Step { ticket, action } = step;
        let (id, answered) = match action {
            Action::Observe => return self.observe(ticket).await,
            Action::Start { id, revision, spec } => {
                let started = self.start(wish(&id, revision, spec, &directory, self.captures));
                (id, within(START_TIMEOUT, started).await)
            }
            Action::Probe { id, how, timeout } => {
                let probed = self.probe(&id, how, &directory);
                (id.clone(), within(timeout, probed).await)
            }
            Action::Freeze { id } => (
                id.clone(),
                within(STEP_TIMEOUT, self.engine.freeze(&id)).await,
            ),
            Action::Thaw { id } => (
                id.clone(),
                within(STEP_TIMEOUT, self.engine.thaw(&id)).await,
            ),
            Action::Signal { id, signal } => {
                let signalled = self.engine.signal(&id, signal);
                (id.clone(), within(STEP_TIMEOUT, signalled).await)
            }
            Action::Remove { id } => {
                self.detach(&id);
                (
                    id.clone(),
                    within(STEP_TIMEOUT, self.engine.remove(&id)).await,
                )
            }
        };
        match answered {
            Ok(()) => Fact::Done { id, ticket },
            Err(failure) => Fact::Failed {
                id,
                ticket,
                failure,
            },
        }
    }

    async fn start(&self, wish: InstanceWish) -> Result<(), EngineError> {
        let id = wish.id.clone();
        self.engine.start(wish).await?;
        match self.attach(&id).await {
            // It ended already, which the engine tells by itself.
            Err(EngineError::NoInstance { .. }) => Ok(()),
            attached => attached,
        }
    }

    async fn attach(&self, id: &InstanceId) -> Result<(), EngineError> {
        let attachment = self.engine.attachment(id).await?;
        self.attached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone());
        self.dataplane.attach(id.clone(), attachment);
        Ok(())
    }

    /// Stops serving an instance's ambassador, if it is served.
    pub(crate) fn detach(&self, id: &InstanceId) {
        if self
            .attached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id)
        {
            self.dataplane.detach(id);
        }
    }

    fn is_attached(&self, id: &InstanceId) -> bool {
        self.attached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(id)
    }

    /// What instances of the app there are. Those that run are served from now on.
    async fn observe(&self, ticket: Ticket) -> Fact {
        match within(STEP_TIMEOUT, self.sightings()).await {
            Ok(sightings) => Fact::Sighted { ticket, sightings },
            Err(failure) => Fact::Unsighted {
                ticket,
                why: failure.why.to_string(),
            },
        }
    }

    async fn sightings(&self) -> Result<Vec<Sighting>, EngineError> {
        let seen = self.engine.observe().await?.into_iter();
        let mut sightings = Vec::new();
        for sighting in seen.filter(|sighting| sighting.id.app == self.app) {
            let state = match sighting.state {
                InstanceState::Running => Sight::Running,
                InstanceState::Frozen => Sight::Frozen,
                InstanceState::Exited(status) => Sight::Exited(status),
            };
            if !matches!(state, Sight::Exited(_)) && !self.is_attached(&sighting.id) {
                self.attach(&sighting.id).await?;
            }
            let (id, revision, started) = (sighting.id, sighting.revision, sighting.started);
            sightings.push(Sighting {
                id,
                revision,
                state,
                started,
            });
        }
        Ok(sightings)
    }

    async fn probe(
        &self,
        id: &InstanceId,
        how: Probe,
        directory: &Directory,
    ) -> Result<(), EngineError> {
        match how {
            Probe::Ports(ports) => self.engine.until_listening(id, &ports).await.map(|_| ()),
            Probe::Healthcheck => {
                let spec = directory.service(&id.service);
                match spec.and_then(|spec| spec.healthcheck.as_ref()) {
                    Some(check) => self.healthcheck(id, check).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn healthcheck(&self, id: &InstanceId, check: &Healthcheck) -> Result<(), EngineError> {
        let argv = match &check.test {
            HealthTest::Command(argv) => argv.clone(),
            HealthTest::Shell(line) => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        };
        let run = self.engine.exec(ExecWish {
            id: id.clone(),
            argv,
            environment: BTreeMap::new(),
            user: None,
            working_dir: None,
            terminal: Terminal::None,
        });
        let execution = run.await?;
        drop(execution.input);
        let error = execution.error;
        let (status, output, errors) = tokio::join!(
            execution.status,
            read_some(Some(execution.output)),
            read_some(error),
        );
        let status = status?;
        if status.is_success() {
            return Ok(());
        }
        let said = [errors, output].concat();
        let said = said.trim();
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(" and said: {said}")
        };
        Err(EngineError::Failed {
            what: "its healthcheck".to_owned(),
            why: format!("{status}{said}"),
        })
    }
}

/// What an instance is to be, as the engine is told.
fn wish(
    id: &InstanceId,
    revision: Revision,
    spec: Arc<ServiceSpec>,
    directory: &Directory,
    captures: usize,
) -> InstanceWish {
    let udp = directory.udp_callees(&id.service).into_iter();
    InstanceWish {
        id: id.clone(),
        revision,
        spec,
        app: Arc::clone(directory.spec()),
        hosts: host_names(directory, id),
        udp: udp
            .map(|(address, port)| UdpCapture { address, port })
            .collect(),
        egress: directory.spec().egress(&id.service),
        captures,
    }
}

/// The names that an instance knows.
pub(crate) fn host_names(directory: &Directory, id: &InstanceId) -> Vec<HostNames> {
    let entries = directory.hosts(&id.service).into_iter();
    entries
        .map(|entry| HostNames {
            address: entry.address,
            names: entry.names,
        })
        .collect()
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, Failure> {
    let failure = |why: String, retry| Failure {
        why: why.into(),
        retry,
    };
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ EngineError::Forbidden { .. })) => {
            Err(failure(error.to_string(), Retry::Never))
        }
        Ok(Err(error)) => Err(failure(error.to_string(), Retry::Later)),
        Err(_) => Err(failure(
            format!("no success within {limit:?}"),
            Retry::Later,
        )),
    }
}

/// What an engine is asked outside of a pass, within the deadline of a step.
pub(crate) async fn in_time<T>(
    engine: &'static str,
    asked: Pending<'_, Result<T, EngineError>>,
) -> Result<T, EngineError> {
    timeout(STEP_TIMEOUT, asked).await.unwrap_or_else(|_| {
        let why = format!("nothing came within {STEP_TIMEOUT:?}");
        Err(EngineError::Unreachable { engine, why })
    })
}

/// The beginning of what is written to a pipe, until its end; what comes beyond is thrown away.
async fn read_some(pipe: Option<OwnedFd>) -> String {
    let Some(mut pipe) = pipe.and_then(|fd| pipe::Receiver::from_owned_fd(fd).ok()) else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        let room = OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..length.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
