//! Fresh network namespaces for tests, as root or as an ordinary user.
//!
//! A test that needs them is wrapped in [`with_namespaces`]: as root its body runs here; as an
//! ordinary user the test program runs itself again, for that one test, in a user namespace where
//! it is root. Where the machine allows neither, the test says so, and fails if `CI=true`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use netns::Namespace;
use netns::ambassador::{self, Egress, Sockets, UdpCapture, Wish};
use rustix::thread::UnshareFlags;

/// Set in the program that runs a test inside a user namespace.
const INSIDE: &str = "NETNS_TEST_INSIDE";

/// No test waits longer for something that must happen; it is a failure, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `body`, a closure of a test, where namespaces can be made.
pub(crate) fn with_namespaces<F: FnOnce()>(body: F) {
    // The closure's type is named for the test: `namespaces::listening::TEST::{{closure}}`.
    let name = std::any::type_name::<F>().split("::").skip(1);
    let name = name
        .take_while(|part| !part.contains('{'))
        .collect::<Vec<_>>()
        .join("::");
    let name = name.as_str();
    if fresh_namespace().is_ok() {
        return body();
    }
    if std::env::var_os(INSIDE).is_some() {
        return skip(name, "a user namespace here cannot make network namespaces");
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {} 1", user.as_raw())),
        ("/proc/self/gid_map", format!("0 {} 1", group.as_raw())),
    ];
    let enter = move || {
        unshare(UnshareFlags::NEWUSER)?;
        maps.iter()
            .try_for_each(|(path, text)| std::fs::write(path, text))
    };
    #[expect(
        unsafe_code,
        reason = "a user namespace can only be entered by a single thread"
    )]
    // SAFETY: between fork and exec only system calls are made; nothing is allocated or locked.
    unsafe {
        command.pre_exec(enter)
    };
    match command.status() {
        Ok(status) => assert!(status.success(), "{name} failed inside a user namespace"),
        Err(error) => skip(name, &format!("no user namespace: {error}")),
    }
}

/// A new, empty network namespace; it lives as long as the value or a socket in it.
pub(crate) fn fresh_namespace() -> io::Result<Namespace> {
    let make = || {
        move_into_a_fresh_namespace()?;
        Namespace::current().map_err(io::Error::other)
    };
    thread::spawn(make)
        .join()
        .expect("making a namespace does not panic")
}

/// Moves the calling thread for good.
pub(crate) fn move_into_a_fresh_namespace() -> io::Result<()> {
    unshare(UnshareFlags::NEWNET)
}

/// A new namespace with an ambassador.
pub(crate) fn ambassador(egress: Egress, udp: &[UdpCapture]) -> (Namespace, Sockets) {
    let namespace = fresh_namespace().unwrap();
    let wish = Wish {
        tcp_captures: 1,
        udp: udp.to_vec(),
        egress,
    };
    let sockets = ambassador::install_in(&namespace, &wish).unwrap();
    (namespace, sockets)
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the only way to make a namespace")]
    // SAFETY: the descriptor table stays shared; only namespaces are unshared.
    unsafe {
        rustix::thread::unshare_unsafe(flags)?
    };
    Ok(())
}

/// Says that `test` cannot run here; in CI that is a failure.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "in CI nothing may be skipped"
    );
}
