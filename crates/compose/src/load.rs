//! The stages in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::{AppName, AppSpec};
use text::{
    Diagnostics, Entry, Finding, Findings, Node, Source,
    dotenv::{self, Format},
    interpolate,
};

use crate::assemble::Assembly;
use crate::complete::{complete, default_network};
use crate::environment::{config_contents, read_files};
use crate::lower::Lower;
use crate::normalise::Scope;
use crate::resolved::Resolved;
use crate::select::{profiles_of, select};
use crate::validate::validate;

/// What to load, and all that the result may depend on but the files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The compose files; a later one is merged over the earlier ones.
    pub files: Vec<Source>,
    /// What relative paths are relative to; absolute.
    pub project_directory: PathBuf,
    /// The name of the app; absent, it is `COMPOSE_PROJECT_NAME`, the file's `name`, or that of
    /// the project directory.
    pub name: Option<String>,
    /// The active profiles; when there is none, those of `COMPOSE_PROFILES`.
    pub profiles: BTreeSet<String>,
    /// The caller's environment. It comes before `env_files`.
    pub environment: BTreeMap<String, String>,
    /// The files of `--env-file`, else the `.env` of the project directory; the later counts.
    pub env_files: Vec<Source>,
    /// Which services.
    pub services: Selection,
    /// What becomes of `${VARIABLE}` in the values.
    pub variables: Variables,
}

/// What becomes of variables in the values of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variables {
    /// Their values stand there.
    #[default]
    Replaced,
    /// They stay as they are written; such files can be [resolved](resolve), not loaded.
    Kept,
}

impl Request {
    /// These files, with nothing else said.
    #[must_use]
    pub fn new(files: Vec<Source>, project_directory: PathBuf) -> Self {
        Self {
            files,
            project_directory,
            name: None,
            profiles: BTreeSet::new(),
            environment: BTreeMap::new(),
            env_files: Vec::new(),
            services: Selection::All,
            variables: Variables::Replaced,
        }
    }
}

/// Which services of the files are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// Those without a profile or with an active one.
    #[default]
    All,
    /// These, whatever their profiles, and all that they depend on.
    Services(BTreeSet<String>),
}

/// What the files say.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The app.
    pub spec: AppSpec,
    /// All that the files say, as one document.
    pub resolved: Resolved,
    /// What in the files does not do what it may seem to.
    pub warnings: Diagnostics,
}

/// Opens the files that a compose file names.
pub trait ReadFile {
    /// The text of the file at this absolute path.
    ///
    /// # Errors
    /// [`ReadFileError`], which says whether the file is there.
    fn read(&self, path: &Path) -> Result<String, ReadFileError>;
}

/// Why a file has no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFileError {
    /// There is none.
    #[error("it is not there")]
    Missing,
    /// It is there, and cannot be read for this reason.
    #[error("{0}")]
    Unreadable(String),
}

/// Loads compose files.
///
/// # Errors
/// All that is wrong with them, the warnings among it, in the order of the files.
pub fn load(request: &Request, files: &dyn ReadFile) -> Result<Loaded, Diagnostics> {
    let mut findings = Findings::default();
    let loaded = app(request, files, &mut findings).map(|mut app| {
        let spec = app.lower(&mut findings);
        (spec, app.resolved)
    });
    let failed = findings.has_errors();
    let diagnostics = findings.finish();
    match loaded {
        Some((spec, resolved)) if !failed => Ok(Loaded {
            spec,
            resolved,
            warnings: diagnostics,
        }),
        Some(_) | None => Err(diagnostics),
    }
}

/// Resolves compose files without making a Spec of them; with the warnings.
///
/// # Errors
/// As [`load`], but for what only a Spec shows.
pub fn resolve(
    request: &Request,
    files: &dyn ReadFile,
) -> Result<(Resolved, Diagnostics), Diagnostics> {
    let mut findings = Findings::default();
    let app = app(request, files, &mut findings);
    let failed = findings.has_errors();
    let diagnostics = findings.finish();
    match app {
        Some(app) if !failed => Ok((app.resolved, diagnostics)),
        Some(_) | None => Err(diagnostics),
    }
}

/// The variables that values are replaced with: the caller's over those of the environment files.
///
/// # Errors
/// What is wrong with the environment files.
pub fn environment(request: &Request) -> Result<BTreeMap<String, String>, Diagnostics> {
    let mut findings = Findings::default();
    let variables = variables(request, &mut findings);
    if findings.has_errors() {
        return Err(findings.finish());
    }
    Ok(variables)
}

/// An app that is resolved, with what a Spec is made of besides.
pub(crate) struct App {
    name: AppName,
    pub(crate) resolved: Resolved,
    /// The services that are not wanted.
    others: Vec<Entry>,
    /// What secrets and configs may come from.
    environment: BTreeMap<String, String>,
}

