//! Files to one tree: what they include, what their services extend, and one over the other.
//!
//! Each document is interpolated and made long before anything is merged. An included app is an
//! assembly of its own, with its own folder and environment; a service that is extended in
//! another file is made long there, so that its relative paths mean what they mean there.

mod extend;
mod include;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use text::{Finding, Findings, Interpolation, Node, Source, Span, Value, yaml};

use crate::complete;
use crate::load::{ReadFile, Variables};
use crate::merge::{merge, settle};
use crate::normalise::{Normalise, Scope, What};
use crate::schema::{APP, SERVICE, Shape};

/// A file whose long tree is the whole of it.
pub(crate) const WHOLE: Shape = Shape::Table(&APP);
/// One service.
const ONE: Shape = Shape::Table(&SERVICE);
/// The most values that all files hold together, the copies of extended services included.
const VALUES_MAX: usize = 2_000_000;

/// What assembling files needs, and what it has seen.
pub(crate) struct Assembly<'a> {
    pub(crate) findings: &'a mut Findings,
    pub(crate) files: &'a dyn ReadFile,
    /// How many ports were read from ranges.
    ports: usize,
    /// How many values were read, and copied from extended services.
    values: usize,
    /// How much text the variables have made.
    bytes: usize,
    /// How many files were included.
    included: usize,
    /// The services of files that were extended, each by the scope of who asked and its path.
    extended: BTreeMap<(usize, PathBuf), Rc<BTreeMap<String, Node>>>,
    /// What included apps know of the environment that their includer does not.
    pub(crate) inherited: BTreeMap<String, String>,
}

/// The included files that are being assembled, from the outermost on.
type Chain = Vec<PathBuf>;

impl<'a> Assembly<'a> {
    pub(crate) fn new(findings: &'a mut Findings, files: &'a dyn ReadFile) -> Self {
        Self {
            findings,
            files,
            ports: 0,
            values: 0,
            bytes: 0,
            included: 0,
            extended: BTreeMap::new(),
            inherited: BTreeMap::new(),
        }
    }

    /// The documents of an app as one, the later over the earlier; absent when there is none.
    pub(crate) fn app(&mut self, documents: Vec<Node>, scope: &Scope) -> Option<Node> {
        self.app_in(documents, scope, &Chain::new())
    }

    fn app_in(&mut self, documents: Vec<Node>, scope: &Scope, chain: &Chain) -> Option<Node> {
        let mut app: Option<Node> = None;
        for mut document in documents {
            self.interpolate(&mut document, scope);
            let mut document = self.long(document, &WHOLE, scope, What::The("a compose file"));
            document = self.include(document, scope, chain);
            self.extend(&mut document, scope);
            app = Some(match app {
                Some(base) => merge(base, document, &WHOLE, self.findings),
                None => document,
            });
            app.iter_mut().for_each(settle);
        }
        let mut app = app?;
        finish(&mut app, scope);
        hand_down(&mut app, self.findings);
        Some(app)
    }

    fn interpolate(&mut self, document: &mut Node, scope: &Scope) {
        match scope.variables {
            Variables::Replaced => {
                Interpolation::new(&scope.environment, &mut self.bytes)
                    .apply(document, self.findings);
            }
            Variables::Kept => {}
        }
    }

    /// Whether so many more values may be; the first that may not are reported.
    fn afford(&mut self, values: usize, at: Span) -> bool {
        let before = self.values;
        self.values = before.saturating_add(values);
        if before <= VALUES_MAX && self.values > VALUES_MAX {
            let message = format!("all files together hold more than {VALUES_MAX} values");
            let finding = Finding::error(at, message);
            let help = "a service is extended, or a file included, too often";
            self.findings.push(finding.help(help));
        }
        self.values <= VALUES_MAX
    }

    fn long(&mut self, node: Node, shape: &Shape, scope: &Scope, what: What<'_>) -> Node {
        let mut normalise = Normalise {
            findings: self.findings,
            scope,
            ports: &mut self.ports,
        };
        normalise.value(node, shape, what)
    }

    /// The documents of a text; one that is empty is an error.
    pub(crate) fn parse(&mut self, source: u32) -> Vec<Node> {
        let failed = self.findings.has_errors();
        let mut documents = yaml::parse(source, self.findings);
        documents.retain(|document| document.value != Value::Null);
        for document in &documents {
            if !self.afford(document.size(), document.span) {
                return Vec::new();
            }
        }
        if documents.is_empty() && failed == self.findings.has_errors() {
            let path = self.findings.sources.get(source).map(|s| s.path.clone());
            let span = Span {
                source,
                ..Span::default()
            };
            let path = path.unwrap_or_default();
            let finding = Finding::error(span, format!("{} is empty", path.display()))
                .help("services: { web: { image: host, command: … } }");
            self.findings.push(finding);
        }
        documents
    }

