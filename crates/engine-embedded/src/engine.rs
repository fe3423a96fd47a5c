//! [`ports::Engine`] over the connection to the keeper.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Duration;

use model::{AppName, ExitStatus, Image, InstanceId, Moment, Revision, ServiceAddress, Signal};
use netns::{Listening, Namespace};
use ports::{
    Attachment, Engine, EngineError, EngineEvent, ExecWish, Execution, HostNames, InstanceState,
    InstanceWish, LogStream, LogWish, Pending, Sighting, Terminal, UdpCapture, Volumes,
};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::keeper::protocol::{
    self, Answer, Call, Egress, HostLine, Limits, Missing, Mount, Program, RootAccess, Seen,
    SeenState, Size, StartWish, Timings, WrittenFile,
};
use crate::link::{Asked, Gone, Link, News};
use crate::logs::LogReader;
use crate::{Connection, Home};

const NAME: &str = "embedded";
/// How often an instance that starts is asked whether it listens, at first and later.
const ASK_OFTEN: Duration = Duration::from_micros(500);
const ASK: Duration = Duration::from_millis(2);
/// How long "at first" is.
const ASK_OFTEN_FOR: Duration = Duration::from_secs(3);
/// How often it is asked whether it is still there.
const ASK_ALIVE: Duration = Duration::from_millis(50);

/// When a start passed its stations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stations {
    /// The keeper was asked.
    pub asked: Moment,
    /// The instance's first process was there.
    pub cloned: Moment,
    /// Its ambassador was installed.
    pub ambassador: Moment,
    /// Its root file system was built and entered.
    pub root: Moment,
    /// The program's process was there.
    pub forked: Moment,
    /// It was executed.
    pub executed: Moment,
}

impl From<Timings> for Stations {
    fn from(timings: Timings) -> Self {
        let moment = |nanoseconds| Moment::from_zero(Duration::from_nanos(nanoseconds));
        Self {
            asked: moment(timings.asked),
            cloned: moment(timings.cloned),
            ambassador: moment(timings.ambassador),
            root: moment(timings.root),
            forked: moment(timings.forked),
            executed: moment(timings.executed),
        }
    }
}

/// The engine that needs nothing installed.
#[derive(Debug)]
pub struct EmbeddedEngine {
    home: Home,
    shortcomings: Vec<String>,
    link: Link,
    news: Mutex<mpsc::Receiver<News>>,
    /// Owns the link's task.
    _tasks: JoinSet<()>,
}

impl EmbeddedEngine {
    /// The engine over a connection that [`crate::prepare`] made. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says when the socket cannot be watched.
    pub fn new(home: Home, connection: Connection) -> io::Result<Self> {
        let (link, news, task) = Link::new(connection.socket, connection.inbox)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(task);
        Ok(Self {
            home,
            shortcomings: connection.shortcomings,
            link,
            news: Mutex::new(news),
            _tasks: tasks,
        })
    }

    /// Leaves descriptors with the keeper under a name, instead of those left under it before.
    /// They stay open when this process ends.
    ///
    /// # Errors
    /// [`EngineError`] when the keeper is gone or holds too many.
    pub async fn deposit(&self, name: &str, held: Vec<OwnedFd>) -> Result<(), EngineError> {
        let call = Call::Deposit {
            name: name.to_owned(),
        };
        self.ask(call, held)
            .await?
            .map_err(Failure::into_general_error)?;
        Ok(())
    }

    /// Under which names something was left.
    ///
    /// # Errors
    /// [`EngineError`] when the keeper is gone.
    pub async fn deposit_names(&self) -> Result<Vec<String>, EngineError> {
        let answered = self.ask(Call::DepositNames, Vec::new()).await?;
        let answer = answered.map_err(Failure::into_general_error)?.0;
        let Answer::DepositNames(names) = answer else {
            return Err(misunderstood("name what it holds"));
        };
        Ok(names)
    }

    /// Duplicates of what was left under a name, in its order; empty when nothing was.
    ///
    /// # Errors
    /// [`EngineError`] when the keeper is gone.
    pub async fn deposited(&self, name: &str) -> Result<Vec<OwnedFd>, EngineError> {
        let call = Call::Deposited {
            name: name.to_owned(),
        };
        let answered = self.ask(call, Vec::new()).await?;
        Ok(answered.map_err(Failure::into_general_error)?.1)
    }

    /// Lets the keeper close what was left under a name.
    ///
    /// # Errors
    /// [`EngineError`] when the keeper is gone.
    pub async fn withdraw(&self, name: &str) -> Result<(), EngineError> {
        let call = Call::Withdraw {
            name: name.to_owned(),
        };
        self.ask(call, Vec::new())
            .await?
            .map_err(Failure::into_general_error)?;
        Ok(())
    }

