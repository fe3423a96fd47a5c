//! The stages in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use model::{AppName, AppSpec};

use crate::diagnostic::{Diagnostics, Finding, Findings};
use crate::dotenv::{self, Format};
use crate::interpolate::{Interpolation, interpolate};
use crate::lower::{DraftApp, Lower};
use crate::resolved::Resolved;
use crate::source::Source;
use crate::tree::{Node, Value};
use crate::{merge, select, validate, yaml};

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
    let spec = app(request, files, &mut findings);
    let failed = findings.has_errors();
    let diagnostics = findings.finish();
    match spec {
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
/// As [`load`].
pub fn resolve(
    request: &Request,
    files: &dyn ReadFile,
) -> Result<(Resolved, Diagnostics), Diagnostics> {
    load(request, files).map(|loaded| (loaded.resolved, loaded.warnings))
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

fn app(
    request: &Request,
    files: &dyn ReadFile,
    findings: &mut Findings,
) -> Option<(AppSpec, Resolved)> {
    let mut documents = parse(&request.files, findings);
    let mut variables = variables(request, findings);
    if findings.has_errors() {
        return None;
    }
    let name = name(request, &documents, &variables, findings);
    variables.insert("COMPOSE_PROJECT_NAME".to_owned(), name.as_str().to_owned());
    let mut interpolation = Interpolation::new(&variables);
    for document in &mut documents {
        interpolation.apply(document, findings);
    }
    let document = merge::documents(documents, findings)?;
    let mut lower = Lower {
        findings,
        variables: &variables,
        project_directory: &request.project_directory,
        files,
        ports: 0,
    };
    let mut app = lower.app(name, &document)?;
    let profiles = profiles(request, &variables);
    let others = select::select(
        &mut app.services,
        &request.services,
        &profiles,
        lower.findings,
    );
    for draft in app.services.values_mut() {
        draft.spec.environment = lower.resolve(&draft.environment);
    }
    validate::validate(&mut app, &others, lower.findings);
    let resolved = Resolved {
        document,
        variables: request.variables,
        profiles: profiles.clone(),
    };
    Some((app.finish(), resolved))
}

impl DraftApp {
    /// The app, when nothing was wrong.
    pub(crate) fn finish(self) -> AppSpec {
        let services = self.services.into_iter();
        AppSpec {
            name: self.name,
            services: services
                .map(|(name, draft)| (name, draft.spec.into()))
                .collect(),
            networks: self.networks,
            volumes: self.volumes,
        }
    }
}

fn parse(files: &[Source], findings: &mut Findings) -> Vec<Node> {
    let mut documents = Vec::new();
    for file in files {
        let source = findings.sources.add(file.clone());
        let before = documents.len();
        documents.extend(yaml::parse(source, findings));
        documents.retain(|document: &Node| document.value != Value::Null);
        if documents.len() == before && !findings.has_errors() {
            let span = crate::source::Span {
                source,
                ..Default::default()
            };
            let finding = Finding::error(span, format!("{} is empty", file.path.display()))
                .help("services: { web: { image: host, command: … } }");
            findings.push(finding);
        }
    }
    if files.is_empty() {
        findings.push(Finding::nowhere("no compose file is given"));
    }
    documents
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
            AppName::new(&value).map_err(|error| {
                let message = format!("{value:?} is no name of an app");
                let help = format!("a name is {}", error.rule);
                Finding::error(entry.value.span, message).help(help)
            })
        }
        (None, None) => {
            let directory = request.project_directory.file_name().unwrap_or_default();
            AppName::new(&from_directory(&directory.to_string_lossy())).map_err(|_| {
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

/// A folder's name as Compose makes an app's of it.
fn from_directory(directory: &str) -> String {
    let lower = directory.to_lowercase();
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
