//! What the tests stand on: roles of this program, an engine, and instances made for one test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine_embedded::{EmbeddedEngine, Home, prepare};
use model::{AppName, AppSpec, ExitStatus, Image, InstanceId, Revision, ServiceName, ServiceSpec};
use ports::{
    Engine, EngineError, EngineEvent, ExecWish, InstanceWish, LogFollow, LogLine, LogWish, Terminal,
};

const ROLE: &str = "ROADS_TEST_ROLE";
const HOME: &str = "ROADS_TEST_HOME";
/// Long enough for any machine; nothing is asserted about it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What this program is, when it runs itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs the tests.
    Suite,
    /// Starts an instance and waits to be killed, as a daemon that dies.
    Daemon,
    /// Kills its own keeper.
    LoseKeeper,
    /// Leaves a listener with its keeper, and waits to be killed.
    LeaveListener,
    /// Inside an instance: accepts on port 80.
    Listen,
    /// Inside an instance: calls a service that nobody serves.
    Call,
}

impl Role {
    pub(crate) fn from_environment() -> Option<Self> {
        let name = std::env::var(ROLE).ok()?;
        let role = Self::ALL.into_iter().find(|role| role.name() == name);
        Some(role.unwrap_or_else(|| panic!("no role {name}")))
    }

    const ALL: [Self; 6] = [
        Self::Suite,
        Self::Daemon,
        Self::LoseKeeper,
        Self::LeaveListener,
        Self::Listen,
        Self::Call,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Suite => "suite",
            Self::Daemon => "daemon",
            Self::LoseKeeper => "lose-keeper",
            Self::LeaveListener => "leave-listener",
            Self::Listen => "listen",
            Self::Call => "call",
        }
    }

    /// What this program is told of its role when an instance runs it.
    pub(crate) fn environment(self) -> BTreeMap<String, String> {
        BTreeMap::from([(ROLE.to_owned(), self.name().to_owned())])
    }

    pub(crate) fn command(self, home: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command.env(ROLE, self.name()).env(HOME, home);
        command
    }

    pub(crate) fn play(self) -> ExitCode {
        match self {
            Self::Suite | Self::Daemon | Self::LoseKeeper | Self::LeaveListener => {
                self.play_a_daemon()
            }
            Self::Listen => {
                let listener = std::net::TcpListener::bind("0.0.0.0:80").expect("80 is free");
                listener.accept().expect("somebody calls");
                println!("accepted");
                std::thread::park();
                ExitCode::SUCCESS
            }
            Self::Call => {
                // Any address and port of a service is captured.
                std::net::TcpStream::connect("127.127.0.5:6379").expect("it is captured");
                println!("connected");
                std::thread::park();
                ExitCode::SUCCESS
            }
        }
    }

    fn play_a_daemon(self) -> ExitCode {
        let base = PathBuf::from(std::env::var_os(HOME).expect("the home is given"));
        let home = Home {
            state: base.join("state"),
            runtime: base.join("runtime"),
        };
        let connection = match prepare(&home) {
            Ok(connection) => connection,
            Err(forbidden) => {
                println!("{forbidden}; hint: {:?}", forbidden.hint);
                return ExitCode::FAILURE;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime is made");
        runtime.block_on(async {
            let keeper = connection.keeper();
            let engine = EmbeddedEngine::new(home, connection).expect("the engine is made");
            let world = World {
                engine: Arc::new(engine),
                base,
                keeper,
            };
            match self {
                Self::Suite => crate::suite::run(world).await,
                Self::Daemon => crate::suite::survival::be_a_daemon(world).await,
                Self::LoseKeeper => crate::suite::survival::lose_the_keeper(world).await,
                Self::LeaveListener => crate::suite::survival::leave_a_listener(world).await,
                Self::Listen | Self::Call => unreachable!("these are played in an instance"),
            }
        })
    }
}

/// One engine, shared by all tests of a run.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) engine: Arc<EmbeddedEngine>,
    pub(crate) base: PathBuf,
    pub(crate) keeper: i32,
}

static NEXT: AtomicU32 = AtomicU32::new(1);

impl World {
    /// An app of its own for each test.
    pub(crate) fn app(&self) -> AppName {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        AppName::new(&format!("test{number}")).unwrap()
    }

    /// A wish for one instance of its own app that runs a shell script.
    pub(crate) fn shell(&self, script: &str) -> Wish {
        self.program(&["/bin/sh", "-c", script])
    }

    pub(crate) fn program(&self, argv: &[&str]) -> Wish {
        let service = ServiceName::new("one").unwrap();
        let mut spec = ServiceSpec::new(service.clone(), Image::Host);
        spec.command = Some(argv.iter().map(|&word| word.to_owned()).collect());
        let id = InstanceId {
            app: self.app(),
            service,
            number: 1,
        };
        Wish {
            id,
            spec,
            hosts: Vec::new(),
            udp: Vec::new(),
        }
    }

