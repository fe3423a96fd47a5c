//! A case of the corpus: its files, what lies around them, and what is asked of them.
//!
//! A case is a file, with the files of `app/` around it; or a folder, of which the files whose
//! names begin with a digit (else `compose.yaml`) are given with `-f`, and all lie around them.
//! A first line `#: …` is what else stands on the command line: `--profile NAME` and services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use compose::{ReadFile, ReadFileError, Request, Selection, Source};

/// Where a case believes to be.
pub(crate) const PROJECT: &str = "/app";

/// The environment of every case.
pub(crate) const ENVIRONMENT: [(&str, &str); 4] = [
    ("HOME", "/home/me"),
    ("TAG", "7"),
    ("EMPTY", ""),
    ("PORT", "8080"),
];

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What lies at [`PROJECT`].
    pub(crate) folder: PathBuf,
    /// The files that are given, in their order.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) profiles: BTreeSet<String>,
    pub(crate) services: BTreeSet<String>,
}

/// The folder of this crate's tests.
pub(crate) fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The cases of a folder, in the order of their names.
pub(crate) fn cases(folder: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = entries(&tests().join(folder)).map(Case::of).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path())
}

impl Case {
    fn of(path: PathBuf) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (folder, files) = if path.is_dir() {
            let numbered = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with(|c: char| c.is_ascii_digit())
            };
            let mut files: Vec<PathBuf> = entries(&path).filter(numbered).collect();
            files.sort();
            if files.is_empty() {
                files.push(path.join("compose.yaml"));
            }
            (path, files)
        } else {
            (tests().join("app"), vec![path])
        };
        let mut case = Self {
            name,
            folder,
            files,
            profiles: BTreeSet::new(),
            services: BTreeSet::new(),
        };
        case.read_arguments();
        case
    }

    fn read_arguments(&mut self) {
        let text = std::fs::read_to_string(&self.files[0]).unwrap();
        let first = text.lines().next().and_then(|line| line.strip_prefix("#:"));
        let mut words = first.unwrap_or("").split_whitespace();
        while let Some(word) = words.next() {
            if word == "--profile" {
                self.profiles.insert(words.next().unwrap().to_owned());
            } else {
                self.services.insert(word.to_owned());
            }
        }
    }

    pub(crate) fn request(&self) -> Request {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let source = |path: &PathBuf| Source {
            text: std::fs::read_to_string(path).unwrap(),
            path: path.file_name().unwrap().into(),
        };
        let env_file = self.folder.join(".env");
        Request {
            environment: ENVIRONMENT.map(own).into_iter().collect::<BTreeMap<_, _>>(),
            env_files: env_file
                .is_file()
                .then(|| source(&env_file))
                .into_iter()
                .collect(),
            profiles: self.profiles.clone(),
            services: if self.services.is_empty() {
                Selection::All
            } else {
                Selection::Services(self.services.clone())
            },
            ..Request::new(self.files.iter().map(source).collect(), PROJECT.into())
        }
    }
}

impl ReadFile for Case {
    fn read(&self, path: &Path) -> Result<String, ReadFileError> {
        let path = path
            .strip_prefix(PROJECT)
            .map_err(|_| ReadFileError::Missing)?;
        if path == Path::new("secret.env") {
            return Err(ReadFileError::Unreadable("permission denied".into()));
        }
        let path = self.folder.join(path);
        if path.is_dir() {
            return Err(ReadFileError::Unreadable("it is a folder".into()));
        }
        std::fs::read_to_string(path).map_err(|_| ReadFileError::Missing)
    }
}
