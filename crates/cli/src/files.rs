//! Which compose files are meant, and what they say together with the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use compose::{Diagnostics, Loaded, ReadFile, ReadFileError, Request, Source};

use crate::arguments::Selection;

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
        source: io::Error,
    },
    /// What the files say is not valid.
    #[error("the compose file is not valid")]
    Invalid(Diagnostics),
    /// What the files say is valid, and not all of it is honoured.
    #[error("the compose file has what is not honoured, and --strict refuses that")]
    Strict(Diagnostics),
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

    /// The files that are meant, if any.
    pub(crate) fn origin(&self, selection: &Selection) -> Option<Origin> {
        let at = |path: &Path| self.working_directory.join(path);
        if !selection.files.is_empty() {
            return Some(Origin::Named(
                selection.files.iter().map(|path| at(path)).collect(),
            ));
        }
        if let Some(list) = self.variable("COMPOSE_FILE") {
            let separator = self.variable("COMPOSE_PATH_SEPARATOR").unwrap_or(":");
            let files = list.split(separator).filter(|file| !file.is_empty());
            return Some(Origin::Named(
                files.map(|file| at(Path::new(file))).collect(),
            ));
        }
        let start = selection.named.project_directory.as_deref();
        let start = start.map_or_else(|| self.working_directory.clone(), at);
        start.ancestors().find_map(found_in).map(Origin::Found)
    }
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
    let no_file = || FilesError::NoFile {
        folder: surroundings.working_directory.clone(),
    };
    let origin = surroundings.origin(selection).ok_or_else(no_file)?;
    let request = request(selection, &origin, surroundings)?;
    let mut loaded = compose::load(&request, &Disk).map_err(FilesError::Invalid)?;
    if !services.is_empty() {
        let named = Request {
            services: compose::Selection::Services(services.iter().cloned().collect()),
            ..request
        };
        let named = compose::load(&named, &Disk).map_err(FilesError::Invalid)?;
        loaded.spec.services.extend(named.spec.services);
        loaded.spec.networks.extend(named.spec.networks);
        loaded.spec.volumes.extend(named.spec.volumes);
    }
    Ok(loaded)
}

fn request(
    selection: &Selection,
    origin: &Origin,
    surroundings: &Surroundings,
) -> Result<Request, FilesError> {
    let (Origin::Named(paths) | Origin::Found(paths)) = origin;
    let at = |path: &Path| surroundings.working_directory.join(path);
    let named = &selection.named;
    let folder = match (&named.project_directory, paths.first()) {
        (Some(folder), _) => at(folder),
        (None, Some(first)) if !is_standard_input(first) => {
            first.parent().unwrap_or(Path::new("/")).to_owned()
        }
        (None, _) => surroundings.working_directory.clone(),
    };
    let project_directory = folder
        .canonicalize()
        .map_err(|source| FilesError::Unreadable {
            path: folder,
            source,
        })?;
    let env_files: Vec<PathBuf> = if named.env_files.is_empty() {
        let default = project_directory.join(".env");
        default.is_file().then_some(default).into_iter().collect()
    } else {
        named.env_files.iter().map(|path| at(path)).collect()
    };
    let sources = |paths: &[PathBuf]| -> Result<Vec<Source>, FilesError> {
        let source = |path: &PathBuf| source(path, &surroundings.working_directory);
        paths.iter().map(source).collect()
    };
    Ok(Request {
        name: named.name.clone(),
        profiles: named.profiles.iter().cloned().collect::<BTreeSet<_>>(),
        environment: surroundings.environment.clone(),
        env_files: sources(&env_files)?,
        ..Request::new(sources(paths)?, project_directory)
    })
}

fn is_standard_input(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "-")
}

/// The text of a file, known by its path as seen from the working directory.
fn source(path: &Path, working_directory: &Path) -> Result<Source, FilesError> {
    let read = if is_standard_input(path) {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let shown = path.strip_prefix(working_directory).unwrap_or(path);
    match read {
        Ok(text) => Ok(Source {
            path: shown.to_owned(),
            text,
        }),
        Err(source) => Err(FilesError::Unreadable {
            path: shown.to_owned(),
            source,
        }),
    }
}

/// The files of this machine.
struct Disk;

impl ReadFile for Disk {
    fn read(&self, path: &Path) -> Result<String, ReadFileError> {
        std::fs::read_to_string(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
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
