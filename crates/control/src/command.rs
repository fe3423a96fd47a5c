//! The handle by which everybody else commands: remembers first, then has it done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{AppName, AppSpec, InstanceId, Revision, ServiceName};
use plan::{Command, ServiceState, Wish};
use ports::{
    AppRecord, AppWish, Clock, Dataplane, Engine, EngineEvent, ExecWish, Execution, Listening,
    LogStream, LogWish, Store, StoredEvent, Volumes,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use traffic::{Connection, Snapshot};

use crate::app::Request;
use crate::execute::in_time;
use crate::journal::Journal;
use crate::release::{Release, release, select, unselect, wish_of};
use crate::shared::{Entry, REQUESTS_MAX, Shared, blocking, run_tasks};
use crate::status::Published;
use crate::{AppStatus, ControlError};

/// How long a status question waits for the engine's first answer.
const OBSERVED_TIMEOUT: Duration = Duration::from_secs(5);

/// What control is made of.
pub struct Parts {
    /// Runs instances.
    pub engine: Arc<dyn Engine>,
    /// Remembers.
    pub store: Arc<dyn Store>,
    /// Serves sockets.
    pub dataplane: Arc<dyn Dataplane>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where snapshots are published.
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    /// TCP capture sockets in each ambassador: one for each worker of the data plane.
    pub captures: usize,
}

/// An app that is to be up.
#[derive(Debug)]
pub struct UpWish {
    /// Its Spec.
    pub spec: AppSpec,
    /// The Spec as the resolved compose document.
    pub document: String,
    /// The services to run, with those that they depend on; all when empty. What an earlier `up`
    /// selected stays selected.
    pub services: BTreeSet<ServiceName>,
    /// Numbers of instances over the Spec's.
    pub scales: BTreeMap<ServiceName, u32>,
}

/// What `up` made current.
#[derive(Debug)]
pub struct UpDone {
    /// Services that have a new revision.
    pub changed: Vec<(ServiceName, Revision)>,
    /// Published ports.
    pub listening: Vec<Listening>,
}

/// Commands apps. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("engine", &self.engine.name())
            .finish_non_exhaustive()
    }
}

impl Control {
    /// The handle, and what must run for it: it ends when all handles are dropped. Instances
    /// stay.
    pub fn new(parts: Parts) -> (Self, impl Future<Output = ()> + Send) {
        let (tasks, new_tasks) = mpsc::channel(REQUESTS_MAX);
        let (journal, writer) = Journal::new(Arc::clone(&parts.store));
        let engine = Arc::clone(&parts.engine);
        let shared = Arc::new(Shared {
            parts,
            journal,
            apps: Mutex::default(),
            changes: Mutex::default(),
            tasks,
            busy: watch::channel(0).0,
        });
        let weak = Arc::downgrade(&shared);
        let events = async move {
            loop {
                let event = engine.next_event().await;
                let Some(shared) = weak.upgrade() else { return };
                if let EngineEvent::Lost(why) = &event {
                    return tracing::error!(%why, "the engine is lost");
                }
                shared.tell(event).await;
            }
        };
        let run = async move {
            tokio::select! {
                ((), ()) = async { tokio::join!(run_tasks(new_tasks), writer) } => {}
                () = events => {}
            }
        };
        (Self { shared }, run)
    }

