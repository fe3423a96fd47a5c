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
/// The longest chain of files that include each other.
const DEPTH_MAX: usize = 100;

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
        let before = self.included;
        self.included += paths.len();
        let message = if chain.len() > DEPTH_MAX {
            format!("files are included more than {DEPTH_MAX} deep")
        } else if self.included > FILES_MAX {
            format!("more than {FILES_MAX} files are included")
        } else {
            return self.read_app(item, paths, scope, &chain);
        };
        if before <= FILES_MAX {
            let finding = Finding::error(item.span, message);
            let help = "does a file include another many times?";
            self.findings.push(finding.help(help));
        }
        None
    }

    fn read_app(
        &mut self,
        item: &Node,
        paths: &[Node],
        scope: &Scope,
        chain: &Chain,
    ) -> Option<Node> {
        let mut documents = Vec::new();
        for path in paths {
            let text = path.as_text()?;
            let source = self.open(text, path.span, "included here")?;
            documents.extend(self.parse(source));
        }
        let scope = self.scope_of(item, Path::new(paths.first()?.as_text()?), scope);
        let mut app = self.app_in(documents, &scope, chain)?;
        if let Value::Mapping(entries) = &mut app.value {
            let sections = Section::ALL.map(Section::key);
            entries.retain(|entry| sections.contains(&entry.key.text.as_str()));
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
        for source in self.environment_files(item, &directory) {
            let quoted = Format::Quoted;
            dotenv::read(source, quoted, &outer, &mut environment, self.findings);
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

    /// The texts of `env_file`, else of the `.env` in the folder if there is one.
    fn environment_files(&mut self, item: &Node, directory: &Path) -> Vec<u32> {
        if item.get("env_file").is_some() {
            let files = item.items_at("env_file").iter();
            let files = files.filter(|file| file.as_text() != Some("/dev/null"));
            let open = |file: &Node| self.open(file.as_text()?, file.span, "named here");
            return files.filter_map(open).collect();
        }
        let path = directory.join(".env");
        match self.files.read(&path) {
            Ok(text) => {
                let sources = &mut self.findings.sources;
                vec![sources.add_named(Source { path, text }, item.span, "included here")]
            }
            Err(ReadFileError::Missing | ReadFileError::Unreadable(_)) => Vec::new(),
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
