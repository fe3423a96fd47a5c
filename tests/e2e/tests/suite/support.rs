//! What several modules of the suite need besides the harness.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{App, Roads};

/// The project's examples.
pub(crate) fn examples() -> PathBuf {
    let given = std::env::var_os("ROADS_EXAMPLES").map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"))
}

/// Whether this machine has the programs; in CI it must.
pub(crate) fn has(programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there = |name: &&&str| {
        path.split(':')
            .any(|folder| Path::new(folder).join(name).is_file())
    };
    let missing: Vec<_> = programs.iter().filter(|name| !is_there(name)).collect();
    skip_unless(
        missing.is_empty(),
        &format!("this machine has no {missing:?}"),
    )
}

/// Says why a test does not run here, which it must in CI.
pub(crate) fn skip_unless(can_run: bool, why: &str) -> bool {
    if !can_run {
        assert!(!is_ci(), "this must run in CI, and {why}");
        eprintln!("skipped: {why}");
    }
    can_run
}

pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Whether the suite runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What curl gets.
pub(crate) fn curl(roads: &Roads, arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "--fail-with-body",
        "--noproxy",
        "*",
        "--max-time",
        "60",
    ])
    .args(arguments);
    let outcome = roads.outcome(&mut curl);
    assert!(
        outcome.status.success(),
        "curl {arguments:?} failed: {outcome:#?}"
    );
    outcome.stdout
}

/// A folder that instances may bind and write in, whoever they are there.
pub(crate) fn shared_folder(roads: &Roads, name: &str) -> PathBuf {
    let folder = roads.folder().join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    folder
}

/// A file that a service waits for before it goes on.
#[derive(Debug)]
pub(crate) struct Gate(PathBuf);

impl Gate {
    /// Closed; instances see it as `/gate/open`.
    pub(crate) fn of(roads: &Roads) -> Self {
        Self(shared_folder(roads, "gate"))
    }

    pub(crate) fn open(&self) {
        fs::write(self.0.join("open"), "").unwrap();
    }

    pub(crate) fn close(&self) {
        fs::remove_file(self.0.join("open")).unwrap();
    }
}

/// A service's command that waits for the gate, and its volume.
pub(crate) fn gated(command: &str) -> String {
    format!(
        "image: host
    volumes: [\"../gate:/gate:ro\"]
    command: [sh, -c, 'until [ -e /gate/open ]; do sleep 0.02; done; exec {command}']"
    )
}

/// An app in a home where a gate is closed.
pub(crate) fn app_behind_gate(text: &str) -> (App, Gate) {
    let roads = Roads::new();
    let gate = Gate::of(&roads);
    (roads.app("demo", text), gate)
}

/// Some services that answer with what they saw, on port 80 each.
pub(crate) fn echoes(names: &[&str]) -> String {
    let mut text = "services:\n".to_owned();
    for name in names {
        text.push_str(&format!(
            "  {name}:\n    image: host\n    command: roads coins echo\n    expose: [\"80\"]\n"
        ));
    }
    text
}
