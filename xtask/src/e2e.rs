//! `cargo xtask e2e`: builds `roads` and the end-to-end suite once, and runs the suite twice: as
//! root, and as an ordinary user.
//!
//! Everything that a run needs is copied to a folder that both may read, as a clone in root's home
//! is not: `roads` (its path is in ROADS_BIN) and `examples` (its path is in ROADS_EXAMPLES).
//! Each run has a HOME and an XDG_RUNTIME_DIR of its own. The folder is removed when all passed.
//!
//! Root prepares what an ordinary user cannot: a server outside (its address is in
//! ROADS_E2E_OUTSIDE), and control groups that are the user's.

mod delegation;

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::gates::{command, succeed};
use delegation::Delegation;

/// The package with the suite.
pub(crate) const PACKAGE: &str = "roadstead-e2e";
/// The ordinary user, unless ROADS_E2E_USER names another.
const USER: &str = "roadstead-ci";
/// Tests that run at one time; most of them wait for most of their time.
const THREADS: &str = "4";

/// Who a run is.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// Whoever runs this program, as it is called in what is printed.
    Own(&'static str),
    /// An ordinary user that root becomes.
    Ordinary { name: String, user: u32, group: u32 },
}

/// The folder of a run, and what is in it.
struct Stage {
    folder: PathBuf,
    suites: Vec<PathBuf>,
}

/// Runs the suite as whoever may be had here; `arguments` go to its programs.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let identities = identities()?;
    let roads = ["build", "--release", "-p", "roadstead", "--bin", "roads"];
    let mut programs = build(root, &roads)?;
    programs.extend(build(root, &["test", "-p", PACKAGE, "--no-run"])?);
    let stage = Stage::set(root, &programs)?;
    let outside = Outside::start(&stage, &identities)?;
    let mut failures = Vec::new();
    for identity in &identities {
        for suite in &stage.suites {
            eprintln!("-- {} as {}", suite.display(), identity.name());
            if let Err(error) = run_one(&stage, suite, identity, outside.as_ref(), arguments) {
                failures.push(format!("as {}: {error:#}", identity.name()));
            }
        }
    }
    if !failures.is_empty() {
        let folder = stage.folder.display();
        bail!(
            "{} (what the runs left is in {folder})",
            failures.join("; ")
        );
    }
    fs::remove_dir_all(&stage.folder).context("cannot remove the folder of the runs")
}

/// Runs one test program as one identity.
fn run_one(
    stage: &Stage,
    suite: &Path,
    identity: &Identity,
    outside: Option<&Outside>,
    arguments: &[String],
) -> Result<()> {
    let delegation = match identity {
        Identity::Own(_) => Delegation::default(),
        Identity::Ordinary { user, group, .. } => Delegation::make(*user, *group),
    };
    let mut command = delegation.enter(&identity.command(suite));
    stage.settle(&mut command, identity)?;
    command.args(arguments);
    if let Some(outside) = outside {
        command.env("ROADS_E2E_OUTSIDE", &outside.address);
    }
    succeed(&mut command)
}

/// The program that keeps a server outside. Dropping it ends it.
struct Outside {
    keeper: Child,
    address: String,
}

impl Outside {
    /// Starts it where root runs the suite.
    fn start(stage: &Stage, identities: &[Identity]) -> Result<Option<Self>> {
        if !identities.contains(&Identity::Own("root")) {
            return Ok(None);
        }
        let mut command = Command::new(stage.folder.join("outside"));
        command.env("ROADS_BIN", stage.folder.join("roads"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().context("cannot start a server outside")?;
        let mut address = String::new();
        if let Some(told) = keeper.stdout.take() {
            BufReader::new(told)
                .read_line(&mut address)
                .context("it tells no address")?;
        }
        let outside = Self {
            keeper,
            address: address.trim().to_owned(),
        };
        ensure!(!outside.address.is_empty(), "there is no server outside");
        Ok(Some(outside))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// As root both; as an ordinary user only that one, which is not enough in the CI.
fn identities() -> Result<Vec<Identity>> {
    // The owner of this entry is the effective user of the process.
    let user = fs::metadata("/proc/self")
        .context("cannot find out who runs this")?
        .uid();
    if user == 0 {
        return Ok(vec![Identity::Own("root"), ordinary()?]);
    }
    ensure!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "the end-to-end suite runs as root too, and this is user {user}; run the CI as root"
    );
    eprintln!("the run as root is skipped: this is user {user}");
    Ok(vec![Identity::Own("user")])
}

fn ordinary() -> Result<Identity> {
    let name = std::env::var("ROADS_E2E_USER").unwrap_or_else(|_| USER.to_owned());
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let (user, group) = find_user(&passwd, &name).with_context(|| {
        format!("no user {name:?} to run the suite as; `useradd -m {name}`, or set ROADS_E2E_USER")
    })?;
    ensure!(user != 0, "the user {name:?} is root; name an ordinary one");
    Ok(Identity::Ordinary { name, user, group })
}

/// The user and group of a line of /etc/passwd.
fn find_user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let fields = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = fields.filter(|fields| fields.first() == Some(&name));
    match own.next()?.as_slice() {
        [_, _, user, group, ..] => Some((user.parse().ok()?, group.parse().ok()?)),
        _ => None,
    }
}

/// A program that cargo built.
#[derive(Debug, PartialEq, Eq)]
enum Built {
    Program(PathBuf),
    TestProgram(PathBuf),
}

/// Runs cargo and gives the programs that it says it built.
fn build(root: &Path, arguments: &[&str]) -> Result<Vec<Built>> {
    let mut build = command(root, arguments);
    build
        .args(["-q", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo {} failed",
        arguments.join(" ")
    );
    Ok(built(&String::from_utf8_lossy(&output.stdout)))
}

/// The programs in cargo's messages, which are one JSON a line.
fn built(messages: &str) -> Vec<Built> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter_map(|message| {
        let program = PathBuf::from(message["executable"].as_str()?);
        let tests = message["profile"]["test"] == true;
        Some(if tests {
            Built::TestProgram(program)
        } else {
            Built::Program(program)
        })
    });
    programs.collect()
}

impl Identity {
    fn name(&self) -> &str {
        match self {
            Self::Own(name) => name,
            Self::Ordinary { name, .. } => name,
        }
    }

    fn chown(&self, folder: &Path) -> io::Result<()> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Ordinary { user, group, .. } => chown(folder, Some(*user), Some(*group)),
        }
    }

