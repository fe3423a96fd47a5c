//! Which compose files are meant, and what they say together with the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use compose::{Color, Diagnostics, Loaded, ReadFile, ReadFileError, Request, Source};

use crate::arguments::Selection;
use crate::text::{self, TextError};

/// The names that are looked for in a folder, the first found counts (compose-spec, "Compose
/// file"), each with those that are merged over it.
const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];

/// Why there is no app to be had from files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Nobody names a file, and none is found.
    #[error("there is no compose file in {} or a folder above it", folder.display())]
    NoFile {
        /// Where the search began.
        folder: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: TextError,
    },
    /// The folder that relative paths begin at is none.
    #[error("there is no folder {}", path.display())]
    NoFolder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the files say is not valid.
    #[error("the compose file is not valid")]
    Invalid(Diagnostics),
    /// What the files say is valid, and not all of it is honoured.
    #[error("the compose file has what is not honoured, and --strict refuses that")]
    Strict(Diagnostics),
    /// A service that is asked for is not in the files.
    #[error("there is no service {name}")]
    NoService {
        /// Its name.
        name: String,
    },
    /// What was asked for cannot be written where it should be.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FilesError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFile { .. } => Some("name one with -f, or write a compose.yaml here"),
            Self::Unreadable { source, .. } => match source {
                TextError::Io(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    Some("name the file in it: FOLDER/compose.yaml")
                }
                TextError::Io(_) | TextError::TooLong => None,
                TextError::NotUtf8 { .. } => Some("save it as UTF-8"),
            },
            Self::NoFolder { .. }
            | Self::Invalid(_)
            | Self::Strict(_)
            | Self::NoService { .. }
            | Self::Unwritable { .. } => None,
        }
    }
}

/// How the files came to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By `-f` or `COMPOSE_FILE`.
    Named(Vec<PathBuf>),
    /// By a search from the working directory upwards.
    Found(Vec<PathBuf>),
}

