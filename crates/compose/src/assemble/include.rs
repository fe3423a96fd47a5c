//! `include`: other apps, of which everything becomes part of this one (compose-spec, "Include").

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use text::{
    Entry, Finding, Node, Source, Value,
    dotenv::{self, Format},
    same,
};

use super::{Assembly, Chain, Scope, WHOLE};
use crate::load::ReadFileError;
use crate::merge::merge;
use crate::resolved::Section;

/// The most files that are included; a few that include each other twice are very many.
const FILES_MAX: usize = 1_000;

impl Assembly<'_> {
    /// A long document over all that it includes.
    pub(super) fn include(&mut self, mut document: Node, scope: &Scope, chain: &Chain) -> Node {
        let Some(include) = document.take("include") else {
            return document;
        };
        let mut included: Option<Node> = None;
        for item in include.value.items() {
            let Some(app) = self.included_app(item, scope, chain) else {
                continue;
            };
            match &mut included {
                Some(included) => self.import(included, app),
                None => included = Some(app),
            }
        }
        match included {
            Some(base) => merge(base, document, &WHOLE, self.findings),
            None => document,
        }
    }

    /// The sections of an app that one item of `include` names.
    fn included_app(&mut self, item: &Node, scope: &Scope, chain: &Chain) -> Option<Node> {
        let paths = item.items_at("path");
        if item.get("path").is_none() && !item.entries().is_empty() {
            self.lacks("an `include`", "path", item.span);
        }
        let first = Path::new(paths.first()?.as_text()?);
        let mut chain = chain.clone();
        if chain.iter().any(|path| path == first) {
            let files = chain.iter().map(|path| path.display().to_string());
            let files = files.collect::<Vec<_>>().join(" -> ");
            let message = format!("files include each other: {files} -> {}", first.display());
            let finding = Finding::error(item.span, message)
                .because("this closes the circle")
                .help("remove one of these includes");
            self.findings.push(finding);
            return None;
        }
        chain.push(first.to_owned());
        self.included += paths.len();
        if self.included > FILES_MAX {
            let message = format!("more than {FILES_MAX} files are included");
            let finding = Finding::error(item.span, message);
            self.findings
                .push(finding.help("does a file include another many times?"));
            return None;
        }
        let mut documents = Vec::new();
        for path in paths {
            let text = path.as_text()?;
            let source = self.open(text, path.span, "included here")?;
            documents.extend(self.parse(source));
        }
        let scope = self.scope_of(item, first, scope);
        let mut app = self.app_in(documents, &scope, &chain)?;
        if let Value::Mapping(entries) = &mut app.value {
            entries.retain(|e| {
                Section::ALL
                    .iter()
                    .any(|section| section.key() == e.key.text)
            });
        }
        Some(app)
    }

    /// The folder and the environment of an included app.
    fn scope_of(&mut self, item: &Node, first: &Path, scope: &Scope) -> Scope {
        let directory = match item.text_at("project_directory") {
            Some(directory) => directory.into(),
            None => first.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let mut environment = BTreeMap::new();
        let outer = |name: &str| scope.environment.get(name).cloned();
        for file in item.items_at("env_file") {
            let Some(path) = file.as_text().filter(|path| *path != "/dev/null") else {
                continue;
            };
            if let Some(source) = self.open(path, file.span, "named here") {
                let quoted = Format::Quoted;
                dotenv::read(source, quoted, &outer, &mut environment, self.findings);
            }
        }
        if item.get("env_file").is_none() {
            let path = directory.join(".env");
            match self.files.read(&path) {
                Ok(text) => {
                    let source = Source { path, text };
                    let source = self
                        .findings
                        .sources
                        .add_named(source, item.span, "of this");
                    let quoted = Format::Quoted;
                    dotenv::read(source, quoted, &outer, &mut environment, self.findings);
                }
                Err(ReadFileError::Missing | ReadFileError::Unreadable(_)) => {}
            }
        }
        for (name, value) in &environment {
            let inherited = self.inherited.entry(name.clone());
            inherited.or_insert_with(|| value.clone());
        }
        for (name, value) in scope.environment.iter() {
            environment.insert(name.clone(), value.clone());
        }
        Scope {
            number: self.included,
            directory,
            environment: Rc::new(environment),
            variables: scope.variables,
        }
    }

    /// Adds an included app to those before it. A name that two of them define is one thing only
    /// if they say the same of it.
    fn import(&mut self, included: &mut Node, app: Node) {
        let Value::Mapping(sections) = app.value else {
            return;
        };
        for section in sections {
            let Some(known) = included.get_mut(&section.key.text) else {
                included.or_insert(&section.key.text, section.value);
                continue;
            };
            let Value::Mapping(entries) = section.value.value else {
                continue;
            };
            for entry in entries {
                self.import_one(&mut known.value, entry);
            }
        }
    }

    fn import_one(&mut self, known: &mut Node, entry: Entry) {
        let Some(first) = known.get(&entry.key.text) else {
            if let Value::Mapping(entries) = &mut known.value {
                entries.push(entry);
            }
            return;
        };
        if same(&first.value, &entry.value) {
            return;
        }
        let message = format!("two included files define `{}` differently", entry.key.text);
        let finding = Finding::error(entry.key.span, message)
            .also(first.key.span, "first here")
            .help("rename one of them, or define it in the including file alone");
        self.findings.push(finding);
    }
}