    /// [`Engine::start`], and when it passed its stations.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn start_timed(&self, wish: InstanceWish) -> Result<Stations, EngineError> {
        let call = Call::Start(Box::new(start_wish(&wish)?));
        let (answer, _) = self.ask_about(&wish.id, call).await?;
        let Answer::Started(timings) = answer else {
            return Err(misunderstood("start an instance"));
        };
        let stations = Stations::from(timings);
        trace(&wish.id, &stations);
        Ok(stations)
    }

    async fn ask(
        &self,
        call: Call,
        held: Vec<OwnedFd>,
    ) -> Result<crate::link::Answered, EngineError> {
        let asked = self.link.ask(call, held).await.map_err(lost)?;
        Ok(asked.answered)
    }

    /// Asks for something about an instance.
    async fn ask_about(
        &self,
        id: &InstanceId,
        call: Call,
    ) -> Result<(Answer, Vec<OwnedFd>), EngineError> {
        self.ask(call, Vec::new())
            .await?
            .map_err(|failure| failure.into_error(id))
    }

    async fn attach(&self, id: &InstanceId) -> Result<Attachment, EngineError> {
        let call = Call::Attachment {
            instance: id.to_string(),
        };
        let (answer, sockets) = self.ask_about(id, call).await?;
        let unexpected = || misunderstood("hand out the sockets of an instance");
        let Answer::Attachment { tcp: count, udp } = answer else {
            return Err(unexpected());
        };
        let mut sockets = sockets.into_iter();
        let namespace = sockets.next().ok_or_else(unexpected)?;
        let tcp = sockets.by_ref().take(count).collect();
        let dns = sockets.next().ok_or_else(unexpected)?;
        let capture = |(address, port)| {
            let address = ServiceAddress::from_ip(address)?;
            Some(UdpCapture { address, port })
        };
        let udp = udp.into_iter().filter_map(capture).zip(sockets).collect();
        Ok(Attachment {
            namespace,
            tcp,
            dns,
            udp,
        })
    }

    /// Looks at the ports until one listens, or the instance is gone.
    async fn wait_until_listening(
        &self,
        id: &InstanceId,
        ports: &[u16],
    ) -> Result<Option<u16>, EngineError> {
        if ports.is_empty() {
            return Ok(None);
        }
        let failed = |error: &dyn std::fmt::Display| EngineError::Failed {
            what: format!("cannot see whether {id} listens"),
            why: error.to_string(),
        };
        let namespace = Namespace::from_fd(self.attach(id).await?.namespace);
        let mut listening = Listening::open(&namespace).map_err(|error| failed(&error))?;
        let begun = tokio::time::Instant::now();
        let mut seen_alive = begun;
        loop {
            for &port in ports {
                if listening.accepts(port).map_err(|error| failed(&error))? {
                    return Ok(Some(port));
                }
            }
            let now = tokio::time::Instant::now();
            if now - seen_alive > ASK_ALIVE {
                seen_alive = now;
                // Fails when the instance has ended.
                self.attach(id).await?;
            }
            let pause = if now - begun < ASK_OFTEN_FOR {
                ASK_OFTEN
            } else {
                ASK
            };
            pause_for(pause).await;
        }
    }

    async fn run(&self, wish: ExecWish) -> Result<Execution, EngineError> {
        let terminal = match wish.terminal {
            Terminal::None => None,
            Terminal::Size { columns, rows } => Some(Size { columns, rows }),
        };
        let command = Program {
            argv: wish.argv,
            environment: wish.environment.into_iter().collect(),
            user: wish.user,
            working_dir: wish.working_dir,
        };
        let call = Call::Exec {
            instance: wish.id.to_string(),
            command: Box::new(command),
            terminal,
        };
        let Asked { answered, ended } = self.link.ask(call, Vec::new()).await.map_err(lost)?;
        let (answer, streams) = answered.map_err(|failure| failure.into_error(&wish.id))?;
        let unexpected = || misunderstood("run a command");
        let (Answer::Execution { exec }, Some(ended)) = (answer, ended) else {
            return Err(unexpected());
        };
        let guard = EndOnDrop {
            link: self.link.clone(),
            exec,
        };
        let mut streams = streams.into_iter();
        let input = streams.next().ok_or_else(unexpected)?;
        let output = match streams.next() {
            Some(output) => output,
            None => input.try_clone().map_err(|error| EngineError::Failed {
                what: "cannot hand out the terminal".to_owned(),
                why: error.to_string(),
            })?,
        };
        let status = async move {
            let status = ended.await.map_err(|_| lost(Gone))?;
            drop(guard);
            Ok(ExitStatus::from(status))
        };
        Ok(Execution {
            input,
            output,
            error: streams.next(),
            status: Box::pin(status),
        })
    }
}

