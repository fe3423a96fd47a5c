//! One instance: its container, its door, and the ambassador behind it.
//!
//! ```text
//! waiting ──gate comes, ambassador installed──► through
//! waiting ──it cannot be installed──► refused       (the gate stays closed)
//! waiting ──there is no such program──► refused      (its container ends)
//! through ──Docker starts the container again: its gate comes from another namespace──► through
//! ```

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::InstanceId;
use netns::Namespace;
use ports::{Attachment, EngineError, EngineEvent, InstanceState, Pending};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::ambassador::{Held, Wish, own_address};
use crate::door::{Arrival, Door};
use crate::folder::Folder;
use crate::freezer::Freezer;
use crate::observe::Seen;

/// How long a container that Docker says has started may take to come to its gate.
const GATE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a gate that cannot be opened is kept waiting before it may come again.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Keeps copies of ambassadors' sockets where they outlive this daemon, so that calls meanwhile
/// wait instead of being refused.
pub trait Keep: Send + Sync {
    /// Keeps these under a name, instead of those kept under it before.
    fn keep<'a>(
        &'a self,
        name: &'a str,
        sockets: Vec<OwnedFd>,
    ) -> Pending<'a, Result<(), EngineError>>;

    /// Copies of what is kept under a name, in its order; empty when nothing is.
    fn kept<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Vec<OwnedFd>, EngineError>>;

    /// Lets go of what is kept under a name.
    fn forget<'a>(&'a self, name: &'a str) -> Pending<'a, Result<(), EngineError>>;
}

/// Keeps nothing: calls while no daemon runs are refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeep;

impl Keep for NoKeep {
    fn keep<'a>(&'a self, _: &'a str, _: Vec<OwnedFd>) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn kept<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Vec<OwnedFd>, EngineError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn forget<'a>(&'a self, _: &'a str) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An instance that has a container, or is about to.
pub(crate) struct Instance {
    inner: Arc<Inner>,
    /// One change at a time.
    pub(crate) step: Arc<tokio::sync::Mutex<()>>,
    /// Owns the task at the door.
    _tasks: JoinSet<()>,
}

struct Inner {
    id: InstanceId,
    folder: Folder,
    hostname: String,
    keep: Arc<dyn Keep>,
    news: mpsc::Sender<EngineEvent>,
    starts: Arc<watch::Sender<u64>>,
    state: Mutex<State>,
    gate: watch::Sender<Gate>,
}

#[derive(Default)]
struct State {
    container: Option<String>,
    /// Its first process, while it runs.
    pid: Option<u32>,
    held: Option<Held>,
    wanted: Wanted,
    rest: Rest,
}

/// Whether we, or whoever we saw do it, have frozen it.
#[derive(Debug, Default)]
enum Rest {
    #[default]
    Awake,
    /// With the freezer that says when it is thawed, where one can be seen.
    Frozen(Option<Freezer>),
}

/// What we are about to do to its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wanted {
    #[default]
    No,
    Start,
    Removal,
}

/// Where its gate is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gate {
    Waiting,
    Through,
    Refused(EngineError),
}

impl State {
    /// Whether a start was wanted, which it now no longer is.
    fn take_start(&mut self) -> bool {
        let wanted = self.wanted == Wanted::Start;
        if wanted {
            self.wanted = Wanted::No;
        }
        wanted
    }
}

impl Instance {
    /// Opens its door.
    pub(crate) fn open(
        id: InstanceId,
        folder: Folder,
        hostname: String,
        keep: Arc<dyn Keep>,
        news: mpsc::Sender<EngineEvent>,
        starts: Arc<watch::Sender<u64>>,
    ) -> Result<Self, EngineError> {
        let door = Door::open(&folder.shared()).map_err(|error| EngineError::Failed {
            what: format!("cannot open the door of {id}"),
            why: error.to_string(),
        })?;
        let inner = Arc::new(Inner {
            id,
            folder,
            hostname,
            keep,
            news,
            starts,
            state: Mutex::default(),
            gate: watch::Sender::new(Gate::Waiting),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(attend(Arc::clone(&inner), door));
        Ok(Self {
            inner,
            step: Arc::default(),
            _tasks: tasks,
        })
    }

    pub(crate) fn id(&self) -> &InstanceId {
        &self.inner.id
    }

    /// Its container, when Docker has given it one.
    pub(crate) fn container(&self) -> Result<String, EngineError> {
        let container = self.inner.state().container.clone();
        container.ok_or_else(|| EngineError::NoInstance {
            id: self.inner.id.clone(),
        })
    }

    /// Docker says this of it.
    pub(crate) fn see(&self, seen: &Seen) {
        let mut state = self.inner.state();
        state.container = Some(seen.container.clone());
        state.pid = seen.pid;
        state.rest = match seen.state {
            InstanceState::Frozen => Rest::Frozen(seen.pid.and_then(Freezer::of)),
            InstanceState::Running | InstanceState::Exited(_) => Rest::Awake,
        };
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.inner.state().pid
    }

    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self.inner.state().rest, Rest::Frozen(_))
    }

