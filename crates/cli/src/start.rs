//! Reaching the daemon, and starting it when nobody answers.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use client::{Client, ClientError};
use model::{AppSpec, Image};

use crate::arguments::EngineName;
use crate::home::{Home, HomeError};

/// What a daemon exits with when another one already runs (`EX_TEMPFAIL` of `sysexits.h`).
pub const ALREADY_RUNNING: u8 = 75;

/// How long a daemon may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause between two attempts to reach it. They are only made while it starts.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(3);
/// A log that is longer is put aside before a daemon starts.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// The most of its log that is shown when it failed.
const LOG_LINES_SHOWN: usize = 20;

/// Why there is no daemon to talk to.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folders cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// It answers, and not as it should.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It could not be started.
    #[error("cannot start the daemon")]
    Spawn(#[source] io::Error),
    /// It ended before it listened.
    #[error("the daemon did not start: {status}\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        log: String,
    },
    /// It did not listen in time.
    #[error("the daemon does not answer after {}s\n{log}", START_TIMEOUT.as_secs())]
    Silent {
        /// What it said.
        log: String,
    },
    /// Its API is one that this command does not speak.
    #[error("the daemon is release {release}, which this command cannot talk to")]
    OtherApi {
        /// Its release.
        release: String,
    },
    /// It runs another engine than the one asked for.
    #[error("the daemon runs the engine {running}, not {asked}")]
    OtherEngine {
        /// The engine that it runs.
        running: String,
        /// The engine asked for.
        asked: &'static str,
    },
    /// A service's image is nothing that the engine asked for has.
    #[error("the engine {asked} cannot run {service}: its image is {image}")]
    OtherImage {
        /// The service.
        service: String,
        /// What its instances are made from.
        image: String,
        /// The engine asked for.
        asked: &'static str,
    },
}

/// Whether the engine asked for can run an app's images.
pub(crate) fn check_images(spec: &AppSpec, engine: EngineName) -> Result<(), StartError> {
    for (service, spec) in &spec.services {
        let image = match (engine, &spec.image) {
            (EngineName::Docker, Image::Host) => "`host`, this machine's own files".to_owned(),
            (EngineName::Embedded, Image::Reference(image)) => format!("{image:?}"),
            (EngineName::Docker, Image::Reference(_))
            | (EngineName::Embedded, Image::Host)
            | (EngineName::Auto, _) => continue,
        };
        return Err(StartError::OtherImage {
            service: service.to_string(),
            image,
            asked: engine.as_str(),
        });
    }
    Ok(())
}

/// A client of the daemon, which is started when nobody answers. Of several commands that start
/// one at the same time, one succeeds; the others find it.
pub(crate) async fn reach(home: &Home, engine: Option<EngineName>) -> Result<Client, StartError> {
    home.prepare()?;
    let client = Client::new(&home.socket());
    let info = match client.info().await {
        Ok(info) => info,
        // The daemon may be leaving while we ask; so whatever failed, the next one is asked.
        Err(ClientError::Unreachable { .. } | ClientError::BrokenOff(_)) => {
            start(home, &client).await?
        }
        Err(error @ (ClientError::Unreadable(_) | ClientError::Refused(_))) => {
            return Err(error.into());
        }
    };
    judge(&info)?;
    match engine {
        Some(asked) if !asked.is_among(&info.engine) => Err(StartError::OtherEngine {
            running: info.engine,
            asked: asked.as_str(),
        }),
        Some(_) | None => Ok(client),
    }
}

/// Says what a daemon of another release means.
fn judge(info: &api::Info) -> Result<(), StartError> {
    let own = env!("CARGO_PKG_VERSION");
    if info.api != api::VERSION {
        let release = info.version.clone();
        return Err(StartError::OtherApi { release });
    }
    if info.version != own {
        anstream::eprintln!(
            "note: the daemon is release {}, this command is {own}; \
             `roads daemon --stop` ends it, services run on, and the next command starts this release",
            info.version
        );
    }
    Ok(())
}

async fn start(home: &Home, client: &Client) -> Result<api::Info, StartError> {
    let mut log = Log::open(home.log()).map_err(StartError::Spawn)?;
    let spawn = |log: &Log| detached(home, log).map_err(StartError::Spawn);
    let mut daemon = spawn(&log)?;
    let started = async {
        loop {
            match client.info().await {
                Ok(info) => return Ok(info),
                Err(ClientError::Unreachable { .. } | ClientError::BrokenOff(_)) => {}
                Err(error @ (ClientError::Unreadable(_) | ClientError::Refused(_))) => {
                    return Err(error.into());
                }
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
            let Some(status) = daemon.try_wait().map_err(StartError::Spawn)? else {
                continue;
            };
            if status.code() != Some(i32::from(ALREADY_RUNNING)) {
                let log = log.new_lines();
                return Err(StartError::Ended { status, log });
            }
            // Another one starts, or is leaving: it will answer, or let go of the lock.
            tokio::time::sleep(ATTEMPT_PAUSE * 10).await;
            daemon = spawn(&log)?;
        }
    };
    let in_time = tokio::time::timeout(START_TIMEOUT, started).await;
    in_time.unwrap_or_else(|_| {
        let log = log.new_lines();
        Err(StartError::Silent { log })
    })
}

/// Starts this program as the daemon, with all engines that there are. It makes a session of its own, so it outlives the terminal.
fn detached(home: &Home, log: &Log) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["daemon", "--detached"])
        .env("ROADS_STATE_DIR", &home.state)
        .env("ROADS_RUNTIME_DIR", &home.runtime)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.file.try_clone()?)
        .stderr(log.file.try_clone()?)
        .spawn()
}

/// The file that a detached daemon writes to.
struct Log {
    file: File,
    /// Where what it says begins.
    start: u64,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let long = |metadata: std::fs::Metadata| metadata.len() > LOG_BYTES_MAX;
        if path.metadata().is_ok_and(long) {
            std::fs::rename(&path, path.with_extension("log.1"))?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true).mode(0o600);
        let file = options.open(path)?;
        let start = file.metadata()?.len();
        Ok(Self { file, start })
    }

    /// The end of what was written since it was opened.
    fn new_lines(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(self.start));
        let read = read.and_then(|_| self.file.read_to_end(&mut bytes));
        if let Err(error) = read {
            return format!("its log cannot be read: {error}");
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
        lines[shown..].join("\n")
    }
}
