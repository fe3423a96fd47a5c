//! The environment of wanted services: `environment` over `env_file`, and `labels` over
//! `label_file`. Once the files are read, the tree does not name them any more.

use std::collections::BTreeMap;
use std::path::Path;

use text::{
    Entry, Finding, Findings, Node, Source, Value,
    dotenv::{self, Format},
};

use crate::load::{ReadFile, ReadFileError};
use crate::normalise::Scope;

/// Reads the files that the wanted services of an app name.
pub(crate) fn read_files(
    app: &mut Node,
    scope: &Scope,
    files: &dyn ReadFile,
    findings: &mut Findings,
) {
    let Some(services) = app.get_mut("services") else {
        return;
    };
    let mut reader = Reader {
        scope,
        files,
        findings,
    };
    for service in services.value.entries_mut() {
        reader.fill(&mut service.value, "env_file", "environment");
        reader.fill(&mut service.value, "label_file", "labels");
    }
}

/// Gives configs that come from a variable its value, where it is set. A secret's is not written
/// down.
pub(crate) fn config_contents(app: &mut Node, environment: &BTreeMap<String, String>) {
    let Some(configs) = app.get_mut("configs") else {
        return;
    };
    for config in configs.value.entries_mut() {
        let config = &mut config.value;
        let variable = config.at("environment");
        let value = variable.and_then(|variable| environment.get(variable.as_text()?).cloned());
        if let Some(value) = value
            && let Some(variable) = config.take("environment")
        {
            config.or_insert("content", Node::text(variable.value.span, value));
        }
    }
}

/// What a file that is not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Error,
    /// `required: false`.
    Nothing,
}

struct Reader<'a> {
    scope: &'a Scope,
    files: &'a dyn ReadFile,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    /// Puts the variables of the files that `from` names below those of `into`.
    fn fill(&mut self, service: &mut Node, from: &str, into: &str) {
        let Some(named) = service.take(from) else {
            return;
        };
        let own: BTreeMap<String, Node> = service
            .entries_at(into)
            .iter()
            .map(|entry| (entry.key.text.clone(), entry.value.clone()))
            .collect();
        let mut variables = BTreeMap::new();
        for item in named.value.items() {
            let Some(source) = self.open(item) else {
                continue;
            };
            let format = match item.text_at("format") {
                Some("raw") => Format::Raw,
                Some(_) | None => Format::Quoted,
            };
            let outer = |name: &str| {
                let own = || own.get(name).and_then(Node::scalar);
                self.scope.environment.get(name).cloned().or_else(own)
            };
            dotenv::read(source, format, &outer, &mut variables, self.findings);
        }
        let span = named.value.span;
        service.or_insert(into, Node::mapping(span, Vec::new()));
        let Some(into) = service.get_mut(into) else {
            return;
        };
        let Value::Mapping(entries) = &mut into.value.value else {
            return;
        };
        for (name, value) in variables {
            if !own.contains_key(&name) {
                entries.push(Entry::new(span, &name, Node::text(span, value)));
            }
        }
    }

    fn open(&mut self, item: &Node) -> Option<u32> {
        let path = item.at("path").unwrap_or(item);
        let missing = match item.flag_at("required") {
            Some(false) => Missing::Nothing,
            Some(true) | None => Missing::Error,
        };
        let span = path.span;
        let path = Path::new(path.as_text()?);
        if let Some(source) = self.findings.sources.opened(path) {
            return Some(source);
        }
        let shown = path.display();
        match self.files.read(path) {
            Ok(text) => Some(self.findings.sources.add_opened(Source {
                path: path.to_owned(),
                text,
            })),
            Err(ReadFileError::Missing) if missing == Missing::Nothing => None,
            Err(ReadFileError::Missing) => {
                // Only a file of variables has a form in which it may be missing.
                let help = match item.at("path") {
                    Some(_) => "create it, or say `required: false` if it may be missing",
                    None => "create it, or remove it here",
                };
                let finding = Finding::error(span, format!("{shown} is not there")).help(help);
                self.findings.push(finding);
                None
            }
            Err(error @ ReadFileError::Unreadable(_)) => {
                let finding = Finding::error(span, format!("cannot read {shown}: {error}"));
                self.findings
                    .push(finding.help("whoever runs this must be able to read it"));
                None
            }
        }
    }
}