/// The surroundings of this process, as far as they count.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) working_directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Surroundings {
    pub(crate) fn of_this_process() -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            // One that was removed under us is as good as the root: nothing is found there.
            working_directory: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            environment: std::env::vars_os().filter_map(text).collect(),
        }
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// The files that are meant, if any. `COMPOSE_FILE` may also stand in the `.env` of the folder.
    pub(crate) fn origin(&self, selection: &Selection) -> Option<Origin> {
        if !selection.files.is_empty() {
            return Some(Origin::Named(self.named(&selection.files)));
        }
        let start = selection.named.project_directory.as_deref();
        let start = start.map_or_else(
            || self.working_directory.clone(),
            |folder| self.working_directory.join(folder),
        );
        let variables = self.with_env_files(selection, &start);
        let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        if let Some(list) = variable("COMPOSE_FILE") {
            let separator = variable("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
            let files = list.split(separator).filter(|file| !file.is_empty());
            return Some(Origin::Named(self.named(files)));
        }
        start.ancestors().find_map(found_in).map(Origin::Found)
    }

    /// The paths of files that are named; standard input stays `-`.
    fn named<T: AsRef<Path>>(&self, files: impl IntoIterator<Item = T>) -> Vec<PathBuf> {
        let path = |file: T| match file.as_ref() {
            file if is_standard_input(file) => file.to_owned(),
            file => self.working_directory.join(file),
        };
        files.into_iter().map(path).collect()
    }

    /// The environment over what its files say. What is wrong with them is told when they are
    /// read for the app.
    fn with_env_files(&self, selection: &Selection, folder: &Path) -> BTreeMap<String, String> {
        let files = self.env_files(selection, folder);
        let sources = files.iter().filter_map(|path| self.source(path).ok());
        let request = Request {
            environment: self.environment.clone(),
            env_files: sources.collect(),
            ..Request::new(Vec::new(), folder.to_owned())
        };
        compose::environment(&request).unwrap_or_else(|_| self.environment.clone())
    }

    /// The files of variables: those that are named, else `.env` when it is there.
    fn env_files(&self, selection: &Selection, folder: &Path) -> Vec<PathBuf> {
        let named = &selection.named.env_files;
        if !named.is_empty() {
            return self.named(named);
        }
        if let Some(list) = self.variable("COMPOSE_ENV_FILES") {
            return self.named(list.split(',').filter(|file| !file.is_empty()));
        }
        let default = folder.join(".env");
        default.is_file().then_some(default).into_iter().collect()
    }

    /// A file with its text, known by its path as seen from the working directory.
    fn source(&self, path: &Path) -> Result<Source, FilesError> {
        let text = if is_standard_input(path) {
            text::of(io::stdin())
        } else {
            text::of_file(path)
        };
        let path = path.strip_prefix(&self.working_directory).unwrap_or(path);
        let path = path.to_owned();
        match text {
            Ok(text) => Ok(Source { path, text }),
            Err(source) => Err(FilesError::Unreadable { path, source }),
        }
    }
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// The compose file in a folder, and the file that is merged over it.
fn found_in(folder: &Path) -> Option<Vec<PathBuf>> {
    let first = |names: &[&str]| {
        let paths = names.iter().map(|name| folder.join(name));
        paths.into_iter().find(|path| path.is_file())
    };
    let mut files = vec![first(&NAMES)?];
    files.extend(first(&OVERRIDES));
    Some(files)
}

/// Loads the app that the selection means; with these services in it, whatever their profiles.
pub(crate) fn load(
    selection: &Selection,
    services: &[String],
    surroundings: &Surroundings,
) -> Result<Loaded, FilesError> {
    let request = request(selection, surroundings)?;
    let mut loaded = compose::load(&request, &Disk).map_err(FilesError::Invalid)?;
    if !services.is_empty() {
        let named = compose::load(&of(request, services), &Disk).map_err(FilesError::Invalid)?;
        loaded.spec.services.extend(named.spec.services);
        loaded.spec.networks.extend(named.spec.networks);
        loaded.spec.volumes.extend(named.spec.volumes);
    }
    Ok(loaded)
}

/// A request for these services and what they depend on; for all when none is named.
pub(crate) fn of(request: Request, services: &[String]) -> Request {
    if services.is_empty() {
        return request;
    }
    Request {
        services: compose::Selection::Services(services.iter().cloned().collect()),
        ..request
    }
}

/// Tells the warnings, or refuses them.
pub(crate) fn accept(warnings: Diagnostics, strict: bool) -> Result<(), FilesError> {
    if strict && !warnings.0.is_empty() {
        return Err(FilesError::Strict(warnings));
    }
    // Whoever closed standard error does not want to be told.
    let _ = anstream::stderr().write_all(compose::render(&warnings, Color::Ansi).as_bytes());
    Ok(())
}

/// What the selection means, with the texts of its files.
pub(crate) fn request(
    selection: &Selection,
    surroundings: &Surroundings,
) -> Result<Request, FilesError> {
    let no_file = || FilesError::NoFile {
        folder: surroundings.working_directory.clone(),
    };
    let (Origin::Named(paths) | Origin::Found(paths)) =
        surroundings.origin(selection).ok_or_else(no_file)?;
    let named = &selection.named;
    let folder = match (&named.project_directory, paths.first()) {
        (Some(folder), _) => surroundings.working_directory.join(folder),
        (None, Some(first)) if !is_standard_input(first) => {
            first.parent().unwrap_or(Path::new("/")).to_owned()
        }
        (None, _) => surroundings.working_directory.clone(),
    };
    let sources = |paths: &[PathBuf]| -> Result<Vec<Source>, FilesError> {
        paths.iter().map(|path| surroundings.source(path)).collect()
    };
    let files = sources(&paths)?;
    let project_directory = folder
        .canonicalize()
        .map_err(|source| FilesError::NoFolder {
            path: folder,
            source,
        })?;
    let env_files = surroundings.env_files(selection, &project_directory);
    Ok(Request {
        name: named.name.clone(),
        profiles: named.profiles.iter().cloned().collect::<BTreeSet<_>>(),
        environment: surroundings.environment.clone(),
        env_files: sources(&env_files)?,
        ..Request::new(files, project_directory)
    })
}

/// The files of this machine.
pub(crate) struct Disk;

impl ReadFile for Disk {
    fn read(&self, path: &Path) -> Result<String, ReadFileError> {
        text::of_file(path).map_err(|error| {
            if error.is_missing() {
                return ReadFileError::Missing;
            }
            ReadFileError::Unreadable(error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const FILE: &str = "services:\n  a: { image: host, command: x }\n  b: { image: host, command: x, profiles: [p] }\n";

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::Builder::new().prefix("app").tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn surroundings(folder: &TempDir, below: &str, variables: &[(&str, &str)]) -> Surroundings {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Surroundings {
            working_directory: folder.path().join(below),
            environment: variables.iter().map(text).collect(),
        }
    }

    fn services(loaded: &Loaded) -> Vec<&str> {
        loaded
            .spec
            .services
            .keys()
            .map(|name| name.as_str())
            .collect()
    }

    #[test]
    fn the_file_and_its_override_are_found_in_a_folder_above() {
        let folder = folder(&[
            ("compose.yaml", FILE),
            ("docker-compose.yml", "never read"),
            (
                "compose.override.yaml",
                "services: { c: { image: host, command: x } }",
            ),
            ("deep/er/x", ""),
        ]);
        let surroundings = surroundings(&folder, "deep/er", &[]);
        let loaded = load(&Selection::default(), &[], &surroundings).unwrap();
        assert_eq!(services(&loaded), ["a", "c"]);
    }

    #[test]
    fn a_named_file_comes_before_the_variable_and_that_before_a_search() {
        let other = FILE.replace("a:", "z:");
        let folder = folder(&[("compose.yaml", FILE), ("o.yaml", &other), ("n.yaml", FILE)]);
        let surroundings = surroundings(&folder, "", &[("COMPOSE_FILE", "o.yaml")]);
        let loaded = load(&Selection::default(), &[], &surroundings).unwrap();
        assert_eq!(services(&loaded), ["z"]);
        let selection = Selection {
            files: vec!["n.yaml".into()],
            ..Selection::default()
        };
        let loaded = load(&selection, &[], &surroundings).unwrap();
        assert_eq!(services(&loaded), ["a"]);
    }

    #[test]
    fn a_service_that_is_named_is_there_beside_the_others_whatever_its_profile() {
        let folder = folder(&[("compose.yaml", FILE)]);
        let surroundings = surroundings(&folder, "", &[("COMPOSE_PROJECT_NAME", "shop")]);
        let loaded = load(&Selection::default(), &["b".to_owned()], &surroundings).unwrap();
        assert_eq!(services(&loaded), ["a", "b"]);
        assert_eq!(loaded.spec.name.as_str(), "shop");
    }

    #[test]
    fn what_is_not_there_is_an_error_with_its_name() {
        let folder = folder(&[("x", "")]);
        let surroundings = surroundings(&folder, "", &[]);
        let selection = Selection {
            files: vec!["no.yaml".into()],
            ..Selection::default()
        };
        let error = load(&selection, &[], &surroundings).unwrap_err();
        assert_eq!(error.to_string(), "cannot read no.yaml");
    }
}
