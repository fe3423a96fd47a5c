//! A `roads` with a home of its own.

use std::fs::{self, DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::App;
use crate::process::Process;
use crate::wait::until;

/// Seconds after which a command that did not end is ended.
const SECONDS_MAX: &str = "120";

/// The image that `image.sh` makes of this machine's programs.
const IMAGE: &str = "roadstead-e2e";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The command, with folders, a daemon and an ingress port that nobody else has. Dropping it ends
/// all that it started.
#[derive(Debug)]
pub struct Roads {
    binary: PathBuf,
    folder: PathBuf,
    ingress: SocketAddr,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl Outcome {
    /// Both texts.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Roads {
    /// A home where nothing runs yet.
    ///
    /// # Panics
    /// When there is no `roads` to run, or no folder to be had.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, since the path of a unix socket may have 107 bytes.
        let folder = PathBuf::from(format!("/tmp/e2e-{}-{number}", std::process::id()));
        for path in [
            &folder,
            &folder.join("state"),
            &folder.join("run"),
            &folder.join("io"),
        ] {
            let made = DirBuilder::new().mode(0o700).create(path);
            made.unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        }
        let ingress = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Arc::new(Self {
            binary: binary(),
            folder,
            ingress,
        })
    }

    /// Where this home's files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the daemon keeps its sockets.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Where the daemon keeps what it remembers.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The executable.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Where `SERVICE.APP.localhost` answers.
    #[must_use]
    pub fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    /// A file of this home, with its folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        let folder = path.parent().expect("the file is in this home's folder");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// An app of this home, from the text of a compose file; it is not up yet.
    #[must_use]
    pub fn app(self: &Arc<Self>, name: &str, text: &str) -> App {
        let file = self.write(
            &format!("{name}/compose.yaml"),
            &format!("name: {name}\n{}", for_engine(text)),
        );
        App::at(self, name, vec![file])
    }

    /// The command with these words.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        self.settle(&mut command, words);
        command
    }

    /// A shell line in this home's environment.
    #[must_use]
    pub fn shell(&self, line: &str) -> Command {
        let mut command = self.settled(Command::new("sh"));
        command.args(["-c", line]);
        command
    }

    /// Any command, in this home's environment.
    #[must_use]
    pub fn settled(&self, mut command: Command) -> Command {
        self.settle(&mut command, &[]);
        command
    }

    /// What the machine keeps the daemon from, in sentences; a daemon must run.
    ///
    /// # Panics
    /// When it does not tell.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<String> {
        let version = self.json(&["version", "--json"]);
        let daemon = version["daemon"]["shortcomings"].as_array();
        let daemon = daemon.unwrap_or_else(|| panic!("no shortcomings in {version:#}"));
        daemon
            .iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    }

    fn settle(&self, command: &mut Command, words: &[&str]) {
        command
            .args(words)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command.env("ROADS_STATE_DIR", self.state());
        command.env("ROADS_RUNTIME_DIR", self.runtime());
        command.env("ROADS_INGRESS", self.ingress.to_string());
        command.env("ROADS_ENGINE", engine());
        for name in [
            "COMPOSE_ENV_FILES",
            "COMPOSE_FILE",
            "COMPOSE_PROJECT_NAME",
            "COMPOSE_PROFILES",
        ] {
            command.env_remove(name);
        }
    }

    /// Runs a command to its end, whatever that is.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", SECONDS_MAX])
            .arg(&self.binary);
        self.settle(&mut command, words);
        self.outcome(&mut command)
    }

    /// Runs any command to its end; its output goes through files, which nobody who inherits
    /// them can keep us waiting at.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn outcome(&self, command: &mut Command) -> Outcome {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = |name: &str| self.folder.join(format!("io/{number}.{name}"));
        let (stdout, stderr) = (place("out"), place("err"));
        let create = |path: &Path| File::create(path).expect("the folder is ours");
        command.stdout(create(&stdout)).stderr(create(&stderr));
        let status = command.status();
        let status = status.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let read = |path: &Path| {
            let bytes = fs::read(path).expect("it was just written");
            drop(fs::remove_file(path));
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Outcome {
            status,
            stdout: read(&stdout),
            stderr: read(&stderr),
        }
    }

    /// Runs a command that succeeds, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert!(
            outcome.status.success(),
            "roads {} failed: {outcome:#?}",
            words.join(" ")
        );
        outcome.stdout
    }

    /// Runs a command that fails, and gives what it said.
    ///
    /// # Panics
    /// When it succeeds, does not end, or panics.
    pub fn fails(&self, words: &[&str]) -> Outcome {
        let outcome = self.run(words);
        let code = outcome.status.code();
        let is_refusal = code.is_some_and(|code| ![0, 101, 124, 137].contains(&code));
        assert!(
            is_refusal,
            "roads {} did not fail properly: {outcome:#?}",
            words.join(" ")
        );
        outcome
    }

    /// Runs a command that prints one JSON value.
    ///
    /// # Panics
    /// When it fails or prints something else.
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.ok(words);
        let json = serde_json::from_str(&text);
        json.unwrap_or_else(|error| panic!("roads {}: {error} in {text:?}", words.join(" ")))
    }

    /// Runs a command that prints JSON values, one a line.
    ///
    /// # Panics
    /// When it fails or prints something else.
    pub fn json_lines(&self, words: &[&str]) -> Vec<Value> {
        let text = self.ok(words);
        let lines = text.lines().map(|line| {
            let json = serde_json::from_str(line);
            json.unwrap_or_else(|error| panic!("roads {}: {error} in {line:?}", words.join(" ")))
        });
        lines.collect()
    }

    /// The daemon's process, if one runs.
    #[must_use]
    pub fn daemon(&self) -> Option<Process> {
        self.own()
            .into_iter()
            .find(|process| process.name != "roads-keeper")
    }

    /// The keeper's process, if one runs.
    #[must_use]
    pub fn keeper(&self) -> Option<Process> {
        self.own()
            .into_iter()
            .find(|process| process.name == "roads-keeper")
    }

    /// The instances' first processes. The few that the keeper has ready are nobody's yet.
    #[must_use]
    pub fn inits(&self) -> Vec<Process> {
        let keeper = self.keeper();
        let mut children = keeper.map(|keeper| keeper.children()).unwrap_or_default();
        // One that was only just made has its keeper's name still.
        children.retain(|child| !["roads-spare", "roads-keeper"].contains(&&*child.name));
        children
    }

    /// The instances' programs.
    #[must_use]
    pub fn programs(&self) -> Vec<Process> {
        if engine() == "docker" {
            return self.container_programs();
        }
        let inits: Vec<i32> = self.inits().iter().map(|init| init.pid).collect();
        let mut all = Process::all();
        all.retain(|process| inits.contains(&process.parent));
        all
    }

    /// The first processes of this home's containers, past their gates.
    fn container_programs(&self) -> Vec<Process> {
        let line = format!(
            "docker ps -q --filter label=roadstead.home={} | xargs -r docker inspect -f '{{{{.State.Pid}}}}'",
            self.state().display()
        );
        let told = Command::new("sh").args(["-c", &line]).output();
        let told = told.expect("there is a shell");
        let text = String::from_utf8_lossy(&told.stdout);
        let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let mut all = Process::all();
        all.retain(|process| pids.contains(&process.pid) && process.name != "gate");
        all
    }

    /// Kills the daemon as nothing else would, and waits until it is gone.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill_daemon(&self) {
        let daemon = self.daemon().expect("a daemon runs");
        daemon.kill();
        until("the daemon to be gone", || !daemon.is_alive());
    }

    /// Waits until no process of this home is left.
    ///
    /// # Panics
    /// When one stays.
    pub fn wait_for_the_end(&self) {
        until("the daemon and the keeper to leave", || {
            self.own().is_empty()
        });
    }

    /// Daemon and keeper: processes with the daemon's words and this home's variables, but the
    /// instances' first ones, which are copies of the keeper.
    fn own(&self) -> Vec<Process> {
        let variable = format!("ROADS_RUNTIME_DIR={}", self.runtime().display());
        let mut all = Process::all();
        all.retain(|process| {
            process.command.contains(" daemon")
                && !["roads-init", "roads-spare"].contains(&&*process.name)
                && process.has_variable(&variable)
        });
        // A first process that was only just made has its keeper's name still.
        let is_keeper = |process: &&Process| process.name == "roads-keeper";
        let keepers: Vec<i32> = all
            .iter()
            .filter(is_keeper)
            .map(|keeper| keeper.pid)
            .collect();
        all.retain(|process| !keepers.contains(&process.parent));
        all
    }

    /// What a test that failed left on Docker, which outlives its daemon.
    fn remove_from_docker(&self) {
        if engine() != "docker" {
            return;
        }
        let ours = format!("--filter label=roadstead.home={}", self.state().display());
        let line = format!(
            "docker ps -aq {ours} | xargs -r docker rm -fv
             docker network ls -q {ours} | xargs -r docker network rm
             docker volume ls -q {ours} | xargs -r docker volume rm"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &line]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        drop(command.status());
    }

    fn print_logs(&self) {
        for folder in [self.state(), self.runtime()] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|ending| ending == "log") {
                    let text = fs::read(&path).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    let lines: Vec<&str> = text.lines().collect();
                    let last = &lines[lines.len().saturating_sub(60)..];
                    eprintln!("-- {}\n{}", path.display(), last.join("\n"));
                }
            }
        }
    }
}