    /// The command that becomes this identity and then `program`.
    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Own(_) => Command::new(program),
            Self::Ordinary { user, group, .. } => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"));
                command
                    .args(["--init-groups", "--inh-caps=-all", "--"])
                    .arg(program);
                command
            }
        }
    }
}

impl Stage {
    /// Copies everything to a new folder.
    fn set(root: &Path, programs: &[Built]) -> Result<Self> {
        let name = format!("roadstead-e2e-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        open_folder(&folder)?;
        copy(&root.join("examples"), &folder.join("examples"))?;
        let mut suites = Vec::new();
        for built in programs {
            let (Built::Program(program) | Built::TestProgram(program)) = built;
            let name = program.file_name().context("a program has no name")?;
            let copied = folder.join(name);
            copy(program, &copied)?;
            match built {
                Built::Program(_) => {}
                Built::TestProgram(_) => suites.push(copied),
            }
        }
        ensure!(!suites.is_empty(), "{PACKAGE} has no test program");
        suites.sort();
        Ok(Self { folder, suites })
    }

    /// Gives a command a home and a runtime folder made for its identity, and what it is to test.
    fn settle(&self, command: &mut Command, identity: &Identity) -> Result<()> {
        let place = |name: &str| self.folder.join(format!("{name}-{}", identity.name()));
        let (home, runtime) = (place("home"), place("run"));
        for folder in [&home, &runtime] {
            fs::create_dir_all(folder)
                .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)))
                .and_then(|()| identity.chown(folder))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        command.current_dir(&self.folder);
        command.env("HOME", home).env("XDG_RUNTIME_DIR", runtime);
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", THREADS);
        }
        if let Identity::Ordinary { name, .. } = identity {
            command.env("USER", name).env("LOGNAME", name);
        }
        for inherited in [
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "XDG_CACHE_HOME",
        ] {
            command.env_remove(inherited);
        }
        command.env("ROADS_BIN", self.folder.join("roads"));
        command.env("ROADS_EXAMPLES", self.folder.join("examples"));
        Ok(())
    }
}

/// A folder that everybody may read, whatever the umask.
fn open_folder(folder: &Path) -> Result<()> {
    fs::create_dir(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot make {}", folder.display()))
}

/// Copies a file or a folder so that everybody may read it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("cannot copy {} to {}", from.display(), to.display());
    if !from.is_dir() {
        fs::copy(from, to).with_context(cannot)?;
        let runs = fs::metadata(to).with_context(cannot)?.mode() & 0o100 != 0;
        let mode = if runs { 0o755 } else { 0o644 };
        return fs::set_permissions(to, Permissions::from_mode(mode)).with_context(cannot);
    }
    open_folder(to)?;
    for entry in fs::read_dir(from).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nci2:x:7:8::/:\nci:x:1001:1002::/home/ci:/bin/sh\n";
        assert_eq!(find_user(passwd, "ci"), Some((1001, 1002)));
        assert_eq!(find_user(passwd, "c"), None);
        assert_eq!(find_user("ci:x:a:b\n", "ci"), None);
    }

    #[test]
    fn what_was_built_is_read_from_the_messages() {
        let messages = r#"{"profile":{"test":false},"executable":"/t/roads"}
{"profile":{"test":true},"executable":"/t/lazy-1"}
{"profile":{"test":true},"executable":null}
not json
{"reason":"build-finished","success":true}"#;
        let expected = [
            Built::Program("/t/roads".into()),
            Built::TestProgram("/t/lazy-1".into()),
        ];
        assert_eq!(built(messages), expected);
    }

    #[test]
    fn another_identity_is_taken_by_setpriv() {
        let other = Identity::Ordinary {
            name: "ci".to_owned(),
            user: 7,
            group: 8,
        };
        let command = other.command(Path::new("/t/lazy"));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        let expected = [
            "--reuid=7",
            "--regid=8",
            "--init-groups",
            "--inh-caps=-all",
            "--",
            "/t/lazy",
        ];
        assert_eq!(
            (command.get_program().to_string_lossy(), words.as_slice()),
            ("setpriv".into(), expected.map(Into::into).as_slice(),)
        );
        assert_eq!(
            Identity::Own("root")
                .command(Path::new("/t/lazy"))
                .get_args()
                .count(),
            0
        );
    }
}