    /// Goes on with the apps that the store remembers, each with the Spec that its document is.
    /// Instances of apps that nobody remembers are removed.
    ///
    /// # Errors
    /// What the engine or an app's addresses or ports failed with; the rest goes on all the same.
    pub async fn restore(&self, remembered: Vec<(AppRecord, AppSpec)>) -> Vec<ControlError> {
        let mut errors = Vec::new();
        for (record, spec) in remembered {
            let _alone = self.shared.alone(&record.name).await;
            let directory = match self.shared.directory_of(&record, spec) {
                Ok(directory) => directory,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let published = self.shared.publish_ports(&record, &directory).await;
            let listening = published.unwrap_or_else(|error| {
                errors.push(error);
                Vec::new()
            });
            let record = Arc::new(record);
            self.shared.begin(&record, directory, listening).await;
        }
        if let Err(error) = self.shared.remove_strangers().await {
            errors.push(error);
        }
        errors
    }

    /// Makes this the app's Spec, and has it run. Done when the status shows that.
    ///
    /// # Errors
    /// [`ControlError`]; nothing was changed.
    pub async fn up(&self, wish: UpWish) -> Result<UpDone, ControlError> {
        let shared = &self.shared;
        let _alone = shared.alone(&wish.spec.name).await;
        let before = shared.entry(&wish.spec.name).ok();
        let app = wish.spec.name.clone();
        let known = before
            .as_ref()
            .map(|entry| (&*entry.record, &*entry.directory));
        let Release {
            record,
            document,
            directory,
            changed,
        } = release(known, wish)?;
        let listening = shared.publish_ports(&record, &directory).await?;
        shared.save(&record, Some(document)).await?;
        shared.begin(&record, directory, listening.clone()).await;
        let retries = record.services.keys().cloned().map(Command::Retry);
        shared.command(&app, retries).await?;
        shared.happened(&app, None, model::Fact::AppUp);
        for (service, revision) in &changed {
            let fact = model::Fact::RevisionCurrent(*revision);
            shared.happened(&app, Some(service.clone()), fact);
        }
        Ok(UpDone { changed, listening })
    }

    /// Ends and forgets an app. Done when nothing of it is left but its logs, and its volumes if
    /// they are to stay.
    ///
    /// # Errors
    /// [`ControlError`]; what could not be removed stays known, and the command can be repeated.
    pub async fn down(&self, app: &AppName, volumes: Volumes) -> Result<(), ControlError> {
        let shared = &self.shared;
        let _alone = shared.alone(app).await;
        let entry = shared.entry(app)?;
        shared
            .desire(app, &entry.record, Arc::clone(&entry.directory), Wish::Down)
            .await?;
        let mut published = entry.published.clone();
        let gone = |published: &Arc<Published>| published.report.is_empty();
        published
            .wait_for(gone)
            .await
            .map_err(|_| ControlError::Leaving)?;
        shared
            .parts
            .dataplane
            .listen(app, Vec::new())
            .await
            .map_err(ControlError::Listen)?;
        let engine = &shared.parts.engine;
        in_time(engine.name(), engine.remove_app(app, volumes)).await?;
        let (done, ended) = oneshot::channel();
        shared.request(app, Request::End(done)).await?;
        ended.await.map_err(|_| ControlError::Leaving)?;
        shared.forget(app).await?;
        shared.happened(app, None, model::Fact::AppDown);
        Ok(())
    }

    /// Stops an app, or some of its services. What they keep is kept. Done when none runs.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn stop(
        &self,
        app: &AppName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<(), ControlError> {
        self.end(app, services, Ending::Asked).await
    }

    /// Ends the programs of an app, or of some of its services, in one way or the other.
    pub(crate) async fn end(
        &self,
        app: &AppName,
        services: &BTreeSet<ServiceName>,
        ending: Ending,
    ) -> Result<(), ControlError> {
        let all = services.is_empty();
        let entry = self
            .change(app, services, |record| {
                if all {
                    record.wish = AppWish::Stopped;
                }
                unselect(record, services);
                Ok(())
            })
            .await?;
        if all {
            self.shared.happened(app, None, model::Fact::AppStopped);
        }
        match ending {
            Ending::Asked => {}
            Ending::Killed => {
                let kills = self.named(app, services)?.into_iter().map(Command::Kill);
                self.shared.command(app, kills).await?;
            }
        }
        let mut published = entry.published.clone();
        let stopped = |published: &Arc<Published>| {
            let mut reports = published.report.services.iter();
            reports.all(|(name, report)| {
                !(all || services.contains(name))
                    || matches!(
                        report.state,
                        ServiceState::Stopped | ServiceState::Completed
                    )
            })
        };
        published
            .wait_for(stopped)
            .await
            .map_err(|_| ControlError::Leaving)?;
        Ok(())
    }

    /// Has an app run again with all that was stopped, or some of its services. Done when the
    /// status shows that.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn start(
        &self,
        app: &AppName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<(), ControlError> {
        self.change(app, services, |record| {
            record.wish = AppWish::Up;
            select(record, services);
            Ok(())
        })
        .await?;
        self.shared.happened(app, None, model::Fact::AppUp);
        Ok(())
    }

    /// Wishes for this number of instances of a service while it is awake. Done when the status
    /// shows that.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn scale(
        &self,
        app: &AppName,
        service: &ServiceName,
        instances: u32,
    ) -> Result<(), ControlError> {
        let spec = self.shared.entry(app)?.directory;
        let instances_max = spec.service(service).map(|spec| spec.scale.instances_max);
        let one = BTreeSet::from([service.clone()]);
        self.change(app, &one, |record| {
            if let Some(instances_max) = instances_max.filter(|&max| instances > max) {
                let service = service.clone();
                return Err(ControlError::TooManyInstances {
                    service,
                    wished: instances,
                    instances_max,
                });
            }
            if let Some(known) = record.services.get_mut(service) {
                known.instances = Some(instances);
            }
            Ok(())
        })
        .await?;
        let fact = model::Fact::ServiceScaled(instances);
        self.shared.happened(app, Some(service.clone()), fact);
        Ok(())
    }

