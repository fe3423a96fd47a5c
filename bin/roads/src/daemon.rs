//! The daemon: what it is made of, and when it leaves.
//!
//! It is single-threaded until the keeper is there, since the keeper is forked from it. It leaves
//! when no app is up and nobody is connected; killed at any other time it loses nothing.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cli::{Daemon, EngineName, Home};
use control::Control;
use dns::{NameServer, Resolvers, Transport};
use engine_embedded::EmbeddedEngine;
use model::{AppSpec, Moment, Timestamp};
use ports::{AppRecord, Clock, Engine, Store};
use proxy::{Begin, ListenerChange, Proxy, ProxyConfig};
use server::{Listener, Server};
use store::SqliteStore;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use traffic::Snapshot;

use crate::dataplane::Wired;
use crate::engines::{self, Engines};

/// How long nobody must want anything before the daemon leaves.
const IDLE: Duration = Duration::from_secs(1);
/// How long calls in flight may take to end when it leaves.
const DRAIN: Duration = Duration::from_secs(2);
/// How long after an app has changed what that took is no longer in use.
const SETTLED: Duration = Duration::from_secs(1);
/// How long the routes of the apps of before may take to be known; it is one pass.
const ROUTES: Duration = Duration::from_millis(500);
/// Where `SERVICE.APP.localhost` answers, unless ROADS_INGRESS says otherwise.
const INGRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7080);

/// Runs until there is nothing to run for.
pub(crate) fn run(wish: &Daemon) -> Result<()> {
    let home = wish.begin()?;
    let _lock = home.lock()?;
    let engine_home = engine_embedded::Home {
        state: home.state.clone(),
        runtime: home.runtime.clone(),
    };
    let keeper = engine_embedded::prepare(&engine_home)?;
    tracing_subscriber::fmt()
        .with_env_filter(std::env::var("ROADS_LOG").unwrap_or_else(|_| "info".to_owned()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(&home, wish.engine, engine_home, keeper))
}

async fn serve(
    home: &Home,
    choice: EngineName,
    engine_home: engine_embedded::Home,
    keeper: engine_embedded::Connection,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    let embedded = Arc::new(EmbeddedEngine::new(engine_home, keeper)?);
    let docker_home = engine_docker::Home::at(home.state.clone());
    let engine = Arc::new(Engines::new(Arc::clone(&embedded), choice, docker_home)?);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&home.database())?);
    let (snapshots, watched) = watch::channel(Arc::new(Snapshot::default()));
    let resolvers = Resolvers::from_file(Path::new("/etc/resolv.conf"));
    let (names, name_server) = NameServer::new(watched.clone(), resolvers);
    tasks.spawn(name_server);
    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let proxy =
        Arc::new(start_proxy(&embedded, workers, names.clone(), &watched, &mut tasks).await?);
    let ingress_port = proxy.ingress().map(|address| address.port());
    let (control, run) = Control::new(control::Parts {
        engine: engine.clone(),
        store: Arc::clone(&store),
        dataplane: Arc::new(Wired {
            proxy: Arc::clone(&proxy),
            names,
        }),
        clock: Arc::new(SystemClock),
        snapshots,
        captures: workers.get(),
    });
    let leave = CancellationToken::new();
    let lost = leave.clone();
    tasks.spawn(async move {
        // It ends before the daemon does only when the engine is lost; the next daemon has another.
        run.await;
        lost.cancel();
    });
    tasks.spawn(give_back_memory(watched.clone()));
    restore(&control, remembered(&*store)?, watched).await;
    proxy.serve();
    let parts = server::Parts {
        control: control.clone(),
        release: env!("CARGO_PKG_VERSION"),
        ingress_port,
        leave: leave.clone(),
    };
    let server = Server::new(parts);
    tasks.spawn(leave_when_idle(
        control.busy(),
        server.connections(),
        leave.clone(),
    ));
    tasks.spawn(leave_when_told(leave));
    let listener = Listener::bind(&home.socket())?;
    info!(release = env!("CARGO_PKG_VERSION"), "serves");
    server.serve(listener).await;
    proxy.shutdown(DRAIN).await;
    if *control.busy().borrow() == 0 {
        engine.shut_down().await?;
    }
    info!("leaves");
    Ok(())
}

