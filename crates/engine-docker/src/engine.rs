//! [`ports::Engine`] over Docker's API.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::Docker;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
};
use model::{AppName, InstanceId, Signal};
use ports::{
    Attachment, Engine, EngineError, EngineEvent, ExecWish, Execution, HostNames, InstanceState,
    InstanceWish, LogStream, LogWish, Pending, Sighting, Volumes,
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, watch};
use tokio::task::JoinSet;
use tracing::debug;

use crate::ambassador::Wish;
use crate::container::{body, hostname};
use crate::freezer::Freezer;
use crate::image::Pulls;
use crate::instance::{Instance, Keep};
use crate::labels::container_name;
use crate::link::{Host, Link};
use crate::network::{self, Networks};
use crate::observe::{self, Seen};
use crate::{Home, events, exec, failure, image, listening, logs, rights, volume};

/// Its name, as `--engine` has it.
pub(crate) const NAME: &str = "docker";
/// How many events may wait to be taken.
const EVENTS_MAX: usize = 1024;

/// The engine that runs every instance as a container.
#[derive(Debug)]
pub struct DockerEngine {
    shared: Arc<Shared>,
    news: AsyncMutex<mpsc::Receiver<EngineEvent>>,
    /// Owns what follows the events.
    _tasks: JoinSet<()>,
}