impl App {
    /// The Spec, and what is wrong between its parts.
    pub(crate) fn lower(&mut self, findings: &mut Findings) -> AppSpec {
        validate(&mut self.resolved.document, &self.others, findings);
        let app = &self.resolved.document;
        Lower::new(app, &self.environment, findings).app(self.name.clone())
    }
}

fn app(request: &Request, files: &dyn ReadFile, findings: &mut Findings) -> Option<App> {
    let mut variables = variables(request, findings);
    let mut assembly = Assembly::new(findings, files);
    let mut documents = Vec::new();
    for file in &request.files {
        let source = assembly.findings.sources.add(file.clone());
        documents.extend(assembly.parse(source));
    }
    if request.files.is_empty() {
        findings.push(Finding::nowhere("no compose file is given"));
    }
    if findings.has_errors() {
        return None;
    }
    let name = name(request, &documents, &variables, findings);
    variables.insert("COMPOSE_PROJECT_NAME".to_owned(), name.as_str().to_owned());
    let profiles = profiles(request, &variables);
    let scope = Scope {
        number: 0,
        directory: request.project_directory.clone(),
        environment: Rc::new(variables),
        variables: request.variables,
    };
    let selected = (&request.services, &profiles);
    resolved(name, documents, &scope, selected, files, findings)
}

/// The documents of an app, resolved; of its services those that are selected.
pub(crate) fn resolved(
    name: AppName,
    documents: Vec<Node>,
    scope: &Scope,
    (selection, profiles): (&Selection, &BTreeSet<String>),
    files: &dyn ReadFile,
    findings: &mut Findings,
) -> Option<App> {
    let mut assembly = Assembly::new(findings, files);
    let mut document = assembly.app(documents, scope)?;
    let inherited = std::mem::take(&mut assembly.inherited);
    complete(&mut document, name.as_str(), findings);
    let services = document.entries_at("services").iter();
    let all_profiles = services.flat_map(|service| profiles_of(&service.value));
    let all_profiles = all_profiles.collect();
    let others = select(&mut document, selection, profiles, findings);
    default_network(&mut document);
    let mut environment = inherited;
    environment.extend(
        scope
            .environment
            .iter()
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    if scope.variables == Variables::Replaced {
        read_files(&mut document, scope, files, findings);
        config_contents(&mut document, &environment);
    }
    let resolved = Resolved {
        document,
        variables: scope.variables,
        profiles: all_profiles,
    };
    Some(App {
        name,
        resolved,
        others,
        environment,
    })
}

/// The caller's variables over those of the environment files.
fn variables(request: &Request, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for file in &request.env_files {
        let source = findings.sources.add(file.clone());
        let outer = |name: &str| request.environment.get(name).cloned();
        dotenv::read(source, Format::Quoted, &outer, &mut variables, findings);
    }
    variables.extend(request.environment.clone());
    variables
}

/// The name of the app; what is wrong with it is reported, and another name goes on.
fn name(
    request: &Request,
    documents: &[Node],
    variables: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> AppName {
    let given = request
        .name
        .as_ref()
        .or_else(|| variables.get("COMPOSE_PROJECT_NAME"));
    let given = given.filter(|given| !given.is_empty());
    let written = documents
        .iter()
        .rev()
        .find_map(|document| document.get("name"));
    let name = match (given, written) {
        (Some(given), _) => {
            AppName::new(given).map_err(|error| Finding::nowhere(error.to_string()))
        }
        (None, Some(entry)) => {
            let text = entry.value.scalar().unwrap_or_default();
            let lookup = |name: &str| variables.get(name).cloned();
            // What is wrong with the template is reported where all templates are.
            let value = interpolate(&text, &lookup).map(|(name, _)| name);
            let value = value.unwrap_or_else(|_| "app".to_owned());
            AppName::new(&as_name(&value)).map_err(|error| {
                let message = format!("{value:?} is no name of an app");
                let help = format!("a name is {}", error.rule);
                Finding::error(entry.value.span, message).help(help)
            })
        }
        (None, None) => {
            let directory = request.project_directory.file_name().unwrap_or_default();
            AppName::new(&as_name(&directory.to_string_lossy())).map_err(|_| {
                let directory = request.project_directory.display();
                Finding::nowhere(format!("no name for an app can be made from {directory}"))
                    .help("add `name:` to the file")
            })
        }
    };
    name.unwrap_or_else(|finding| {
        findings.push(finding);
        AppName::new("app").expect("`app` is a name")
    })
}

/// A text as Compose makes the name of an app of it.
fn as_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let valid = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c);
    let name: String = lower.chars().filter(valid).collect();
    let name = name.trim_start_matches(['_', '-']);
    name.chars().take(63).collect()
}

fn profiles(request: &Request, variables: &BTreeMap<String, String>) -> BTreeSet<String> {
    if !request.profiles.is_empty() {
        return request.profiles.clone();
    }
    let profiles = variables.get("COMPOSE_PROFILES").map_or("", String::as_str);
    let profiles = profiles.split(',').map(str::trim);
    profiles
        .filter(|p| !p.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests;