    /// Reports that a mapping lacks what it cannot be without.
    fn lacks(&mut self, of: &str, key: &str, at: Span) {
        let finding = Finding::error(at, complete::needs(of, key));
        self.findings.push(finding.help(format!("add `{key}: …`")));
    }

    /// The text of a file that is named at a place; what is wrong is reported.
    fn open(&mut self, path: &str, at: Span, how: &'static str) -> Option<u32> {
        if !path.starts_with('/') {
            let finding = Finding::error(at, "files are not fetched")
                .because(how)
                .help("fetch it yourself, and name the file here");
            self.findings.push(finding);
            return None;
        }
        let path = PathBuf::from(path);
        match self.files.read(&path) {
            Ok(text) => {
                let source = Source { path, text };
                Some(self.findings.sources.add_named(source, at, how))
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                let finding = Finding::error(at, message).because(how);
                let help = "the path is relative to the folder of this file; whoever runs this \
                            must be able to read it";
                self.findings.push(finding.help(help));
                None
            }
        }
    }
}

/// Gives services what they have from the folder and the environment of their app: a build its
/// context, and variables without a value theirs. An argument of a build that gets none is not
/// there.
fn finish(app: &mut Node, scope: &Scope) {
    let Some(services) = app.get_mut("services") else {
        return;
    };
    for service in services.value.entries_mut() {
        if let Some(environment) = service.value.get_mut("environment") {
            fill(&mut environment.value, scope);
        }
        let Some(build) = service.value.get_mut("build") else {
            continue;
        };
        let build = &mut build.value;
        let folder = Node::text(build.span, scope.directory.to_string_lossy());
        build.or_insert("context", folder);
        if let Some(arguments) = build.get_mut("args") {
            fill(&mut arguments.value, scope);
            if let Value::Mapping(entries) = &mut arguments.value.value
                && scope.variables == Variables::Replaced
            {
                entries.retain(|entry| entry.value.value != Value::Null);
            }
        }
    }
}

fn fill(variables: &mut Node, scope: &Scope) {
    if scope.variables == Variables::Kept {
        return;
    }
    for variable in variables.entries_mut() {
        if variable.value.value == Value::Null
            && let Some(value) = scope.environment.get(&variable.key.text)
        {
            variable.value.value = Value::Text(value.clone());
        }
    }
}

/// Gives each service what the `x-roads` of the app says, below what its own says.
fn hand_down(app: &mut Node, findings: &mut Findings) {
    let Some(mut knobs) = app.get("x-roads").map(|entry| entry.value.clone()) else {
        return;
    };
    // What only an app has.
    for key in ["document", "protocol", "route"] {
        knobs.take(key);
    }
    let Some(services) = app.get_mut("services") else {
        return;
    };
    let shape = SERVICE.shape("x-roads");
    for service in services.value.entries_mut() {
        let service = &mut service.value;
        if let Some(own) = service.get_mut("x-roads") {
            let over = std::mem::replace(&mut own.value, Node::null(own.key.span));
            own.value = merge(knobs.clone(), over, shape, findings);
        } else if !knobs.entries().is_empty() {
            service.or_insert("x-roads", knobs.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::ReadFileError;

    struct NoFiles;

    impl ReadFile for NoFiles {
        fn read(&self, _: &std::path::Path) -> Result<String, ReadFileError> {
            Err(ReadFileError::Missing)
        }
    }

    /// What is said of a file when only so many more values may be.
    fn said(text: &str, left: usize) -> String {
        let mut findings = Findings::default();
        let source = findings.sources.add(Source {
            path: "compose.yaml".into(),
            text: text.to_owned(),
        });
        let mut assembly = Assembly::new(&mut findings, &NoFiles);
        assembly.values = VALUES_MAX - left;
        let documents = assembly.parse(source);
        let scope = Scope {
            number: 0,
            directory: "/".into(),
            environment: std::rc::Rc::default(),
            variables: Variables::Replaced,
        };
        assembly.app(documents, &scope);
        findings.finish().to_string()
    }

    #[test]
    fn copies_of_extended_services_count() {
        let copies = "  a: { extends: base }\n  b: { extends: base }\n";
        let text = format!("services:\n  base: {{ labels: {{ a: b, c: d }} }}\n{copies}");
        assert_eq!(said(&text, 100), "");
        for left in [16, 5] {
            let said = said(&text, left);
            assert!(said.contains("hold more than"), "{said}");
        }
    }
}
