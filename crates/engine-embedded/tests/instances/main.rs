//! Real instances, as root and as an ordinary user.
//!
//! The engine forks its keeper, which only a process with one thread may do, so this is a program
//! of its own instead of a test of the harness: it runs itself once for each kind of user, and each
//! of these runs the whole suite on one engine. `cargo test -p roadstead-engine-embedded --test
//! instances -- NAME` runs the tests whose name has NAME in it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, in a program of their own that says what it found"
)]

mod suite;
mod world;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use world::Role;

/// An id that no `/etc/subuid` gives a range.
const SINGLE_USER: u32 = 59_999;

fn main() -> ExitCode {
    match Role::from_environment() {
        Some(role) => role.play(),
        None => run_as_everybody(),
    }
}

/// Runs the suite as each kind of user that this machine allows.
fn run_as_everybody() -> ExitCode {
    let is_root = rustix::process::geteuid().is_root();
    let mut users = Vec::new();
    if is_root {
        users.push(("root", None));
        match ranged_user() {
            Some(user) => users.push(("ordinary user with subordinate ids", Some(user))),
            None => skip("no user has a range in /etc/subuid: not tested with subordinate ids"),
        }
        users.push(("ordinary user", Some(SINGLE_USER)));
    } else {
        skip("this is not root: tested as this user alone");
        users.push(("this user", None));
    }
    let mut failed = 0;
    for (kind, user) in users {
        println!("\nas {kind}:");
        let home = TemporaryHome::new(user);
        let mut command = Role::Suite.command(&home.0);
        command.args(std::env::args().skip(1));
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let status = command.status().expect("this program runs itself");
        failed += u32::from(!status.success());
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A test that cannot run says so; in CI it may not.
fn skip(why: &str) {
    println!("skipped: {why}");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "in CI nothing is skipped: {why}"
    );
}

/// The first user that has subordinate ids.
fn ranged_user() -> Option<u32> {
    let ranges = std::fs::read_to_string("/etc/subuid").ok()?;
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let name = ranges.lines().next()?.split(':').next()?;
    let entry = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    entry.split(':').nth(2)?.parse().ok()
}

/// Directories of one run, removed at its end.
struct TemporaryHome(PathBuf);

impl TemporaryHome {
    fn new(user: Option<u32>) -> Self {
        let name = format!(
            "roads-engine-{}-{}",
            std::process::id(),
            user.unwrap_or_default()
        );
        let path = Path::new("/var/tmp").join(name);
        for directory in [path.clone(), path.join("state"), path.join("runtime")] {
            std::fs::create_dir_all(&directory).expect("/var/tmp can be written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(&directory, mode).expect("it is ours");
            std::os::unix::fs::chown(&directory, user, user).expect("root may give it away");
        }
        Self(path)
    }
}

impl Drop for TemporaryHome {
    fn drop(&mut self) {
        // What an instance of an ordinary user left belongs to ids that only root may remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
