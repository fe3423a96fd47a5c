//! `compose` under any text: it ends, every diagnostic can be drawn, and what it accepts survives its document.

use std::path::Path;

use compose::{
    Color, ReadFile, ReadFileError, Request, Source, document, load, load_document, render, yaml,
};

/// Between the files of one input; what follows the last is an environment file.
const BETWEEN: &str = "\n%%%\n";

/// Loads the bytes as compose files and an environment file.
///
/// # Panics
/// On a finding.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts: Vec<&str> = text.split(BETWEEN).collect();
    let env_file = if parts.len() > 1 { parts.pop() } else { None };
    let source = |path: &str, text: &str| Source {
        path: path.into(),
        text: text.to_owned(),
    };
    let files = parts
        .iter()
        .map(|text| source("compose.yaml", text))
        .collect();
    let request = Request {
        environment: [("HOME".to_owned(), "/root".to_owned())].into(),
        env_files: env_file.iter().map(|text| source(".env", text)).collect(),
        ..Request::new(files, "/app".into())
    };
    let loaded = match load(&request, &Echo(env_file.unwrap_or(""))) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            assert!(diagnostics.errors() > 0);
            drop(render(&diagnostics, Color::Plain));
            return;
        }
    };
    drop(render(&loaded.warnings, Color::Ansi));
    let document = document(&loaded.spec);
    assert_eq!(load_document(&document).as_ref(), Ok(&loaded.spec));
    for text in [document, yaml(&loaded.spec)] {
        let request = Request::new(vec![source("resolved.yaml", &text)], "/".into());
        let again = load(&request, &Echo("")).map(|loaded| loaded.spec);
        assert_eq!(again.as_ref(), Ok(&loaded.spec), "{text}");
    }
}

/// Every path is the same file.
struct Echo<'a>(&'a str);

impl ReadFile for Echo<'_> {
    fn read(&self, path: &Path) -> Result<String, ReadFileError> {
        match path.extension() {
            Some(_) => Ok(self.0.to_owned()),
            None => Err(ReadFileError::Missing),
        }
    }
}