/// Gives back what reading documents took, once apps have come, changed or gone.
async fn give_back_memory(mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let mut before = Vec::new();
    while snapshots.changed().await.is_ok() {
        let apps: Vec<_> = {
            let snapshot = snapshots.borrow_and_update();
            let directories = snapshot.apps.values().map(|app| &app.directory);
            directories.map(Arc::downgrade).collect()
        };
        let same = before.len() == apps.len()
            && before
                .iter()
                .zip(&apps)
                .all(|(a, b)| std::sync::Weak::ptr_eq(a, b));
        if !same {
            before = apps;
            tokio::time::sleep(SETTLED).await;
            engine_embedded::give_back_memory();
        }
    }
}

/// The apps of before, each with the Spec that its document is.
fn remembered(store: &dyn Store) -> Result<Vec<(AppRecord, AppSpec)>> {
    let mut apps = Vec::new();
    for (record, document) in store.apps()? {
        match compose::load_document(&document) {
            Ok(spec) => apps.push((record, spec)),
            Err(diagnostics) => {
                let why = compose::render(&diagnostics, compose::Color::Plain);
                bail!("the document of app {} cannot be read:\n{why}", record.name);
            }
        }
    }
    Ok(apps)
}

/// Goes on with the apps of before. Done when calls to them can be routed, or held.
async fn restore(
    control: &Control,
    apps: Vec<(AppRecord, AppSpec)>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
) {
    let mut names: Vec<_> = apps.iter().map(|(record, _)| record.name.clone()).collect();
    for error in control.restore(apps).await {
        error!(%error, "not all is as it was");
    }
    names.retain(|name| control.status(name).is_some());
    let known = snapshots.wait_for(|snapshot| {
        let mut names = names.iter();
        names.all(|name| snapshot.apps.contains_key(name))
    });
    if tokio::time::timeout(ROUTES, known).await.is_err() {
        warn!("calls may be refused: not every app has routes yet");
    }
}

/// Starts the proxy with the listeners of the one before, and has its own kept by the keeper.
async fn start_proxy(
    engine: &Arc<EmbeddedEngine>,
    workers: NonZeroUsize,
    names: NameServer,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    tasks: &mut JoinSet<()>,
) -> Result<Proxy> {
    let ingress = match std::env::var("ROADS_INGRESS") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("ROADS_INGRESS={text} is no address"))?,
        Err(_) => INGRESS,
    };
    let (changes, mut changed) = tokio::sync::mpsc::unbounded_channel();
    let keeper = Arc::clone(engine);
    tasks.spawn(async move {
        while let Some(change) = changed.recv().await {
            let kept = match change {
                ListenerChange::Opened { name, socket } => {
                    keeper.deposit(&name, vec![socket]).await
                }
                ListenerChange::Closed { name } => keeper.withdraw(&name).await,
            };
            if let Err(error) = kept {
                warn!(%error, "a listener will not outlive this daemon");
            }
        }
    });
    let mut adopted = Vec::new();
    let names_held = engine.deposit_names().await?;
    for name in names_held
        .into_iter()
        .filter(|name| engines::is_listener(name))
    {
        let held = engine.deposited(&name).await?.into_iter();
        adopted.extend(held.map(|socket| (name.clone(), socket)));
    }
    let config = ProxyConfig {
        ingress: Some(ingress),
        adopted,
        keep_listener: Arc::new(move |change| drop(changes.send(change))),
        dns_over_tcp: Arc::new(move |instance, stream| {
            names.serve(instance, Transport::Stream(stream));
        }),
        begin: Begin::WhenTold,
        ..ProxyConfig::new(workers, Arc::new(engine_embedded::now))
    };
    Ok(Proxy::start(config, snapshots)?)
}

/// Leaves once no app is up and nobody is connected, for a while.
async fn leave_when_idle(
    mut busy: watch::Receiver<usize>,
    mut connections: watch::Receiver<usize>,
    leave: CancellationToken,
) {
    loop {
        let idle = *busy.borrow_and_update() == 0 && *connections.borrow_and_update() == 0;
        tokio::select! {
            () = tokio::time::sleep(IDLE), if idle => return leave.cancel(),
            Ok(()) = busy.changed() => {}
            Ok(()) = connections.changed() => {}
            else => return,
        }
    }
}

/// Leaves when it is asked to by a signal; the instances stay.
async fn leave_when_told(leave: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let signals =
        signal(SignalKind::terminate()).and_then(|a| Ok((a, signal(SignalKind::interrupt())?)));
    match signals {
        Ok((mut terminate, mut interrupt)) => tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        },
        Err(error) => return warn!(%error, "signals will end it at once"),
    }
    leave.cancel();
}

/// The machine's clocks.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        engine_embedded::now()
    }

    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX))
    }
}