    /// Replaces the instances of these services, or of all. Done when the status shows that.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn restart(
        &self,
        app: &AppName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<(), ControlError> {
        let restarts = self.named(app, services)?.into_iter();
        self.shared
            .command(app, restarts.map(Command::Restart))
            .await
    }

    /// The apps that are known.
    #[must_use]
    pub fn apps(&self) -> Vec<AppName> {
        self.shared.lock().keys().cloned().collect()
    }

    /// Waits until the engine has told what runs of an app, which is so at once but for a daemon
    /// that has just begun. After some seconds the status is what it is: unknown.
    ///
    /// # Errors
    /// [`ControlError::NoSuchApp`].
    pub async fn observed(&self, app: &AppName) -> Result<(), ControlError> {
        let mut published = self.shared.entry(app)?.published;
        let observed = published.wait_for(|published| published.report.observed);
        // Either way the status says which.
        drop(timeout(OBSERVED_TIMEOUT, observed).await);
        Ok(())
    }

    /// An app as it is now.
    #[must_use]
    pub fn status(&self, app: &AppName) -> Option<AppStatus> {
        let published = self.shared.lock().get(app)?.published.clone();
        let published = Arc::clone(&published.borrow());
        Some(published.status(self.shared.parts.clock.now()))
    }

    /// Waits until an app may have changed since the last wait with the same watch.
    #[must_use]
    pub fn changes(&self, app: &AppName) -> Option<Changes> {
        let published = self.shared.lock().get(app)?.published.clone();
        Some(Changes { published })
    }

