//! Processes as /proc shows them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its words, separated by spaces.
    pub command: String,
}

impl Process {
    /// The process with this id; `None` when it is gone, or only waits to be reaped.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let mut fields = tail.split(' ');
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        (!["Z", "X"].contains(&state)).then(|| Self {
            pid,
            parent,
            name: head.split_once('(').unwrap_or_default().1.to_owned(),
            command: words.trim_end().to_owned(),
        })
    }

    /// All there are.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Self::find(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    /// Those whose parent this is.
    #[must_use]
    pub fn children(&self) -> Vec<Self> {
        let mut all = Self::all();
        all.retain(|process| process.parent == self.pid);
        all
    }

    /// Whether it was started with this variable, as far as we may see.
    #[must_use]
    pub fn has_variable(&self, variable: &str) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == variable.as_bytes())
    }

    /// Whether it is still there: this one, not another with its id.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::find(self.pid).is_some_and(|now| now.parent == self.parent || now.name == self.name)
    }

    /// One line of its `status`.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| (key == name).then(|| value.trim().to_owned()))
    }

    /// The number of one of its namespaces: `net`, `mnt`, `pid`, `uts`, `ipc`, `user`, `cgroup`.
    ///
    /// # Panics
    /// When we may not know it.
    #[must_use]
    pub fn namespace(&self, kind: &str) -> String {
        let link = fs::read_link(format!("/proc/{}/ns/{kind}", self.pid));
        let link = link.unwrap_or_else(|error| panic!("no {kind} namespace of {self:?}: {error}"));
        link.to_string_lossy().into_owned()
    }

    /// Ends it at once. That it is gone already is as good.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends a signal, if it is still there.
    pub fn signal(&self, signal: Signal) {
        if let (true, Some(pid)) = (self.is_alive(), Pid::from_raw(self.pid)) {
            // It may end this very moment.
            let _ = kill_process(pid, signal);
        }
    }
}