    pub(crate) async fn start(&self, wish: &Wish) -> Result<(), EngineError> {
        self.engine.start(wish.whole()).await
    }

    /// How an instance ended. Every test waits for its own, so events of others are let go.
    pub(crate) async fn ended(&self, id: &InstanceId) -> ExitStatus {
        loop {
            let state = self.state(id).await;
            if let Some(ports::InstanceState::Exited(status)) = state {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn state(&self, id: &InstanceId) -> Option<ports::InstanceState> {
        let seen = self.engine.observe().await.unwrap();
        seen.into_iter()
            .find(|sighting| sighting.id == *id)
            .map(|sighting| sighting.state)
    }

    /// Runs to the end: the status and the lines written.
    pub(crate) async fn run(&self, wish: &Wish) -> (ExitStatus, Vec<LogLine>) {
        self.start(wish).await.unwrap();
        let status = within(self.ended(&wish.id)).await;
        (status, self.lines(&wish.id).await)
    }

    /// Runs a script to its end and gives what it wrote; it must succeed.
    pub(crate) async fn output(&self, wish: &Wish) -> String {
        let (status, lines) = self.run(wish).await;
        let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        assert_eq!(status, ExitStatus::Code(0), "{text:?}");
        self.engine.remove(&wish.id).await.unwrap();
        text.join("\n")
    }

    pub(crate) async fn lines(&self, id: &InstanceId) -> Vec<LogLine> {
        let mut stream = self.engine.logs(log_wish(&id.app)).await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = stream.next().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    /// Waits until an instance has written a line.
    pub(crate) async fn until_line(&self, id: &InstanceId, text: &str) {
        let follow = LogWish {
            follow: LogFollow::Follow,
            ..log_wish(&id.app)
        };
        let mut stream = self.engine.logs(follow).await.unwrap();
        within(async {
            while let Some(line) = stream.next().await.unwrap() {
                if line.text == text {
                    return;
                }
            }
        })
        .await;
    }

    /// Runs a command inside an instance: how it ended and what it wrote.
    pub(crate) async fn exec(&self, id: &InstanceId, script: &str) -> (ExitStatus, String) {
        let execution = self.engine.exec(exec_wish(id, script)).await.unwrap();
        drop(execution.input);
        let output = read_all(execution.output).await;
        (within(execution.status).await.unwrap(), output)
    }

    /// The next event about an instance.
    pub(crate) async fn event(&self, id: &InstanceId) -> EngineEvent {
        within(async {
            loop {
                let event = self.engine.next_event().await;
                match &event {
                    EngineEvent::Exited { id: whose, .. } if whose != id => {}
                    EngineEvent::Exited { .. } | EngineEvent::Gap | EngineEvent::Lost(_) => {
                        return event;
                    }
                }
            }
        })
        .await
    }
}

pub(crate) fn exec_wish(id: &InstanceId, script: &str) -> ExecWish {
    ExecWish {
        id: id.clone(),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: [("EXTRA".to_owned(), "extra".to_owned())].into(),
        user: None,
        working_dir: None,
        terminal: Terminal::None,
    }
}

pub(crate) fn log_wish(app: &AppName) -> LogWish {
    LogWish {
        app: app.clone(),
        services: BTreeSet::new(),
        since: None,
        tail: None,
        follow: LogFollow::Stop,
    }
}

/// A wish under construction.
pub(crate) struct Wish {
    pub(crate) id: InstanceId,
    pub(crate) spec: ServiceSpec,
    pub(crate) hosts: Vec<ports::HostNames>,
    pub(crate) udp: Vec<ports::UdpCapture>,
}

impl Wish {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut ServiceSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// The same instance with another script.
    pub(crate) fn script(self, script: &str) -> Self {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self.with(|spec| spec.command = Some(argv))
    }

    pub(crate) fn whole(&self) -> InstanceWish {
        InstanceWish {
            id: self.id.clone(),
            revision: Revision::FIRST,
            spec: Arc::new(self.spec.clone()),
            app: Arc::new(AppSpec::new(self.id.app.clone())),
            hosts: self.hosts.clone(),
            udp: self.udp.clone(),
            egress: model::Egress::None,
            captures: 2,
        }
    }
}

/// Fails a test that would wait for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it does not take this long")
}

pub(crate) async fn read_all(descriptor: std::os::fd::OwnedFd) -> String {
    let read = move || {
        let mut bytes = Vec::new();
        // A terminal whose other end is closed says so with an error.
        let _ = std::io::Read::read_to_end(&mut std::fs::File::from(descriptor), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    within(tokio::task::spawn_blocking(read)).await.unwrap()
}