    /// Runs a command in an instance of a service, waking it first when it sleeps: in the given
    /// one, else in the first that runs. `wish.id.number` is replaced by what was chosen.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn exec(
        &self,
        number: Option<u32>,
        mut wish: ExecWish,
    ) -> Result<Exec, ControlError> {
        let (app, service) = (wish.id.app.clone(), wish.id.service.clone());
        self.named(&app, &BTreeSet::from([service.clone()]))?;
        let published = self.shared.entry(&app)?.published;
        let awake = published
            .borrow()
            .activities
            .get(&service)
            .map(|a| a.connection());
        if running(&published.borrow(), &service, number).is_none() {
            self.wake(&app, &service).await?;
        }
        let chosen = running(&published.borrow(), &service, number);
        wish.id = chosen.ok_or_else(|| ControlError::NotReady {
            service: service.clone(),
            why: match number {
                Some(number) => format!("instance {service}-{number} does not run"),
                None => "none of its instances runs".to_owned(),
            },
        })?;
        let execution = self.shared.parts.engine.exec(wish).await?;
        Ok(Exec { execution, awake })
    }

    /// The output of an app's instances.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn logs(&self, wish: LogWish) -> Result<Box<dyn LogStream>, ControlError> {
        Ok(self.shared.parts.engine.logs(wish).await?)
    }

    /// What happened to an app until now: see [`Store::events`].
    ///
    /// # Errors
    /// [`ControlError::Store`].
    pub async fn events(
        &self,
        app: &AppName,
        after: Option<u64>,
        count_max: usize,
    ) -> Result<Vec<StoredEvent>, ControlError> {
        self.shared.journal.caught_up().await;
        let (store, app) = (Arc::clone(&self.shared.parts.store), app.clone());
        Ok(blocking(move || store.events(&app, after, count_max)).await?)
    }

    /// Changes whenever events were written down.
    #[must_use]
    pub fn events_written(&self) -> watch::Receiver<u64> {
        self.shared.journal.written()
    }

    /// What this machine keeps the engine from doing.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<String> {
        self.shared.parts.engine.shortcomings()
    }

    /// The engine's name.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.shared.parts.engine.name()
    }

    /// How many apps are up: a daemon with none may leave.
    #[must_use]
    pub fn busy(&self) -> watch::Receiver<usize> {
        self.shared.busy.subscribe()
    }

    /// These services of an app, or all of them when none is named.
    pub(crate) fn named(
        &self,
        app: &AppName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<BTreeSet<ServiceName>, ControlError> {
        let directory = self.shared.entry(app)?.directory;
        let known = &directory.spec().services;
        if let Some(service) = services
            .iter()
            .find(|service| !known.contains_key(*service))
        {
            let names: Vec<_> = known.keys().map(ServiceName::as_str).collect();
            return Err(ControlError::NoSuchService {
                app: app.clone(),
                service: service.clone(),
                known: names.join(", "),
            });
        }
        if services.is_empty() {
            Ok(known.keys().cloned().collect())
        } else {
            Ok(services.clone())
        }
    }

    /// Changes what is remembered of an app, and has it done.
    async fn change(
        &self,
        app: &AppName,
        services: &BTreeSet<ServiceName>,
        edit: impl FnOnce(&mut AppRecord) -> Result<(), ControlError>,
    ) -> Result<Entry, ControlError> {
        let shared = &self.shared;
        let _alone = shared.alone(app).await;
        self.named(app, services)?;
        let entry = shared.entry(app)?;
        let mut record = Arc::clone(&entry.record);
        edit(Arc::make_mut(&mut record))?;
        shared.save(&record, None).await?;
        let wish = wish_of(&record);
        shared
            .desire(app, &record, Arc::clone(&entry.directory), wish)
            .await?;
        Ok(entry)
    }
}

/// How programs come to their end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// They are asked, and killed after their grace period.
    Asked,
    /// They are killed.
    Killed,
}

/// A command that runs inside an instance, and keeps its service awake.
#[derive(Debug)]
pub struct Exec {
    /// The command.
    pub execution: Execution,
    /// Keeps the service awake until it is dropped.
    pub awake: Option<Connection>,
}

/// Tells when an app may have changed.
#[derive(Debug, Clone)]
pub struct Changes {
    published: watch::Receiver<Arc<Published>>,
}

impl Changes {
    /// Waits for a change. `false`: the app is gone.
    pub async fn changed(&mut self) -> bool {
        self.published.changed().await.is_ok()
    }
}

/// The instance of a service to run a command in.
fn running(
    published: &Published,
    service: &ServiceName,
    number: Option<u32>,
) -> Option<InstanceId> {
    use plan::InstanceState::{Draining, Probing, Ready, Unready};
    let report = published.report.services.get(service)?;
    let runs = |i: &&plan::InstanceReport| {
        number.is_none_or(|number| i.id.number == number)
            && matches!(i.state, Ready | Unready | Probing | Draining)
    };
    let candidates = report.instances.iter().filter(runs);
    candidates
        .min_by_key(|i| (i.state != Ready, i.id.number))
        .map(|i| i.id.clone())
}