/// Kills a command whose caller does not wait any more; one that has ended is past killing.
struct EndOnDrop {
    link: Link,
    exec: u64,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.link.tell(Call::EndExec { exec: self.exec });
    }
}

impl Engine for EmbeddedEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn shortcomings(&self) -> Vec<String> {
        self.shortcomings.clone()
    }

    fn observe(&self) -> Pending<'_, Result<Vec<Sighting>, EngineError>> {
        Box::pin(async {
            let answered = self.ask(Call::Observe, Vec::new()).await?;
            let (answer, _) = answered.map_err(Failure::into_general_error)?;
            let Answer::Sightings(seen) = answer else {
                return Err(misunderstood("observe the instances"));
            };
            Ok(seen.into_iter().filter_map(sighting).collect())
        })
    }

    fn start(&self, wish: InstanceWish) -> Pending<'_, Result<(), EngineError>> {
        Box::pin(async move { self.start_timed(wish).await.map(drop) })
    }

    fn attachment<'a>(
        &'a self,
        id: &'a InstanceId,
    ) -> Pending<'a, Result<Attachment, EngineError>> {
        Box::pin(self.attach(id))
    }

    fn until_listening<'a>(
        &'a self,
        id: &'a InstanceId,
        ports: &'a [u16],
    ) -> Pending<'a, Result<Option<u16>, EngineError>> {
        Box::pin(self.wait_until_listening(id, ports))
    }

    fn signal<'a>(
        &'a self,
        id: &'a InstanceId,
        signal: Signal,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let call = Call::Signal {
                instance: id.to_string(),
                signal: signal.number(),
            };
            self.ask_about(id, call).await.map(drop)
        })
    }

    fn freeze<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let call = Call::Freeze {
                instance: id.to_string(),
            };
            self.ask_about(id, call).await.map(drop)
        })
    }

    fn thaw<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let call = Call::Thaw {
                instance: id.to_string(),
            };
            self.ask_about(id, call).await.map(drop)
        })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let call = Call::Remove {
                instance: id.to_string(),
            };
            self.ask_about(id, call).await.map(drop)
        })
    }

    fn rename<'a>(
        &'a self,
        id: &'a InstanceId,
        hosts: &'a [HostNames],
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let call = Call::Rename {
                instance: id.to_string(),
                hosts: host_lines(hosts),
            };
            self.ask_about(id, call).await.map(drop)
        })
    }

    fn exec(&self, wish: ExecWish) -> Pending<'_, Result<Execution, EngineError>> {
        Box::pin(self.run(wish))
    }

    fn logs(&self, wish: LogWish) -> Pending<'_, Result<Box<dyn LogStream>, EngineError>> {
        let directory = self.home.logs(&wish.app);
        Box::pin(async move {
            let reader = LogReader::open(directory, wish).await?;
            Ok(Box::new(reader) as Box<dyn LogStream>)
        })
    }

    fn remove_app<'a>(
        &'a self,
        app: &'a AppName,
        volumes: Volumes,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let volumes = match volumes {
                Volumes::Keep => protocol::Volumes::Keep,
                Volumes::Remove => protocol::Volumes::Remove,
            };
            let call = Call::RemoveApp {
                app: app.to_string(),
                volumes,
            };
            let answered = self.ask(call, Vec::new()).await?;
            answered.map(drop).map_err(Failure::into_general_error)
        })
    }

    fn next_event(&self) -> Pending<'_, EngineEvent> {
        Box::pin(async {
            let mut news = self.news.lock().await;
            loop {
                match news.recv().await {
                    Some(News::Exited { instance, status }) => {
                        if let Ok(id) = InstanceId::parse(&instance) {
                            return EngineEvent::Exited {
                                id,
                                status: status.into(),
                            };
                        }
                    }
                    Some(News::Gap) => return EngineEvent::Gap,
                    Some(News::Lost(why)) => return EngineEvent::Lost(why),
                    None => return EngineEvent::Lost("the keeper has ended".to_owned()),
                }
            }
        })
    }

    fn shut_down(&self) -> Pending<'_, Result<(), EngineError>> {
        Box::pin(async {
            let answered = self.ask(Call::ShutDown, Vec::new()).await?;
            answered.map(drop).map_err(Failure::into_general_error)
        })
    }
}

fn lost(_: Gone) -> EngineError {
    EngineError::Unreachable {
        engine: NAME,
        why: "the keeper has ended".to_owned(),
    }
}

fn misunderstood(what: &str) -> EngineError {
    EngineError::Failed {
        what: format!("cannot {what}"),
        why: "the keeper answers something else".to_owned(),
    }
}

