//! An app in a home.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::http::{self, Answer, Connection};
use crate::process::Process;
use crate::roads::for_engine;
use crate::wait::eventually;
use crate::{Outcome, Roads};

/// An app. Dropping it takes it down.
#[derive(Debug)]
pub struct App {
    roads: Arc<Roads>,
    name: String,
    files: Vec<PathBuf>,
}

impl App {
    /// An app in a home of its own, from the text of a compose file; it is not up yet.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Roads::new().app("demo", text)
    }

    /// As [`App::of`], and up.
    #[must_use]
    pub fn up(text: &str) -> Self {
        let app = Self::of(text);
        app.ok(&["up", "-d"]);
        app
    }

    /// An app of compose files that are there already, and its name in them.
    #[must_use]
    pub fn at(roads: &Arc<Roads>, name: &str, files: Vec<PathBuf>) -> Self {
        Self {
            roads: Arc::clone(roads),
            name: name.to_owned(),
            files,
        }
    }

    /// Its home.
    #[must_use]
    pub fn roads(&self) -> &Arc<Roads> {
        &self.roads
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its compose file.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn file(&self) -> &Path {
        self.files.first().expect("an app has a file")
    }

    /// Writes its compose file anew.
    ///
    /// # Panics
    /// When it cannot.
    pub fn rewrite(&self, text: &str) {
        let written = std::fs::write(
            self.file(),
            format!("name: {}\n{}", self.name, for_engine(text)),
        );
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", self.file().display()));
    }

    /// The command's words, with what says which app is meant behind the first: its files where
    /// they are read, else its name.
    ///
    /// # Panics
    /// When there is no word.
    #[must_use]
    pub fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let (command, rest) = words.split_first().expect("there is a command");
        let mut all = vec![*command];
        if ["up", "config"].contains(command) {
            for file in &self.files {
                all.extend([
                    "-f",
                    file.to_str().expect("the paths of the suite are UTF-8"),
                ]);
            }
        } else {
            all.extend(["-p", &self.name]);
        }
        all.extend(rest);
        all
    }

    /// Runs a command about this app to its end.
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.roads.run(&self.words(words))
    }

    /// As [`Roads::ok`].
    pub fn ok(&self, words: &[&str]) -> String {
        self.roads.ok(&self.words(words))
    }

    /// As [`Roads::fails`].
    pub fn fails(&self, words: &[&str]) -> Outcome {
        self.roads.fails(&self.words(words))
    }

    /// As [`Roads::json`].
    pub fn json(&self, words: &[&str]) -> Value {
        self.roads.json(&self.words(words))
    }

    /// As [`Roads::json_lines`].
    pub fn json_lines(&self, words: &[&str]) -> Vec<Value> {
        self.roads.json_lines(&self.words(words))
    }

    /// What `ps` says of the app.
    #[must_use]
    pub fn status(&self) -> Value {
        self.json(&["ps", "--json"])
    }

    /// What `ps` says of a service; null when it is not there, or nothing is up yet.
    #[must_use]
    pub fn service(&self, name: &str) -> Value {
        let told = self.run(&["ps", "--json"]).stdout;
        let status: Value = serde_json::from_str(&told).unwrap_or_default();
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let found = services.into_iter().find(|service| service["name"] == name);
        found.unwrap_or_default()
    }

    /// Waits until a service is as `is_so` wants, and gives what `ps` then says of it.
    pub fn wait(&self, service: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let look = std::panic::AssertUnwindSafe(|| {
            eventually(&format!("{service} to be {what}"), || {
                last = self.service(service);
                is_so(&last).then(|| last.clone())
            })
        });
        std::panic::catch_unwind(look).unwrap_or_else(|panic| {
            eprintln!("{service} is: {last:#}");
            std::panic::resume_unwind(panic)
        })
    }

    /// Waits until a service's state is this.
    pub fn wait_state(&self, service: &str, state: &str) -> Value {
        self.wait(service, state, |status| status["state"] == state)
    }

    /// Waits until a service has this many ready instances.
    pub fn wait_ready(&self, service: &str, count: u64) -> Value {
        let what = format!("ready with {count}");
        self.wait(service, &what, |status| {
            status["ready"] == count && status["stage"] == "settled"
        })
    }

    /// What happened, the oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.json_lines(&["events", "--json", "-n", "100000"])
    }

    /// How often something happened to a service.
    #[must_use]
    pub fn count(&self, service: &str, fact: &str) -> usize {
        let is_it = |event: &&Value| event["service"] == service && event["fact"] == fact;
        self.events().iter().filter(is_it).count()
    }

    /// The name by which a service answers on this machine.
    #[must_use]
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.localhost", self.name)
    }

    /// A GET over the ingress, on a connection of its own.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, service: &str, target: &str) -> Answer {
        let answer = self.try_get(service, target);
        answer.unwrap_or_else(|error| panic!("no answer from {service}{target}: {error}"))
    }

    /// As [`App::get`], for who expects that there may be none.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_get(&self, service: &str, target: &str) -> io::Result<Answer> {
        http::get(self.roads.ingress(), &self.host(service), target)
    }

    /// A connection to a service over the ingress.
    ///
    /// # Panics
    /// When nobody accepts.
    #[must_use]
    pub fn connect(&self, service: &str) -> Connection {
        let connection = Connection::open(self.roads.ingress(), &self.host(service));
        connection.unwrap_or_else(|error| panic!("cannot connect to the ingress: {error}"))
    }

    /// Runs a shell line in an instance of a service, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn sh(&self, service: &str, line: &str) -> String {
        let outcome = self.try_sh(service, line);
        assert!(
            outcome.status.success(),
            "{line:?} in {service} failed: {outcome:#?}"
        );
        outcome.stdout.trim_end().to_owned()
    }

    /// As [`App::sh`], whatever comes of it.
    pub fn try_sh(&self, service: &str, line: &str) -> Outcome {
        self.run(&["exec", "-T", service, "sh", "-c", line])
    }

    /// Where a published port listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn published(&self, service: &str, target: u16) -> SocketAddr {
        let status = self.status();
        let listening = status["listening"].as_array().cloned().unwrap_or_default();
        let found = listening
            .iter()
            .find(|port| port["service"] == service && port["target"] == target)
            .and_then(|port| port["address"].as_str()?.parse::<SocketAddr>().ok());
        found.unwrap_or_else(|| panic!("{service} publishes no {target}: {status:#}"))
    }

    /// The programs of instances whose command has this in it.
    #[must_use]
    pub fn programs(&self, part: &str) -> Vec<Process> {
        let mut programs = self.roads.programs();
        programs.retain(|program| program.command.contains(part));
        programs
    }

    /// Takes it down and waits until nothing of this home runs.
    pub fn end(&self) {
        self.ok(&["down"]);
        self.roads.wait_for_the_end();
    }

    fn print(&self) {
        for words in [&["ps"][..], &["events"]] {
            let outcome = self.run(words);
            eprintln!("-- roads {}\n{}", words.join(" "), outcome.text());
        }
        let status = self.run(&["ps", "--json"]);
        let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        let services = status["services"].as_array().cloned().unwrap_or_default();
        for name in services
            .iter()
            .take(8)
            .filter_map(|service| service["name"].as_str())
        {
            let outcome = self.run(&["explain", name]);
            eprintln!("-- roads explain {name}\n{}", outcome.text());
        }
        let logs = self.run(&["logs", "--tail", "20"]);
        eprintln!("-- roads logs\n{}", logs.text());
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print();
        }
        if self.roads.daemon().is_none() && self.roads.keeper().is_none() {
            return;
        }
        // What this does not end, its home does.
        drop(self.run(&["down", "-v"]));
    }
}
