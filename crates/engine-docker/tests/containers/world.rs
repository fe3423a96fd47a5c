//! What a test of the engine needs: an engine, wishes for instances, and patience.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine_docker::{DockerEngine, Home, Host, Keep};
use model::{
    AppName, AppSpec, Egress, ExitStatus, Image, InstanceId, NetworkName, NetworkSpec, Revision,
    ServiceAddress, ServiceName, ServiceSpec,
};
use ports::{
    Engine, EngineError, EngineEvent, ExecWish, HostNames, InstanceWish, LogFollow, LogLine,
    LogWish, Pending, Terminal,
};

use crate::dockerd::{Dockerd, IMAGE};

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with a home of its own, and the app that it runs.
pub(crate) struct World {
    pub(crate) dockerd: &'static Dockerd,
    pub(crate) engine: DockerEngine,
    pub(crate) keep: Arc<Memory>,
    pub(crate) app: AppName,
    folder: tempfile::TempDir,
}

/// Keeps sockets as the keeper does, in this process.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<BTreeMap<String, Vec<OwnedFd>>>);

impl Memory {
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl Keep for Memory {
    fn keep<'a>(
        &'a self,
        name: &'a str,
        sockets: Vec<OwnedFd>,
    ) -> Pending<'a, Result<(), EngineError>> {
        self.0.lock().unwrap().insert(name.to_owned(), sockets);
        Box::pin(std::future::ready(Ok(())))
    }

    fn kept<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Vec<OwnedFd>, EngineError>> {
        let kept = self.0.lock().unwrap();
        let kept = kept.get(name).into_iter().flatten();
        let kept = kept.map(|socket| socket.try_clone().unwrap()).collect();
        Box::pin(std::future::ready(Ok(kept)))
    }

    fn forget<'a>(&'a self, name: &'a str) -> Pending<'a, Result<(), EngineError>> {
        self.0.lock().unwrap().remove(name);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl World {
    /// A world on the Docker Engine that tests share, for an app that nobody else has.
    pub(crate) fn new(app: &str) -> Option<Self> {
        Some(Self::on(crate::dockerd::shared()?, app))
    }

    pub(crate) fn on(dockerd: &'static Dockerd, app: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keep = Arc::new(Memory::default());
        Self {
            engine: engine(dockerd, folder.path(), &keep),
            dockerd,
            keep,
            app: AppName::new(app).unwrap(),
            folder,
        }
    }

    /// The daemon is killed, and another one takes its place.
    pub(crate) fn replace_engine(&mut self) {
        self.engine = engine(self.dockerd, self.folder.path(), &self.keep);
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn id(&self, number: u32) -> InstanceId {
        InstanceId {
            app: self.app.clone(),
            service: ServiceName::new("web").unwrap(),
            number,
        }
    }

    /// An instance that runs a line of shell.
    pub(crate) fn wish(&self, number: u32, line: &str) -> InstanceWish {
        let id = self.id(number);
        let mut spec = ServiceSpec::new(id.service.clone(), Image::Reference(IMAGE.to_owned()));
        spec.command = Some(["sh", "-c", line].map(str::to_owned).to_vec());
        let network = NetworkName::new("default").unwrap();
        spec.networks = Arc::new(BTreeMap::from([(network.clone(), BTreeSet::new())]));
        let mut app = AppSpec::new(self.app.clone());
        app.networks
            .insert(network, NetworkSpec { internal: false });
        InstanceWish {
            id,
            revision: Revision::FIRST,
            spec: Arc::new(spec),
            app: Arc::new(app),
            hosts: vec![names(2, "rng")],
            udp: Vec::new(),
            egress: Egress::Tcp,
            captures: 1,
        }
    }

    pub(crate) async fn start(&self, wish: InstanceWish) -> InstanceId {
        let id = wish.id.clone();
        self.engine.start(wish).await.unwrap();
        id
    }

    /// Runs a line of shell in an instance; what it printed, and how it ended.
    pub(crate) async fn run(&self, id: &InstanceId, line: &str) -> (String, ExitStatus) {
        let wish = exec(id, &["sh", "-c", line], Terminal::None);
        let execution = within(self.engine.exec(wish)).await.unwrap();
        drop(execution.input);
        let (output, error, status) = tokio::join!(
            read_all(execution.output),
            read_all(execution.error.unwrap()),
            within(execution.status)
        );
        (output + &error, status.unwrap())
    }

    /// The next event that is not a gap.
    pub(crate) async fn next_exit(&self) -> (InstanceId, ExitStatus) {
        loop {
            if let EngineEvent::Exited { id, status } = within(self.engine.next_event()).await {
                return (id, status);
            }
        }
    }

    pub(crate) async fn next_gap(&self) {
        while within(self.engine.next_event()).await != EngineEvent::Gap {}
    }

    /// Everything that was written so far.
    pub(crate) async fn logs(&self) -> Vec<LogLine> {
        let wish = self.log_wish(LogFollow::Stop);
        let mut stream = self.engine.logs(wish).await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = within(stream.next()).await.unwrap() {
            lines.push(line);
        }
        lines
    }

    pub(crate) fn log_wish(&self, follow: LogFollow) -> LogWish {
        LogWish {
            app: self.app.clone(),
            services: BTreeSet::new(),
            since: None,
            tail: None,
            follow,
        }
    }

    /// Ends all that it started.
    pub(crate) async fn end(self) {
        for sighting in self.engine.observe().await.unwrap() {
            self.engine.remove(&sighting.id).await.unwrap();
        }
        let removed = self.engine.remove_app(&self.app, ports::Volumes::Remove);
        removed.await.unwrap();
        assert!(self.keep.names().is_empty(), "no socket is kept");
    }
}

pub(crate) fn names(last: u8, name: &str) -> HostNames {
    HostNames {
        address: ServiceAddress::from_ip(Ipv4Addr::new(127, 127, 0, last)).unwrap(),
        names: vec![name.to_owned()],
    }
}

pub(crate) fn exec(id: &InstanceId, argv: &[&str], terminal: Terminal) -> ExecWish {
    ExecWish {
        id: id.clone(),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        environment: BTreeMap::from([("B".to_owned(), "exec".to_owned())]),
        user: None,
        working_dir: None,
        terminal,
    }
}

/// Fails a test that would wait for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.expect("it does not take this long")
}

pub(crate) async fn read_all(descriptor: OwnedFd) -> String {
    let read = move || {
        let mut bytes = Vec::new();
        // A terminal whose other end is closed says so with an error.
        let _ = std::io::Read::read_to_end(&mut std::fs::File::from(descriptor), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    within(tokio::task::spawn_blocking(read)).await.unwrap()
}

fn engine(dockerd: &Dockerd, state: &std::path::Path, keep: &Arc<Memory>) -> DockerEngine {
    let home = Home {
        state: state.to_owned(),
        docker_config: Some(state.join("config.json")),
    };
    let keep: Arc<dyn Keep> = keep.clone();
    DockerEngine::new(Host::at(dockerd.socket()), home, keep).unwrap()
}
