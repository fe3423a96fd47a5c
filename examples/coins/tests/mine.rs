//! The whole mine as five processes on loopback: coins are found, and every service stops when told.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use coins::http::Client;
use rustix::process::{Pid, Signal, kill_process};

/// Far beyond what the slowest machine needs; only a broken mine takes this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running service; killed if a test ends before it was stopped.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(words: &[&str], environment: &[(&str, String)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_coins"))
            .args(words)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the executable was built with this test");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let mut lines = BufReader::new(stdout).lines();
        // The first line of a server ends with its address; of the worker, with a duration.
        let first = lines
            .next()
            .expect("a service says something")
            .expect("in UTF-8");
        thread::spawn(move || lines.for_each(drop));
        let port = first.rsplit(':').next().unwrap_or_default();
        Self {
            child,
            address: format!("127.0.0.1:{port}"),
        }
    }

    /// Sends SIGTERM and gives the exit code.
    fn stop(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the service runs");
        self.child
            .wait()
            .expect("the service was started here")
            .code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Fails for a service that was stopped, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_mine_finds_coins_and_stops_when_told() {
    let rng = Service::start(&["rng", "--port", "0", "--delay-ms", "1"], &[]);
    let hasher = Service::start(&["hasher", "--port=0"], &[]);
    let store = Service::start(&["store", "--port", "0"], &[]);
    let environment = [
        ("RNG_URL", format!("http://{}", rng.address)),
        ("HASHER_URL", format!("http://{}", hasher.address)),
        ("STORE", store.address.clone()),
    ];
    let worker = Service::start(&["worker"], &environment);
    let webui = Service::start(&["webui", "--port", "0"], &environment);

    let mut page = Client::new(
        format!("http://{}", webui.address)
            .parse()
            .expect("an address"),
    );
    let html = page.request("GET", "/", &[], &[]).expect("the page").body;
    assert!(html.starts_with(b"<!doctype html>"));
    let begun = Instant::now();
    loop {
        let figures = page.request("GET", "/json", &[], &[]).expect("the figures");
        let text = String::from_utf8(figures.body).expect("JSON is UTF-8");
        if figures.status == 200 && !text.contains("\"coins\":0") {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "no coin: {text}");
        thread::sleep(Duration::from_millis(20));
    }

    assert_eq!(
        store_check(store.address.rsplit(':').next().unwrap_or_default()),
        Some(0)
    );
    // Where nobody listens: a port that only the system could use.
    assert_eq!(store_check("1"), Some(1));
    for mut service in [worker, webui, hasher, rng, store] {
        assert_eq!(service.stop(), Some(0));
    }
}

fn store_check(port: &str) -> Option<i32> {
    let mut check = Command::new(env!("CARGO_BIN_EXE_coins"));
    check
        .args(["store-check", "--port", port])
        .stderr(Stdio::null());
    check.status().expect("the check runs").code()
}