    pub(crate) fn set_frozen(&self, freezer: Option<Freezer>) {
        self.inner.state().rest = Rest::Frozen(freezer);
    }

    /// It is awake from now on; the freezer that it was in.
    pub(crate) fn take_frozen(&self) -> Option<Freezer> {
        match std::mem::take(&mut self.inner.state().rest) {
            Rest::Awake => None,
            Rest::Frozen(freezer) => freezer,
        }
    }

    pub(crate) fn set_container(&self, container: Option<String>) {
        self.inner.state().container = container;
    }

    /// We are about to start its container: the next gate that comes is expected.
    pub(crate) fn expect_start(&self) {
        self.inner.state().wanted = Wanted::Start;
        self.inner.gate.send_replace(Gate::Waiting);
    }

    /// We are about to remove it: that it ends is no news.
    pub(crate) fn expect_removal(&self) {
        self.inner.state().wanted = Wanted::Removal;
    }

    pub(crate) fn is_being_removed(&self) -> bool {
        self.inner.state().wanted == Wanted::Removal
    }

    /// Waits until a gate comes and is open, or stays closed for a reason.
    pub(crate) async fn until_passed(&self) -> Result<(), EngineError> {
        let mut gate = self.inner.gate.subscribe();
        let passed = gate.wait_for(|gate| *gate != Gate::Waiting).await;
        // The sender is a field of ours.
        match passed.map(|gate| gate.clone()) {
            Ok(Gate::Refused(error)) => Err(error),
            Ok(Gate::Through | Gate::Waiting) | Err(_) => Ok(()),
        }
    }

    /// The same for a container that Docker says has started, which takes no time then.
    pub(crate) async fn until_through(&self) -> Result<(), EngineError> {
        let passed = tokio::time::timeout(GATE_TIMEOUT, self.until_passed()).await;
        passed.unwrap_or_else(|_late| {
            Err(EngineError::Failed {
                what: format!("cannot start {}", self.inner.id),
                why: format!(
                    "its container does not come to its gate within {GATE_TIMEOUT:?}; \
                     something (SELinux?) keeps it from the socket /.roadstead/door"
                ),
            })
        })
    }

    /// The sockets of its ambassador. When this daemon is not the one that installed it, `pid` is
    /// a process of the container.
    pub(crate) async fn attachment(&self, pid: Option<u32>) -> Result<Attachment, EngineError> {
        self.inner.ensure_held(pid).await?;
        let state = self.inner.state();
        let held = state.held.as_ref().ok_or_else(|| EngineError::NoInstance {
            id: self.inner.id.clone(),
        })?;
        held.attachment().map_err(|error| self.inner.failed(&error))
    }

    /// The namespace that its ambassador is in.
    pub(crate) fn namespace(&self) -> Option<Namespace> {
        let state = self.inner.state();
        state.held.as_ref().map(|held| held.namespace.clone())
    }

