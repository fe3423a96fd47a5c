//! What all handles share: the apps that are known, and the way to their tasks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{AddressBook, AppName, AppSpec, Event, Publish, ServiceName};
use plan::{Command, Desired, Fact, Machine, Wish};
use ports::{AppRecord, AppWish, EngineEvent, Listening, Standing, StoreError};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, debug, info_span, warn};
use traffic::Directory;

use crate::app::{AppTask, Request};
use crate::execute::{Executor, in_time};
use crate::journal::Journal;
use crate::release::{desired, wish_of};
use crate::status::Published;
use crate::{ControlError, Parts};

/// Requests that wait for one app's task.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Facts that wait for one app's task.
const FACTS_MAX: usize = 1024;

pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) journal: Journal,
    pub(crate) apps: Mutex<BTreeMap<AppName, Entry>>,
    /// One change of what is desired at a time, for each app.
    pub(crate) changes: Mutex<BTreeMap<AppName, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) tasks: mpsc::Sender<AppTask>,
    /// Apps that are up or have instances left.
    pub(crate) busy: watch::Sender<usize>,
}

/// What is known of an app outside of its task.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) record: Arc<AppRecord>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) facts: mpsc::Sender<Fact>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
}

impl Shared {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<AppName, Entry>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else changes what is desired of this app.
    pub(crate) async fn alone(&self, app: &AppName) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(changes.entry(app.clone()).or_default())
        };
        turn.lock_owned().await
    }

    pub(crate) fn entry(&self, app: &AppName) -> Result<Entry, ControlError> {
        let found = self.lock().get(app).cloned();
        found.ok_or_else(|| ControlError::NoSuchApp(app.clone()))
    }

    pub(crate) async fn request(
        &self,
        app: &AppName,
        request: Request,
    ) -> Result<(), ControlError> {
        let requests = self.entry(app)?.requests;
        requests
            .send(request)
            .await
            .map_err(|_| ControlError::Leaving)
    }

    /// Has an app's task take these commands. Done when the status shows what became of them.
    pub(crate) async fn command(
        &self,
        app: &AppName,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<(), ControlError> {
        for command in commands {
            self.request(app, Request::Command(command)).await?;
        }
        self.reflected(app).await
    }

    /// Waits until an app's status shows all that was asked of its task before.
    pub(crate) async fn reflected(&self, app: &AppName) -> Result<(), ControlError> {
        let (told, reflected) = oneshot::channel();
        self.request(app, Request::Reflected(told)).await?;
        reflected.await.map_err(|_| ControlError::Leaving)
    }

    pub(crate) fn happened(&self, app: &AppName, service: Option<ServiceName>, fact: model::Fact) {
        let (at, app) = (self.parts.clock.wall(), app.clone());
        self.journal.record(Event {
            at,
            app,
            service,
            instance: None,
            fact,
        });
    }

    /// Passes on what the engine tells.
    pub(crate) async fn tell(&self, event: EngineEvent) {
        let (fact, only) = match event {
            EngineEvent::Exited { id, status } => (
                Fact::Exited {
                    id: id.clone(),
                    status,
                },
                Some(id.app),
            ),
            EngineEvent::Gap | EngineEvent::Lost(_) => (Fact::Gap, None),
        };
        let entries: Vec<_> = self
            .lock()
            .iter()
            .map(|(n, e)| (n.clone(), e.facts.clone()))
            .collect();
        for (app, facts) in entries {
            if only.as_ref().is_none_or(|only| *only == app) {
                // A task that has ended needs no facts.
                facts.send(fact.clone()).await.ok();
            }
        }
    }

    /// The app's task goes by this from now on; it is begun if there is none yet.
    pub(crate) async fn begin(
        &self,
        record: &Arc<AppRecord>,
        directory: Arc<Directory>,
        listening: Vec<Listening>,
    ) {
        let app = &record.name;
        if self.entry(app).is_err() {
            let desired = desired(record, &directory, wish_of(record));
            let (entry, task) = self.task(record, &directory, desired);
            self.lock().insert(app.clone(), entry);
            // The receiver is there for as long as anything runs.
            self.tasks.send(task).await.ok();
        }
        let told = self.desire(app, record, directory, wish_of(record)).await;
        let listens = self.request(app, Request::Listening(listening)).await;
        if told.and(listens).is_err() {
            debug!(%app, "the task has ended");
        }
    }

    pub(crate) fn task(
        &self,
        record: &Arc<AppRecord>,
        directory: &Arc<Directory>,
        desired: Desired,
    ) -> (Entry, AppTask) {
        let parts = &self.parts;
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        let (facts, told) = mpsc::channel(FACTS_MAX);
        let wake = Arc::new(Notify::new());
        let routes = AppTask::routes(Arc::clone(directory), parts.snapshots.clone(), &wake);
        let first = Published {
            at: parts.clock.now(),
            directory: Arc::clone(directory),
            report: Arc::default(),
            activities: Arc::clone(routes.activities()),
            endpoints: Arc::default(),
            started: Arc::default(),
            listening: Arc::default(),
        };
        let (published, publishes) = watch::channel(Arc::new(first));
        let task = AppTask {
            name: record.name.clone(),
            clock: Arc::clone(&parts.clock),
            executor: Executor {
                app: record.name.clone(),
                engine: Arc::clone(&parts.engine),
                dataplane: Arc::clone(&parts.dataplane),
                captures: parts.captures,
                attached: Arc::default(),
            },
            journal: self.journal.clone(),
            requests: requested,
            facts: told,
            published,
            wake,
            machine: Machine::new(desired, parts.clock.now()),
            routes,
        };
        let (record, directory) = (Arc::clone(record), Arc::clone(directory));
        (
            Entry {
                record,
                directory,
                requests,
                facts,
                published: publishes,
            },
            task,
        )
    }

    /// Has an app's task go by another record.
    pub(crate) async fn desire(
        &self,
        app: &AppName,
        record: &Arc<AppRecord>,
        directory: Arc<Directory>,
        wish: Wish,
    ) -> Result<(), ControlError> {
        let desired = Box::new(desired(record, &directory, wish));
        if let Some(entry) = self.lock().get_mut(app) {
            entry.record = Arc::clone(record);
            entry.directory = Arc::clone(&directory);
        }
        self.count_busy();
        self.request(app, Request::Desire(desired, directory))
            .await?;
        self.reflected(app).await
    }

    pub(crate) fn count_busy(&self) {
        let apps = self
            .lock()
            .values()
            .filter(|e| e.record.wish == AppWish::Up)
            .count();
        self.busy.send_replace(apps);
    }

    /// Remembers an app; its document too where that is another one now.
    pub(crate) async fn save(
        &self,
        record: &Arc<AppRecord>,
        document: Option<String>,
    ) -> Result<(), StoreError> {
        let (store, record) = (Arc::clone(&self.parts.store), Arc::clone(record));
        blocking(move || store.save(&record, document.as_deref())).await
    }

    pub(crate) async fn forget(&self, app: &AppName) -> Result<(), StoreError> {
        self.lock().remove(app);
        self.count_busy();
        let (store, app) = (Arc::clone(&self.parts.store), app.clone());
        blocking(move || store.forget(&app)).await
    }

    pub(crate) fn directory_of(
        &self,
        record: &AppRecord,
        spec: AppSpec,
    ) -> Result<Arc<Directory>, ControlError> {
        let mut addresses = AddressBook::default();
        for (service, known) in &record.services {
            addresses.restore(service, known.address)?;
        }
        Ok(Arc::new(Directory::new(Arc::new(spec), addresses)?))
    }

    /// Publishes the ports of the selected services of an app that is up.
    pub(crate) async fn publish_ports(
        &self,
        record: &AppRecord,
        directory: &Directory,
    ) -> Result<Vec<Listening>, ControlError> {
        let services = directory.spec().services.iter();
        let selected = |name: &ServiceName| {
            let known = record.services.get(name);
            record.wish == AppWish::Up && known.is_some_and(|s| s.standing == Standing::Selected)
        };
        let wishes: Vec<(ServiceName, Publish)> = services
            .filter(|(name, _)| selected(name))
            .flat_map(|(name, spec)| spec.publish.iter().map(|p| (name.clone(), p.clone())))
            .collect();
        self.parts
            .dataplane
            .listen(&record.name, wishes)
            .await
            .map_err(ControlError::Listen)
    }

    /// Removes the instances of apps that nobody remembers.
    pub(crate) async fn remove_strangers(&self) -> Result<(), ControlError> {
        let engine = &self.parts.engine;
        for sighting in in_time(engine.name(), engine.observe()).await? {
            if self.entry(&sighting.id.app).is_err() {
                warn!(id = %sighting.id, "removes an instance of an app that is not known");
                in_time(engine.name(), engine.remove(&sighting.id)).await?;
            }
        }
        Ok(())
    }
}

/// Runs the tasks of all apps, until nobody can begin one any more.
pub(crate) async fn run_tasks(mut new_tasks: mpsc::Receiver<AppTask>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            task = new_tasks.recv() => match task {
                Some(task) => {
                    let span = info_span!("app", name = %task.name);
                    tasks.spawn(task.run().instrument(span));
                }
                None => break,
            },
            Some(_ended) = tasks.join_next() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let (path, why) = ("the store".to_owned(), error.to_string());
        Err(StoreError::File {
            what: "use",
            path,
            why,
        })
    })
}
