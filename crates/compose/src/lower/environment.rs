//! The environment of a service: `environment` over `env_file`.

use super::read::Wanted;
use super::*;
use crate::dotenv::{self, Format};
use crate::load::ReadFileError;
use crate::merge;
use crate::source::Source;
use crate::tree::Key;

/// What `environment` and `env_file` say; the files are read once the service is wanted.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Absent values come from the caller's variables.
    variables: BTreeMap<String, Option<String>>,
    files: Vec<EnvFile>,
}

/// A file of `env_file`.
#[derive(Debug, Clone)]
struct EnvFile {
    path: PathBuf,
    span: Span,
    format: Format,
    missing: Missing,
}

/// What names are given values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assigned {
    Variables,
    Labels,
}

impl Assigned {
    fn key(self) -> &'static str {
        match self {
            Self::Variables => "`environment`",
            Self::Labels => "`labels`",
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

impl Lower<'_> {
    pub(super) fn environment(&mut self, fields: &read::Fields<'_>) -> Environment {
        let variables = fields.get("environment").map(|node| {
            let assignments = self.assignments(node, Assigned::Variables);
            let of_caller = |name: &str| self.variables.get(name).cloned();
            let resolved = assignments.into_iter().map(|(name, value)| {
                let value = value.or_else(|| of_caller(&name));
                (name, value)
            });
            resolved.collect()
        });
        let mut files = Vec::new();
        if let Some(node) = fields.get("env_file") {
            for item in self.one_or_many(node, "`env_file`") {
                files.extend(self.env_file(item));
            }
        }
        Environment {
            variables: variables.unwrap_or_default(),
            files,
        }
    }

    fn env_file(&mut self, node: &Node) -> Option<EnvFile> {
        let mut file = EnvFile {
            path: PathBuf::new(),
            span: node.span,
            format: Format::Quoted,
            missing: Missing::Error,
        };
        if let Value::Text(path) = &node.value {
            file.path = absolute(self.project_directory, path);
            return Some(file);
        }
        let fields = self.fields(node, &keys::ENV_FILE)?;
        let Some(path) = fields.get("path") else {
            let finding = Finding::error(node.span, "an `env_file` needs a `path`")
                .help("write { path: FILE, required: false }, or the path alone");
            self.findings.push(finding);
            return None;
        };
        file.span = path.span;
        file.path = absolute(self.project_directory, self.text(path, "`path`")?);
        if let Some(required) = fields.get("required")
            && !self.flag(required, "`required`")?
        {
            file.missing = Missing::Nothing;
        }
        if let Some(format) = fields.get("format") {
            file.format = self.choice(format, "`format`", &[("raw", Format::Raw)])?;
        }
        Some(file)
    }

    /// The complete environment of a wanted service.
    pub(crate) fn resolve(&mut self, environment: &Environment) -> BTreeMap<String, String> {
        let mut resolved = BTreeMap::new();
        for file in &environment.files {
            let Some(source) = self.open(file) else {
                continue;
            };
            let variables = self.variables;
            let outer = |name: &str| {
                let own = || environment.variables.get(name).cloned().flatten();
                variables.get(name).cloned().or_else(own)
            };
            dotenv::read(source, file.format, &outer, &mut resolved, self.findings);
        }
        for (name, value) in &environment.variables {
            match value {
                Some(value) => resolved.insert(name.clone(), value.clone()),
                None => resolved.remove(name),
            };
        }
        resolved
    }

    fn open(&mut self, file: &EnvFile) -> Option<u32> {
        if let Some(source) = self.findings.sources.opened(&file.path) {
            return Some(source);
        }
        let shown = file.path.display();
        match self.files.read(&file.path) {
            Ok(text) => Some(self.findings.sources.add_opened(Source {
                path: file.path.clone(),
                text,
            })),
            Err(ReadFileError::Missing) if file.missing == Missing::Nothing => None,
            Err(ReadFileError::Missing) => {
                let finding = Finding::error(file.span, format!("{shown} is not there"))
                    .help("create it, or say `required: false` if it may be missing");
                self.findings.push(finding);
                None
            }
            Err(error @ ReadFileError::Unreadable(_)) => {
                let message = format!("cannot read {shown}: {error}");
                let finding = Finding::error(file.span, message);
                self.findings
                    .push(finding.help("whoever runs this must be able to read it"));
                None
            }
        }
    }

    /// A mapping, or a list of `NAME=value`; each name with its value, if it has one.
    pub(super) fn assignments(
        &mut self,
        node: &Node,
        assigned: Assigned,
    ) -> BTreeMap<String, Option<String>> {
        let what = assigned.key();
        let entries = if let Value::List(items) = &node.value {
            let item = format!("each item of {what}");
            let items = items.iter().filter(|node| self.text(node, &item).is_some());
            items.map(merge::assignment).collect()
        } else {
            self.mapping(node, what).unwrap_or_default().to_vec()
        };
        let mut assignments = BTreeMap::new();
        for Entry { key, value } in entries {
            let scalar = value.scalar();
            if scalar.is_none() && value.value != Value::Null {
                self.wrong_type(&value, &format!("`{}`", key.text), Wanted::Text);
            } else if self.assignable(&key, assigned) {
                assignments.insert(key.text, scalar);
            }
        }
        assignments
    }

    fn assignable(&mut self, key: &Key, assigned: Assigned) -> bool {
        let valid = match assigned {
            Assigned::Variables => !key.text.is_empty() && !key.text.contains(['=', '\0']),
            Assigned::Labels => !key.text.is_empty(),
        };
        if !valid {
            let message = format!("{:?} is no name in {}", key.text, assigned.key());
            let finding = Finding::error(key.span, message)
                .help("write `NAME: value`, or `- NAME=value` in a list");
            self.findings.push(finding);
        }
        valid
    }
}