/// Tokio's timer has a resolution of a millisecond, which is too coarse for a start; a thread of
/// the blocking pool sleeps as short as the kernel can.
async fn pause_for(time: Duration) {
    if time >= Duration::from_millis(1) {
        tokio::time::sleep(time).await;
        return;
    }
    // The closure cannot panic and is not cancelled, so its outcome says nothing.
    let _ = tokio::task::spawn_blocking(move || std::thread::sleep(time)).await;
}

fn sighting(seen: Seen) -> Option<Sighting> {
    Some(Sighting {
        id: InstanceId::parse(&seen.instance).ok()?,
        revision: Revision(NonZeroU32::new(seen.revision)?),
        state: match seen.state {
            SeenState::Running => InstanceState::Running,
            SeenState::Frozen => InstanceState::Frozen,
            SeenState::Exited(status) => InstanceState::Exited(status.into()),
        },
        started: Moment::from_zero(Duration::from_nanos(seen.started)),
    })
}

fn start_wish(wish: &InstanceWish) -> Result<StartWish, EngineError> {
    let spec = &wish.spec;
    let forbidden = |why: &str, hint: &str| EngineError::Forbidden {
        what: format!("cannot start {}", wish.id),
        why: why.to_owned(),
        hint: hint.to_owned(),
    };
    if let Image::Reference(image) = &spec.image {
        return Err(forbidden(
            &format!("the embedded engine has no images, and it asks for {image}"),
            "write `image: host`, or use another engine (--engine docker)",
        ));
    }
    let argv = spec.argv();
    if argv.first().is_none_or(String::is_empty) {
        return Err(forbidden(
            "it says no program, and `image: host` has none of its own",
            "give the service a `command`",
        ));
    }
    let environment: BTreeMap<String, String> = spec.environment.clone();
    Ok(StartWish {
        instance: wish.id.to_string(),
        revision: wish.revision.0.get(),
        program: Program {
            argv,
            environment: environment.into_iter().collect(),
            user: spec.user.clone(),
            working_dir: spec.working_dir.clone(),
        },
        hostname: hostname(spec.hostname.clone().unwrap_or_else(|| wish.id.short())),
        hosts: host_lines(&wish.hosts),
        mounts: spec.mounts.iter().map(mount).collect(),
        files: spec.files.iter().map(written).collect(),
        root: access(spec.read_only),
        limits: Limits {
            memory_max: spec.limits.memory_max,
            cpu_milli_max: spec.limits.cpu_milli_max,
            pids_max: spec.limits.pids_max,
        },
        captures: wish.captures,
        udp: wish
            .udp
            .iter()
            .map(|capture| (capture.address.ip(), capture.port))
            .collect(),
        egress: match wish.egress {
            model::Egress::Tcp => Egress::Tcp,
            model::Egress::None => Egress::None,
        },
    })
}

/// The kernel takes 64 bytes.
fn hostname(mut name: String) -> String {
    while name.len() > 64 {
        name.pop();
    }
    name
}

fn host_lines(hosts: &[HostNames]) -> Vec<HostLine> {
    let line = |host: &HostNames| HostLine {
        address: host.address.ip(),
        names: host.names.clone(),
    };
    hosts.iter().map(line).collect()
}

fn written(file: &model::WrittenFile) -> WrittenFile {
    WrittenFile {
        target: file.target.clone(),
        content: file.content.clone(),
        mode: file.mode,
    }
}

fn mount(mount: &model::Mount) -> Mount {
    match mount {
        model::Mount::Bind {
            source,
            target,
            read_only,
            create_source,
        } => Mount::Bind {
            source: source.clone(),
            target: target.clone(),
            access: access(*read_only),
            missing: if *create_source {
                Missing::Create
            } else {
                Missing::Fail
            },
        },
        model::Mount::Volume {
            name,
            target,
            read_only,
        } => Mount::Volume {
            name: name.as_ref().map(ToString::to_string),
            target: target.clone(),
            access: access(*read_only),
        },
        model::Mount::Tmpfs {
            target,
            size_max,
            mode,
        } => Mount::Tmpfs {
            target: target.clone(),
            size_max: *size_max,
            mode: *mode,
        },
    }
}

fn access(read_only: bool) -> RootAccess {
    if read_only {
        RootAccess::ReadOnly
    } else {
        RootAccess::Write
    }
}

/// Where the time of a start went, in microseconds since it was asked for.
fn trace(id: &InstanceId, stations: &Stations) {
    let since = |at: Moment| at.since(stations.asked).as_micros();
    tracing::debug!(
        instance = %id,
        cloned = since(stations.cloned),
        ambassador = since(stations.ambassador),
        root = since(stations.root),
        forked = since(stations.forked),
        executed = since(stations.executed),
        "started"
    );
}