/// What the engine and its tasks share.
pub(crate) struct Shared {
    pub(crate) link: Link,
    pub(crate) home: Home,
    pub(crate) networks: Networks,
    pulls: Pulls,
    /// Owns what Docker has still to answer, though its effect was seen.
    background: Mutex<JoinSet<()>>,
    keep: Arc<dyn Keep>,
    instances: Mutex<BTreeMap<InstanceId, Arc<Instance>>>,
    news: mpsc::Sender<EngineEvent>,
    /// Counts the containers that came through their gate, and the times that Docker was found.
    starts: Arc<watch::Sender<u64>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("link", &self.link)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn instances(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Instance>>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance that was started or seen.
    pub(crate) fn known(&self, id: &InstanceId) -> Option<Arc<Instance>> {
        self.instances().get(id).cloned()
    }

    /// Changes whenever there may be a log that was not there before.
    pub(crate) fn starts(&self) -> watch::Receiver<u64> {
        self.starts.subscribe()
    }

    /// Docker was found, again or for the first time.
    pub(crate) fn note_docker(&self) {
        self.starts.send_modify(|count| *count += 1);
    }

    /// The instances of an app that run, each with its container's id.
    pub(crate) fn running(&self, app: &AppName) -> Vec<(InstanceId, String)> {
        let instances = self.instances();
        let of_app = instances.iter().filter(|(id, _)| id.app == *app);
        let running = of_app.filter(|(_, instance)| instance.pid().is_some());
        let pair = |(id, instance): (&InstanceId, &Arc<Instance>)| {
            Some((id.clone(), instance.container().ok()?))
        };
        running.filter_map(pair).collect()
    }

    pub(crate) async fn tell(&self, event: EngineEvent) {
        // The receiver is a field of the engine, and the tasks do not outlive it.
        self.news.send(event).await.ok();
    }

    /// The instance, with its door open.
    fn open(&self, id: &InstanceId, hostname: &str) -> Result<Arc<Instance>, EngineError> {
        let mut instances = self.instances();
        if let Some(known) = instances.get(id) {
            return Ok(Arc::clone(known));
        }
        let instance = Arc::new(Instance::open(
            id.clone(),
            self.home.folder(id),
            hostname.to_owned(),
            Arc::clone(&self.keep),
            self.news.clone(),
            Arc::clone(&self.starts),
        )?);
        instances.insert(id.clone(), Arc::clone(&instance));
        Ok(instance)
    }

    /// A container that was found becomes known.
    fn adopt(&self, seen: &Seen) -> Result<Arc<Instance>, EngineError> {
        let id = &seen.identity.id;
        if self.known(id).is_none() {
            let made = std::fs::create_dir_all(self.home.folder(id).shared());
            made.map_err(|error| cannot_write(id, &error))?;
        }
        let instance = self.open(id, &seen.hostname)?;
        if let Ok(_step) = instance.step.try_lock() {
            instance.see(seen);
        }
        Ok(instance)
    }

    async fn observe(&self) -> Result<Vec<Sighting>, EngineError> {
        let docker = self.link.docker().await?;
        let seen = observe::all(&docker, &self.home.label()).await?;
        let mut sightings = Vec::new();
        for seen in &seen {
            let instance = self.adopt(seen)?;
            let mut sighting = seen.sighting();
            // Docker has not said yet that it is thawed, and it is.
            let thawing = instance.step.try_lock().is_err() && !instance.is_frozen();
            if thawing && sighting.state == InstanceState::Frozen {
                sighting.state = InstanceState::Running;
            }
            sightings.push(sighting);
        }
        // What has a container that is not there any more was removed by somebody.
        self.instances().retain(|id, instance| {
            let there = seen.iter().any(|seen| seen.identity.id == *id);
            there || instance.container().is_err() || instance.step.try_lock().is_err()
        });
        Ok(sightings)
    }

    /// An instance that has a container, whoever started it.
    async fn find(&self, docker: &Docker, id: &InstanceId) -> Result<Arc<Instance>, EngineError> {
        if let Some(known) = self.known(id).filter(|known| known.container().is_ok()) {
            return Ok(known);
        }
        match observe::one(docker, &self.home.label(), id).await? {
            Some(seen) => self.adopt(&seen),
            None => Err(EngineError::NoInstance { id: id.clone() }),
        }
    }

    /// An instance, and its container's id.
    pub(crate) async fn container(
        &self,
        docker: &Docker,
        id: &InstanceId,
    ) -> Result<(Arc<Instance>, String), EngineError> {
        let instance = self.find(docker, id).await?;
        let container = instance.container()?;
        Ok((instance, container))
    }

    async fn start(&self, wish: InstanceWish) -> Result<(), EngineError> {
        let id = &wish.id;
        let docker = self.link.docker().await?;
        let folder = self.home.folder(id);
        let ambassador = Wish {
            captures: wish.captures,
            udp: wish.udp.clone(),
        };
        let prepare = || {
            folder.make(&self.home)?;
            ambassador.write(&folder.wish())?;
            folder.write_files(&wish.spec.files)?;
            folder.write_names(&hostname(&wish), &id.app, &wish.hosts)
        };
        let known = self.known(id);
        if known.is_none() {
            prepare().map_err(|error| cannot_write(id, &error))?;
        }
        let instance = self.open(id, &hostname(&wish))?;
        let step = Arc::clone(&instance.step).lock_owned().await;
        let seen = match instance.container() {
            Ok(container) => observe::look(&docker, id, &container).await?,
            Err(_) => None,
        };
        if seen.as_ref().is_some_and(Seen::runs) {
            return Ok(());
        }
        if known.is_some() {
            prepare().map_err(|error| cannot_write(id, &error))?;
        }
        let container = match seen {
            Some(seen) => seen.container,
            None => self.create(&docker, &wish).await?,
        };
        instance.set_container(Some(container.clone()));
        let started = self.run(&docker, &instance, &container, step).await;
        if started.is_err() {
            // What could not be started is tried anew, not as it is; a network may be gone.
            self.networks.doubt().await;
            self.discard(&docker, &instance, &container).await;
        }
        started
    }

    /// Starts a container, and waits until its gate is open. Docker's answer comes some milliseconds
    /// later, and is then taken by a task, before the next change.
    async fn run(
        &self,
        docker: &Docker,
        instance: &Instance,
        container: &str,
        step: OwnedMutexGuard<()>,
    ) -> Result<(), EngineError> {
        instance.expect_start();
        let (docker, container, id) = (docker.clone(), container.to_owned(), instance.id().clone());
        let mut start = Box::pin(async move {
            let answer = docker.start_container(&container, None).await;
            drop(step);
            answer.map_err(|error| failure::about(&id, "start", &error))
        });
        tokio::select! {
            answer = &mut start => {
                answer?;
                instance.until_through().await
            }
            passed = instance.until_passed() => {
                passed?;
                self.finish(start);
                Ok(())
            }
        }
    }

    /// Sees something through whose effect is there already.
    fn finish(&self, work: impl Future<Output = Result<(), EngineError>> + Send + 'static) {
        let mut tasks = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            if let Err(error) = work.await {
                debug!(%error, "Docker says otherwise");
            }
        });
    }

    async fn create(&self, docker: &Docker, wish: &InstanceWish) -> Result<String, EngineError> {
        let id = &wish.id;
        rights::check()?;
        let reference = image::reference(id, &wish.spec)?;
        let config = self.pulls.image(docker, reference).await?;
        make_sources(wish).map_err(|error| cannot_write(id, &error))?;
        let home = self.home.label();
        let networks = self.networks.ensure(docker, wish, &home).await?;
        let folder = self.home.folder(id);
        let body = body(wish, reference, &config, &folder, &home, &networks)?;
        let options = CreateContainerOptionsBuilder::new()
            .name(&container_name(id))
            .build();
        let created = docker.create_container(Some(options), body).await;
        let container = match created {
            Ok(created) => created.id,
            // A daemon that was killed may have got so far.
            Err(error) if failure::is_conflict(&error) => {
                let ours = observe::one(docker, &home, id).await?;
                let ours = ours.ok_or_else(|| failure::about(id, "create", &error))?;
                return Ok(ours.container);
            }
            Err(error) => return Err(failure::explain(format!("cannot create {id}"), &error)),
        };
        network::connect(docker, &container, networks.get(1..).unwrap_or_default()).await?;
        Ok(container)
    }

    async fn discard(&self, docker: &Docker, instance: &Instance, container: &str) {
        instance.expect_removal();
        let options = RemoveContainerOptionsBuilder::new()
            .v(true)
            .force(true)
            .build();
        if let Err(error) = docker.remove_container(container, Some(options)).await {
            debug!(id = %instance.id(), %error, "a container that did not start is left");
        }
        instance.let_go().await;
        self.instances().remove(instance.id());
    }

    async fn attachment(&self, id: &InstanceId) -> Result<Attachment, EngineError> {
        let docker = self.link.docker().await?;
        let (instance, container) = self.container(&docker, id).await?;
        if instance.namespace().is_some() {
            return instance.attachment(None).await;
        }
        let seen = observe::look(&docker, id, &container).await?;
        let pid = seen.filter(Seen::runs).and_then(|seen| seen.pid);
        instance.attachment(pid).await
    }

    async fn until_listening(
        &self,
        id: &InstanceId,
        ports: &[u16],
    ) -> Result<Option<u16>, EngineError> {
        if ports.is_empty() {
            return Ok(None);
        }
        self.attachment(id).await?;
        let gone = || EngineError::NoInstance { id: id.clone() };
        let instance = self.known(id).ok_or_else(gone)?;
        let namespace = instance.namespace().ok_or_else(gone)?;
        listening::until(id, &namespace, ports, || instance.namespace().is_some()).await
    }

    async fn signal(&self, id: &InstanceId, signal: Signal) -> Result<(), EngineError> {
        let docker = self.link.docker().await?;
        let (_, container) = self.container(&docker, id).await?;
        let number = signal.number().to_string();
        let options = KillContainerOptionsBuilder::new().signal(&number).build();
        match docker.kill_container(&container, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if failure::is_conflict(&error) => {
                Err(EngineError::NoInstance { id: id.clone() })
            }
            Err(error) => Err(failure::about(id, "send a signal to", &error)),
        }
    }

    async fn freeze(&self, id: &InstanceId) -> Result<(), EngineError> {
        let docker = self.link.docker().await?;
        let (instance, container) = self.container(&docker, id).await?;
        let _step = instance.step.lock().await;
        let freezer = match instance.pid() {
            Some(pid) => Freezer::of(pid),
            None => None,
        };
        instance.set_frozen(freezer);
        match docker.pause_container(&container).await {
            Ok(()) => Ok(()),
            Err(error) if failure::sentence(&error).contains("already paused") => Ok(()),
            Err(error) if failure::is_conflict(&error) => {
                instance.take_frozen();
                Err(EngineError::NoInstance { id: id.clone() })
            }
            Err(error) => {
                instance.take_frozen();
                Err(failure::about(id, "freeze", &error))
            }
        }
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), EngineError> {
        let docker = self.link.docker().await?;
        match self.container(&docker, id).await {
            Ok((instance, container)) => {
                let _step = instance.step.lock().await;
                instance.expect_removal();
                let end = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
                // It has ended already, mostly; and the removal ends it if this does not.
                drop(docker.kill_container(&container, Some(end)).await);
                logs::keep(&docker, &container, &self.home.logs(&id.app), id).await?;
                let options = RemoveContainerOptionsBuilder::new()
                    .v(true)
                    .force(true)
                    .build();
                match docker.remove_container(&container, Some(options)).await {
                    Err(error) if !failure::is_absent(&error) && !failure::is_conflict(&error) => {
                        return Err(failure::about(id, "remove", &error));
                    }
                    Ok(()) | Err(_) => {}
                }
                instance.let_go().await;
            }
            Err(EngineError::NoInstance { .. }) => {}
            Err(error) => return Err(error),
        }
        self.instances().remove(id);
        let removed = self.home.folder(id).remove();
        removed.map_err(|error| cannot_write(id, &error))
    }

    async fn rename(&self, id: &InstanceId, hosts: &[HostNames]) -> Result<(), EngineError> {
        match self.home.folder(id).write_services(hosts) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(EngineError::NoInstance { id: id.clone() })
            }
            written => written.map_err(|error| cannot_write(id, &error)),
        }
    }

    async fn remove_app(&self, app: &AppName, volumes: Volumes) -> Result<(), EngineError> {
        let docker = self.link.docker().await?;
        let home = self.home.label();
        self.networks.remove(&docker, app, &home).await?;
        match volumes {
            Volumes::Keep => {}
            Volumes::Remove => volume::remove(&docker, app, &home).await?,
        }
        match std::fs::remove_dir_all(self.home.logs(app)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EngineError::Failed {
                what: format!("cannot remove the logs of {app}"),
                why: error.to_string(),
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl DockerEngine {
    /// The engine over the Docker at `host`, which may come later. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the file system says when the state folder cannot be written.
    pub fn new(host: Host, home: Home, keep: Arc<dyn Keep>) -> io::Result<Self> {
        home.write_gate()?;
        let (sender, news) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared {
            link: Link::new(host),
            pulls: Pulls::new(home.docker_config.clone()),
            background: Mutex::default(),
            home,
            networks: Networks::default(),
            keep,
            instances: Mutex::default(),
            news: sender,
            starts: Arc::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(events::watch(Arc::clone(&shared)));
        Ok(Self {
            shared,
            news: AsyncMutex::new(news),
            _tasks: tasks,
        })
    }

    /// Docker is asked, and the control group is watched: whichever says first that the processes
    /// run ends the wait. Docker's answer is then taken by a task, before the next change.
    async fn thaw_instance(&self, id: &InstanceId) -> Result<(), EngineError> {
        let docker = self.shared.link.docker().await?;
        let (instance, container) = self.shared.container(&docker, id).await?;
        let step = Arc::clone(&instance.step).lock_owned().await;
        let freezer = instance.take_frozen();
        let name = id.clone();
        let mut unpause = Box::pin(async move {
            let answer = docker.unpause_container(&container).await;
            drop(step);
            match answer {
                Err(error) if failure::sentence(&error).contains("is not paused") => Ok(()),
                Err(error) if failure::is_conflict(&error) => {
                    Err(EngineError::NoInstance { id: name })
                }
                answer => answer.map_err(|error| failure::about(&name, "thaw", &error)),
            }
        });
        let Some(freezer) = freezer else {
            return unpause.await;
        };
        tokio::select! {
            answer = &mut unpause => return answer,
            () = freezer.until_thawed() => {}
        }
        self.shared.finish(unpause);
        Ok(())
    }
}

impl Engine for DockerEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn shortcomings(&self) -> Vec<String> {
        let lacking = rights::check().err();
        lacking.iter().map(ToString::to_string).collect()
    }

    fn observe(&self) -> Pending<'_, Result<Vec<Sighting>, EngineError>> {
        Box::pin(self.shared.observe())
    }

    fn start(&self, wish: InstanceWish) -> Pending<'_, Result<(), EngineError>> {
        Box::pin(self.shared.start(wish))
    }

    fn attachment<'a>(
        &'a self,
        id: &'a InstanceId,
    ) -> Pending<'a, Result<Attachment, EngineError>> {
        Box::pin(self.shared.attachment(id))
    }

    fn until_listening<'a>(
        &'a self,
        id: &'a InstanceId,
        ports: &'a [u16],
    ) -> Pending<'a, Result<Option<u16>, EngineError>> {
        Box::pin(self.shared.until_listening(id, ports))
    }

    fn signal<'a>(
        &'a self,
        id: &'a InstanceId,
        signal: Signal,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(self.shared.signal(id, signal))
    }

    fn freeze<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(self.shared.freeze(id))
    }

    fn thaw<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(self.thaw_instance(id))
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(self.shared.remove(id))
    }

    fn rename<'a>(
        &'a self,
        id: &'a InstanceId,
        hosts: &'a [HostNames],
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(self.shared.rename(id, hosts))
    }

    fn exec(&self, wish: ExecWish) -> Pending<'_, Result<Execution, EngineError>> {
        Box::pin(async move {
            let docker = self.shared.link.docker().await?;
            let (_, container) = self.shared.container(&docker, &wish.id).await?;
            exec::run(docker, &container, wish).await
        })
    }

    fn logs(&self, wish: LogWish) -> Pending<'_, Result<Box<dyn LogStream>, EngineError>> {
        Box::pin(logs::open(Arc::clone(&self.shared), wish))
    }

    fn remove_app<'a>(
        &'a self,
        app: &'a AppName,
        volumes: Volumes,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(self.shared.remove_app(app, volumes))
    }

    fn next_event(&self) -> Pending<'_, EngineEvent> {
        Box::pin(async {
            let mut news = self.news.lock().await;
            let event = news.recv().await;
            // The sender is a field of what we hold.
            event.unwrap_or_else(|| EngineEvent::Lost("the engine has ended".to_owned()))
        })
    }

    fn shut_down(&self) -> Pending<'_, Result<(), EngineError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Makes the folders that the short syntax of a mount promises.
fn make_sources(wish: &InstanceWish) -> io::Result<()> {
    for mount in &wish.spec.mounts {
        match mount {
            model::Mount::Bind {
                source,
                create_source: true,
                ..
            } if !source.exists() => std::fs::create_dir_all(source)?,
            model::Mount::Bind { .. }
            | model::Mount::Volume { .. }
            | model::Mount::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

fn cannot_write(id: &InstanceId, error: &io::Error) -> EngineError {
    EngineError::Failed {
        what: format!("cannot write the files of {id}"),
        why: error.to_string(),
    }
}
