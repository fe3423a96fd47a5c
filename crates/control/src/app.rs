//! The task of one app: a loop around its machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AppName, Event, InstanceId, Moment, Revision};
use plan::{Action, Command, Desired, Fact, Machine, Pass};
use ports::{Clock, Listening};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::{debug, error, warn};
use traffic::{Directory, Snapshot};

use crate::execute::{Executor, host_names};
use crate::journal::Journal;
use crate::routes::Routes;
use crate::status::{Published, Started};

/// Passes in a row without waiting for anything; more is a fault of ours, and is slowed down.
const PASSES_MAX: u32 = 1000;
const SLOW_DOWN: std::time::Duration = std::time::Duration::from_millis(100);

/// What a task is asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// The app should be this from now on.
    Desire(Box<Desired>, Arc<Directory>),
    /// A person asks.
    Command(Command),
    /// These ports of it are published.
    Listening(Vec<Listening>),
    /// Say when the status shows all that was asked before.
    Reflected(oneshot::Sender<()>),
    /// Nothing is left of the app: end, and say when that is done.
    End(oneshot::Sender<()>),
}

/// What a task is made of.
pub(crate) struct AppTask {
    pub(crate) name: AppName,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Executor,
    pub(crate) journal: Journal,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// What the engine tells of this app by itself.
    pub(crate) facts: mpsc::Receiver<Fact>,
    pub(crate) published: watch::Sender<Arc<Published>>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) machine: Machine,
    pub(crate) routes: Routes,
}

/// What lives as long as the loop.
#[derive(Default)]
struct UnderWay {
    steps: JoinSet<Fact>,
    /// Names being told to instances; nobody waits for that.
    renames: JoinSet<()>,
    /// Probes by instance: the next action on it calls its probe off.
    probes: BTreeMap<InstanceId, AbortHandle>,
    /// The revision of each instance that was started or sighted.
    revisions: BTreeMap<InstanceId, Revision>,
    started: Arc<BTreeMap<InstanceId, Started>>,
    listening: Arc<Vec<Listening>>,
    /// Told when the next pass is published.
    reflected: Vec<oneshot::Sender<()>>,
}

impl AppTask {
    /// What the routes need to wake the task.
    pub(crate) fn routes(
        directory: Arc<Directory>,
        snapshots: watch::Sender<Arc<Snapshot>>,
        wake: &Arc<Notify>,
    ) -> Routes {
        let wake = Arc::clone(wake);
        Routes::new(directory, snapshots, Arc::new(move || wake.notify_one()))
    }

    /// Runs until it is asked to end, or nobody can ask any more.
    pub(crate) async fn run(mut self) {
        let mut under_way = UnderWay::default();
        let mut passes = 0;
        loop {
            let next = self.pass(&mut under_way);
            passes = if next.is_some_and(|next| next <= self.clock.now()) {
                passes + 1
            } else {
                0
            };
            if passes > PASSES_MAX {
                error!(app = %self.name, "passes follow each other without an end");
                tokio::time::sleep(SLOW_DOWN).await;
            }
            match self.wait(&mut under_way, next).await {
                Next::Pass => {}
                Next::End(done) => {
                    under_way.steps.shutdown().await;
                    self.routes.withdraw();
                    // Whoever asked may have gone, which is all the same.
                    done.send(()).ok();
                    return;
                }
                Next::Leave => return under_way.steps.shutdown().await,
            }
        }
    }

    /// Waits for anything that asks for a pass, and takes in all that came.
    async fn wait(&mut self, under_way: &mut UnderWay, next: Option<Moment>) -> Next {
        let left = next.map(|next| next.since(self.clock.now()));
        let due = async {
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            request = self.requests.recv() => match request {
                None => return Next::Leave,
                Some(request) => if let Some(done) = self.handle_request(request, under_way) {
                    return Next::End(done);
                }
            },
            Some(fact) = self.facts.recv() => self.handle_fact(fact, under_way),
            Some(ended) = under_way.steps.join_next_with_id() => self.handle_step(ended, under_way),
            Some(_told) = under_way.renames.join_next() => {}
            () = self.wake.notified() => {}
            () = due => {}
        }
        while let Ok(request) = self.requests.try_recv() {
            if let Some(done) = self.handle_request(request, under_way) {
                return Next::End(done);
            }
        }
        while let Ok(fact) = self.facts.try_recv() {
            self.handle_fact(fact, under_way);
        }
        while let Some(ended) = under_way.steps.try_join_next_with_id() {
            self.handle_step(ended, under_way);
        }
        Next::Pass
    }

    /// Takes a request in; whom to tell of the end when that is asked for.
    fn handle_request(
        &mut self,
        request: Request,
        under_way: &mut UnderWay,
    ) -> Option<oneshot::Sender<()>> {
        let now = self.clock.now();
        match request {
            Request::Desire(desired, directory) => {
                let renamed = directory.spec() != self.routes.directory().spec();
                self.routes.set_directory(directory);
                self.machine.set_desired(*desired, now);
                if renamed {
                    self.rename(under_way);
                }
            }
            Request::Command(command) => self.machine.handle_command(command, now),
            Request::Listening(listening) => under_way.listening = Arc::new(listening),
            Request::Reflected(told) => under_way.reflected.push(told),
            Request::End(done) => return Some(done),
        }
        None
    }

