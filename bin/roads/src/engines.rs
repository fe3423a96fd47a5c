//! The engines of a daemon as one: each instance is on the engine that its image asks for.
//!
//! `image: host` is the embedded engine's, every other image Docker's, unless the daemon was begun
//! with one engine alone. An instance's engine is known from its start, or from being seen there.

mod kept;
mod lines;
mod listing;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use cli::EngineName;
use engine_docker::{DockerEngine, Host};
use engine_embedded::EmbeddedEngine;
use model::{AppName, Image, InstanceId, Signal};
use ports::{
    Attachment, Engine, EngineError, EngineEvent, ExecWish, Execution, HostNames, InstanceWish,
    LogStream, LogWish, Pending, Sighting, Volumes,
};

pub(crate) use kept::is_listener;
pub(crate) use listing::print;

/// Both engines; Docker's where it is wished for or found.
pub(crate) struct Engines {
    embedded: Arc<EmbeddedEngine>,
    docker: Option<DockerEngine>,
    choice: EngineName,
    known: Mutex<Known>,
}

/// What is on Docker; everything else is on the embedded engine.
#[derive(Default)]
struct Known {
    instances: BTreeSet<InstanceId>,
    apps: BTreeSet<AppName>,
}

impl Engines {
    /// Docker is found when its socket is there, or DOCKER_HOST names one, as the daemon begins.
    pub(crate) fn new(
        embedded: Arc<EmbeddedEngine>,
        choice: EngineName,
        home: engine_docker::Home,
    ) -> Result<Self> {
        let found = match choice {
            EngineName::Embedded => None,
            EngineName::Docker => Some(Host::from_environment()?),
            EngineName::Auto => Host::from_environment()
                .ok()
                .filter(|host| engine_docker::may_be_used() && host.path().exists()),
        };
        let keep: Arc<dyn engine_docker::Keep> = Arc::new(kept::Keeper(Arc::clone(&embedded)));
        let docker = found.map(|host| DockerEngine::new(host, home, keep));
        Ok(Self {
            embedded,
            docker: docker.transpose()?,
            choice,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine that an instance is on.
    fn of(&self, id: &InstanceId) -> &dyn Engine {
        match &self.docker {
            Some(docker) if self.known().instances.contains(id) => docker,
            Some(_) | None => &*self.embedded,
        }
    }

    /// The engine that a new instance is for.
    fn fit(&self, wish: &InstanceWish) -> &dyn Engine {
        let docker = self
            .docker
            .as_ref()
            .filter(|_| match (self.choice, &wish.spec.image) {
                (EngineName::Docker, _) | (EngineName::Auto, Image::Reference(_)) => true,
                (EngineName::Embedded, _) | (EngineName::Auto, Image::Host) => false,
            });
        let Some(docker) = docker else {
            return &*self.embedded;
        };
        let mut known = self.known();
        known.instances.insert(wish.id.clone());
        known.apps.insert(wish.id.app.clone());
        docker
    }

    /// Docker's instances; none when it is away and none of it is known to be there.
    async fn observe_docker(&self) -> Result<Vec<Sighting>, EngineError> {
        let Some(docker) = &self.docker else {
            return Ok(Vec::new());
        };
        let seen = match docker.observe().await {
            Err(EngineError::Unreachable { .. }) if self.known().apps.is_empty() => Vec::new(),
            seen => seen?,
        };
        let mut known = self.known();
        let ids = seen.iter().map(|sighting| sighting.id.clone());
        known.instances.extend(ids);
        let apps = seen.iter().map(|sighting| sighting.id.app.clone());
        known.apps.extend(apps);
        Ok(seen)
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), EngineError> {
        self.of(id).remove(id).await?;
        self.known().instances.remove(id);
        Ok(())
    }

    async fn remove_app(&self, app: &AppName, volumes: Volumes) -> Result<(), EngineError> {
        self.embedded.remove_app(app, volumes).await?;
        let on_docker = self.known().apps.contains(app);
        match &self.docker {
            Some(docker) if on_docker => docker.remove_app(app, volumes).await?,
            Some(_) | None => {}
        }
        self.known().apps.remove(app);
        Ok(())
    }
}

impl Engine for Engines {
    fn name(&self) -> &'static str {
        match (self.choice, &self.docker) {
            (EngineName::Docker, _) => "docker",
            (EngineName::Auto, Some(_)) => "embedded and docker",
            (EngineName::Auto, None) | (EngineName::Embedded, _) => self.embedded.name(),
        }
    }

    fn shortcomings(&self) -> Vec<String> {
        let docker = self.docker.iter().flat_map(Engine::shortcomings);
        self.embedded
            .shortcomings()
            .into_iter()
            .chain(docker)
            .collect()
    }

    fn observe(&self) -> Pending<'_, Result<Vec<Sighting>, EngineError>> {
        Box::pin(async {
            let mut seen = self.embedded.observe().await?;
            seen.extend(self.observe_docker().await?);
            Ok(seen)
        })
    }

    fn start(&self, wish: InstanceWish) -> Pending<'_, Result<(), EngineError>> {
        self.fit(&wish).start(wish)
    }

    fn attachment<'a>(
        &'a self,
        id: &'a InstanceId,
    ) -> Pending<'a, Result<Attachment, EngineError>> {
        self.of(id).attachment(id)
    }

    fn until_listening<'a>(
        &'a self,
        id: &'a InstanceId,
        ports: &'a [u16],
    ) -> Pending<'a, Result<Option<u16>, EngineError>> {
        self.of(id).until_listening(id, ports)
    }

    fn signal<'a>(
        &'a self,
        id: &'a InstanceId,
        signal: Signal,
    ) -> Pending<'a, Result<(), EngineError>> {
        self.of(id).signal(id, signal)
    }

    fn freeze<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        self.of(id).freeze(id)
    }

    fn thaw<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        self.of(id).thaw(id)
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(Self::remove(self, id))
    }

    fn rename<'a>(
        &'a self,
        id: &'a InstanceId,
        hosts: &'a [HostNames],
    ) -> Pending<'a, Result<(), EngineError>> {
        self.of(id).rename(id, hosts)
    }

    fn exec(&self, wish: ExecWish) -> Pending<'_, Result<Execution, EngineError>> {
        self.of(&wish.id).exec(wish)
    }

    fn logs(&self, wish: LogWish) -> Pending<'_, Result<Box<dyn LogStream>, EngineError>> {
        let on_docker = self.known().apps.contains(&wish.app);
        match &self.docker {
            Some(docker) if on_docker => Box::pin(lines::of_both(&*self.embedded, docker, wish)),
            Some(_) | None => self.embedded.logs(wish),
        }
    }

    fn remove_app<'a>(
        &'a self,
        app: &'a AppName,
        volumes: Volumes,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(Self::remove_app(self, app, volumes))
    }

    fn next_event(&self) -> Pending<'_, EngineEvent> {
        Box::pin(async {
            let Some(docker) = &self.docker else {
                return self.embedded.next_event().await;
            };
            // Both wait on a channel, and lose nothing when they are dropped.
            tokio::select! {
                event = self.embedded.next_event() => event,
                event = docker.next_event() => event,
            }
        })
    }

    fn shut_down(&self) -> Pending<'_, Result<(), EngineError>> {
        self.embedded.shut_down()
    }
}
