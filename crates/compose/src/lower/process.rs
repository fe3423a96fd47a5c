//! The program of a service: what is run, as whom, where, and how it is stopped.

use model::Signal;

use super::environment::Assigned;
use super::read::Wanted;
use super::*;
use crate::words;

impl Lower<'_> {
    pub(super) fn process(&mut self, fields: &read::Fields<'_>, draft: &mut DraftService) {
        let spec = &mut draft.spec;
        spec.entrypoint = fields
            .get("entrypoint")
            .and_then(|node| self.command(node, "`entrypoint`"));
        spec.command = fields
            .get("command")
            .and_then(|node| self.command(node, "`command`"));
        if let Some(node) = fields.get("working_dir") {
            spec.working_dir = self.inside_path(node, "`working_dir`");
        }
        let mut text = |key: &str| {
            let node = fields.get(key)?;
            self.text(node, &format!("`{key}`")).map(str::to_owned)
        };
        spec.user = text("user");
        spec.hostname = text("hostname");
        if let Some(node) = fields.get("read_only") {
            spec.read_only = self.flag(node, "`read_only`").unwrap_or(false);
        }
        if let Some(node) = fields.get("init") {
            // Every instance has a first process that reaps, so both values are honoured.
            self.flag(node, "`init`");
        }
        if let Some(node) = fields.get("stop_signal")
            && let Some(signal) = self.parsed(node, "`stop_signal`", Signal::parse)
        {
            spec.stop_signal = signal;
        }
        if let Some(node) = fields.get("stop_grace_period")
            && let Some(period) = self.duration(node, "`stop_grace_period`")
        {
            spec.stop_grace_period = period;
        }
        if let Some(node) = fields.get("labels") {
            let labels = self.assignments(node, Assigned::Labels).into_iter();
            spec.labels = labels
                .map(|(name, value)| (name, value.unwrap_or_default()))
                .collect();
        }
    }

    /// A list of words, or a line that is split into words.
    pub(super) fn command(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        if let Value::List(_) = node.value {
            return Some(self.texts(node, what));
        }
        let Value::Text(line) = &node.value else {
            self.wrong_type(node, what, Wanted::TextOrList);
            return None;
        };
        let words = match words::split(line) {
            Ok(words) => words,
            Err(error) => {
                let finding = Finding::error(node.span, format!("{what} cannot be split: {error}"))
                    .help("write it as a list, or give it to a shell: [\"sh\", \"-c\", \"…\"]");
                self.findings.push(finding);
                return None;
            }
        };
        if let Some(operator) = words.stopped_at {
            let span = node
                .span
                .narrow(&self.findings.sources, &operator.to_string());
            let message = format!("{what} ends at `{operator}`, since no shell reads it");
            let finding = Finding::warning(span, message)
                .because("this and the rest are left out, as Compose does")
                .help("for a shell write [\"sh\", \"-c\", \"…\"]");
            self.findings.push(finding);
        }
        Some(words.words)
    }

    /// An absolute path inside an instance, without `.` and `..`.
    pub(super) fn inside_path(&mut self, node: &Node, what: &str) -> Option<PathBuf> {
        let text = self.text(node, what)?;
        self.inside(node, what, text)
    }

    /// As [`Self::inside_path`], of a part of the node's text.
    pub(super) fn inside(&mut self, node: &Node, what: &str, path: &str) -> Option<PathBuf> {
        if path.starts_with('/') {
            return Some(absolute(Path::new("/"), path));
        }
        let span = node.span.narrow(&self.findings.sources, path);
        let finding = Finding::error(span, format!("{what} must be an absolute path"))
            .because("this does not begin with /")
            .help(format!("inside an instance it is perhaps /{path}"));
        self.findings.push(finding);
        None
    }
}