    /// Its container has ended: nobody calls through its ambassador any more.
    pub(crate) async fn let_go(&self) {
        let held = {
            let mut state = self.inner.state();
            state.pid = None;
            state.rest = Rest::Awake;
            state.held.take()
        };
        if held.is_some() {
            self.inner.forget().await;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> EngineError {
        EngineError::Failed {
            what: format!("cannot use the ambassador of {}", self.id),
            why: why.to_string(),
        }
    }

    fn kept_name(&self) -> String {
        format!("docker/{}", self.id)
    }

    async fn forget(&self) {
        if let Err(error) = self.keep.forget(&self.kept_name()).await {
            debug!(id = %self.id, %error, "the sockets of what has ended are kept");
        }
    }

    /// Takes the sockets that a daemon before left, or installs the ambassador anew.
    async fn ensure_held(&self, pid: Option<u32>) -> Result<(), EngineError> {
        if self.state().held.is_some() {
            return Ok(());
        }
        let gone = || EngineError::NoInstance {
            id: self.id.clone(),
        };
        let namespace = Namespace::open(pid.ok_or_else(gone)?).map_err(|_| gone())?;
        let wish = Wish::read(&self.folder.wish()).map_err(|error| self.failed(&error))?;
        let kept = self.keep.kept(&self.kept_name()).await?;
        let kept = Held::from_kept(kept, &wish).filter(|held| held.is_in(&namespace));
        if let Some(held) = kept {
            self.state().held = Some(held);
            return Ok(());
        }
        self.install(namespace, wish).await
    }

    /// Installs the ambassador, and leaves copies of its sockets with the keeper.
    async fn install(&self, namespace: Namespace, wish: Wish) -> Result<(), EngineError> {
        let work = move || Held::install(namespace, &wish);
        let installed = tokio::task::spawn_blocking(work).await;
        let installed = installed.map_err(|error| self.failed(&error))?;
        let held = installed.map_err(|error| self.explain(&error))?;
        let copies = held.copies().map_err(|error| self.failed(&error))?;
        self.state().held = Some(held);
        if let Err(error) = self.keep.keep(&self.kept_name(), copies).await {
            warn!(id = %self.id, %error, "its calls will not outlive this daemon");
        }
        Ok(())
    }

    fn explain(&self, error: &netns::ambassador::InstallError) -> EngineError {
        let source = std::error::Error::source(error);
        let source = source.map_or(String::new(), |source| format!(": {source}"));
        EngineError::Forbidden {
            what: format!("cannot install the ambassador of {}", self.id),
            why: format!("{error}{source}"),
            hint: "the machine's kernel must have nf_tables with nat, redirect and reject; \
                   the daemon needs CAP_NET_ADMIN and CAP_SYS_ADMIN over the container's network"
                .to_owned(),
        }
    }

    fn no_program(&self, why: String) -> EngineError {
        EngineError::Forbidden {
            what: format!("cannot start {}", self.id),
            why,
            hint: "correct the service's `command` or `entrypoint`, or its image".to_owned(),
        }
    }

    /// Prepares what a gate waits for.
    async fn receive(&self, pid: u32) -> Result<(), EngineError> {
        let namespace = Namespace::open(pid).map_err(|error| self.failed(&error))?;
        let known = self
            .state()
            .held
            .as_ref()
            .is_some_and(|held| held.is_in(&namespace));
        if known {
            return Ok(());
        }
        let address = own_address(&namespace);
        let written = self.folder.write_own_address(address, &self.hostname);
        written.map_err(|error| self.failed(&error))?;
        let wish = Wish::read(&self.folder.wish()).map_err(|error| self.failed(&error))?;
        // The sockets of the run before are of a namespace that nobody is in.
        {
            let mut state = self.state();
            state.held = None;
            state.pid = Some(pid);
            state.rest = Rest::Awake;
        }
        self.install(namespace, wish).await
    }
}

/// Receives the instance's gates, for as long as the instance is known.
async fn attend(inner: Arc<Inner>, door: Door) {
    loop {
        let arrival = match door.arrival().await {
            Ok(arrival) => arrival,
            Err(error) => {
                let refused = inner.failed(&error);
                warn!(id = %inner.id, error = %refused, "a gate stays closed");
                inner.gate.send_replace(Gate::Refused(refused));
                tokio::time::sleep(REFUSED_PAUSE).await;
                continue;
            }
        };
        let Arrival { pid, .. } = arrival;
        match inner.receive(pid).await {
            Ok(()) => {
                let became = arrival.admit().await;
                debug!(id = %inner.id, pid, ?became, "its gate is open");
                let was_wanted = inner.state().take_start();
                inner.gate.send_replace(match became {
                    Ok(()) => Gate::Through,
                    Err(why) => Gate::Refused(inner.no_program(why)),
                });
                inner.starts.send_modify(|count| *count += 1);
                if !was_wanted {
                    // Somebody else started it, so who serves its ambassador must look again.
                    drop(inner.news.send(EngineEvent::Gap).await);
                }
            }
            Err(error) => {
                warn!(id = %inner.id, %error, "its gate stays closed");
                inner.gate.send_replace(Gate::Refused(error));
                tokio::time::sleep(REFUSED_PAUSE).await;
                drop(arrival);
            }
        }
    }
}