impl Drop for Roads {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        // Apps are down by now, unless their `down` failed: then this ends them. A daemon that was
        // just starting may have made a keeper meanwhile, so until nobody is left.
        for _ in 0..100 {
            let own = self.own();
            own.iter().for_each(Process::kill);
            if own.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.remove_from_docker();
        // What an instance wrote as another user of its range is its keeper's to remove.
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The engine that the suite tries: ROADS_E2E_ENGINE, else the embedded one.
#[must_use]
pub(crate) fn engine() -> String {
    std::env::var("ROADS_E2E_ENGINE").unwrap_or_else(|_| "embedded".to_owned())
}

/// A compose file's text, with the image that the engine has in place of this machine's files.
pub(crate) fn for_engine(text: &str) -> String {
    match engine().as_str() {
        "docker" => text.replace("image: host", &format!("image: {IMAGE}")),
        _ => text.to_owned(),
    }
}

/// A port of this machine that nobody listens on, outside the range that the kernel gives to
/// connections, so that none takes it meanwhile.
///
/// # Panics
/// When all are taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT_PORT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61) % 10_000;
    for _ in 0..10_000 {
        let offset = (start + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let port = 20_000 + u16::try_from(offset).expect("it is below 10,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// `roads`: ROADS_BIN, else what was built beside this program.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROADS_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("this program has a path");
    let folders = own.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join("roads"))
        .find(|path| path.is_file());
    found.expect("no roads beside this program: cargo build -p roadstead, or set ROADS_BIN")
}