    /// Tells the running instances the names that they know now.
    fn rename(&self, under_way: &mut UnderWay) {
        for id in under_way.revisions.keys() {
            let engine = Arc::clone(&self.executor.engine);
            let (id, hosts) = (id.clone(), host_names(self.routes.directory(), id));
            under_way.renames.spawn(async move {
                if let Err(error) = engine.rename(&id, &hosts).await {
                    debug!(%id, %error, "an instance keeps the names of before");
                }
            });
        }
    }

    fn handle_fact(&mut self, fact: Fact, under_way: &mut UnderWay) {
        if let Fact::Exited { id, status } = &fact {
            debug!(%id, %status, "ended");
            self.executor.detach(id);
            under_way.probes.remove(id).inspect(AbortHandle::abort);
        }
        if let Fact::Sighted { sightings, .. } = &fact {
            for sighting in sightings {
                under_way
                    .revisions
                    .insert(sighting.id.clone(), sighting.revision);
                let started = Started {
                    at: sighting.started,
                    restarts: 0,
                };
                let all = Arc::make_mut(&mut under_way.started);
                all.entry(sighting.id.clone()).or_insert(started);
            }
        }
        self.machine.handle_fact(fact, self.clock.now());
    }

    fn handle_step(
        &mut self,
        ended: Result<(Id, Fact), tokio::task::JoinError>,
        under_way: &mut UnderWay,
    ) {
        match ended {
            Ok((_, fact)) => self.handle_fact(fact, under_way),
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                warn!(%error, "a step was lost");
                self.handle_fact(Fact::Gap, under_way);
            }
        }
    }

    /// One pass: plan, publish, begin what is to be done. When the next one is due.
    fn pass(&mut self, under_way: &mut UnderWay) -> Option<Moment> {
        let demand = self.routes.demand();
        let now = self.clock.now();
        let Pass {
            steps,
            routes,
            events,
            report,
            next,
        } = self.machine.pass(&demand, now);
        let revisions = &under_way.revisions;
        self.routes.apply(routes, |id| {
            revisions.get(id).copied().unwrap_or(Revision::FIRST)
        });
        for step in steps {
            debug!(ticket = %step.ticket, action = %step.action, "begins");
            self.begin(step, under_way, now);
        }
        for happened in events {
            let (service, instance) = (Some(happened.service), happened.instance);
            self.record(service, instance, happened.fact);
        }
        self.published.send_replace(Arc::new(Published {
            at: now,
            directory: Arc::clone(self.routes.directory()),
            report: Arc::new(report),
            activities: Arc::clone(self.routes.activities()),
            endpoints: Arc::clone(self.routes.endpoints()),
            started: Arc::clone(&under_way.started),
            listening: Arc::clone(&under_way.listening),
        }));
        for told in under_way.reflected.drain(..) {
            // Whoever asked may have gone, which is all the same.
            told.send(()).ok();
        }
        next
    }

    fn begin(&mut self, step: plan::Step, under_way: &mut UnderWay, now: Moment) {
        if let Some(id) = step.action.instance() {
            under_way.probes.remove(id).inspect(AbortHandle::abort);
        }
        match &step.action {
            // Its endpoint stays: what is started again may have run all along, with calls inside.
            Action::Start { id, revision, .. } => {
                under_way.revisions.insert(id.clone(), *revision);
                let all = Arc::make_mut(&mut under_way.started);
                let restarts = all.get(id).map_or(0, |before| before.restarts + 1);
                all.insert(id.clone(), Started { at: now, restarts });
            }
            Action::Remove { id } => {
                self.routes.forget(id);
                under_way.revisions.remove(id);
                Arc::make_mut(&mut under_way.started).remove(id);
            }
            Action::Observe
            | Action::Probe { .. }
            | Action::Freeze { .. }
            | Action::Thaw { .. }
            | Action::Signal { .. } => {}
        }
        let probed = match &step.action {
            Action::Probe { id, .. } => Some(id.clone()),
            Action::Observe
            | Action::Start { .. }
            | Action::Freeze { .. }
            | Action::Thaw { .. }
            | Action::Signal { .. }
            | Action::Remove { .. } => None,
        };
        let directory = Arc::clone(self.routes.directory());
        let handle = under_way
            .steps
            .spawn(self.executor.clone().execute(step, directory));
        if let Some(id) = probed {
            under_way.probes.insert(id, handle);
        }
    }

    fn record(
        &self,
        service: Option<model::ServiceName>,
        instance: Option<InstanceId>,
        fact: model::Fact,
    ) {
        let app = self.name.clone();
        self.journal.record(Event {
            at: self.clock.wall(),
            app,
            service,
            instance,
            fact,
        });
    }
}

/// What comes after a wait.
enum Next {
    Pass,
    /// The app is gone.
    End(oneshot::Sender<()>),
    /// The daemon leaves; the instances stay.
    Leave,
}
