//! Every file of `files/` with what it means, every file of `errors/` with what is said of it.
//!
//! A folder is loaded as several files, in the order of their names.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compose::{
    Color, ReadFile, ReadFileError, Request, Selection, Source, load, load_document, render,
};

/// The only other files that there are.
struct Files;

impl ReadFile for Files {
    fn read(&self, path: &Path) -> Result<String, ReadFileError> {
        match path.to_str() {
            Some("/app/web.env") => Ok("FROM_FILE=file\nBOTH=file\nEXPANDED=\"$HOME/x\"\n".into()),
            Some("/app/raw.env") => Ok("RAW=\"$HOME\" # kept\n".into()),
            Some("/app/broken.env") => Ok("FINE=1\nNOT FINE=2\nOPEN='x\n".into()),
            Some("/app/secret.env") => Err(ReadFileError::Unreadable("permission denied".into())),
            Some(_) | None => Err(ReadFileError::Missing),
        }
    }
}

fn sources(path: &Path) -> Vec<Source> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        paths = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
    }
    let source = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.file_name().unwrap().into(),
    };
    paths.into_iter().map(source).collect()
}

fn request(path: &Path) -> Request {
    let variables = [
        ("HOME", "/home/me"),
        ("TAG", "7"),
        ("EMPTY", ""),
        ("PORT", "8080"),
    ];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Request {
        environment: variables.map(own).into_iter().collect::<BTreeMap<_, _>>(),
        env_files: vec![Source {
            path: ".env".into(),
            text: "TAG=6\nFROM_DOTENV=dotenv\n".into(),
        }],
        services: Selection::All,
        ..Request::new(sources(path), "/app".into())
    }
}

fn corpus(folder: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths.into_iter().map(|path| (name(&path), path)).collect()
}

#[test]
fn every_error_says_what_where_why_and_what_to_do() {
    for (name, path) in corpus("errors") {
        let text = match load(&request(&path), &Files) {
            Err(diagnostics) => render(&diagnostics, Color::Plain),
            Ok(loaded) => panic!("{name} is accepted: {loaded:#?}"),
        };
        insta::assert_snapshot!(format!("error-{name}"), text);
    }
}

#[test]
fn every_file_means_what_it_means_in_compose() {
    for (name, path) in corpus("files") {
        let loaded = match load(&request(&path), &Files) {
            Ok(loaded) => loaded,
            Err(diagnostics) => panic!("{name}:\n{}", render(&diagnostics, Color::Plain)),
        };
        let warnings = render(&loaded.warnings, Color::Plain);
        let yaml = compose::yaml(&loaded.spec);
        insta::assert_snapshot!(format!("file-{name}"), format!("{yaml}---\n{warnings}"));
        let document = compose::document(&loaded.spec);
        assert_eq!(load_document(&document).unwrap(), loaded.spec, "{name}");
        for text in [document, yaml] {
            let again = Request::new(
                vec![Source {
                    path: "resolved".into(),
                    text,
                }],
                "/elsewhere".into(),
            );
            assert_eq!(load(&again, &Files).unwrap().spec, loaded.spec, "{name}");
        }
    }
}
