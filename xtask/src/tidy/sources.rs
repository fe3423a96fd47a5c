//! Sizes, the doc that opens a file, and words that must not be committed.

use std::path::Path;

use super::{Finding, Source};

const FILE_LINES_MAX: usize = 1000;
const CRATE_LINES_MAX: usize = 8000;
/// Split, so that this file does not hold them itself.
const UNFINISHED: [&str; 3] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
];
const TEXT_ENDINGS: [&str; 12] = [
    "rs", "toml", "md", "yaml", "yml", "json", "sh", "py", "js", "html", "css", "txt",
];
/// Folders that hold what was built or found, not written.
const FOREIGN_FOLDERS: [&str; 6] = [
    "target",
    ".git",
    "node_modules",
    "corpus",
    "artifacts",
    "seeds",
];

/// Whether a folder holds text that we wrote.
pub(crate) fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    !FOREIGN_FOLDERS.iter().any(|foreign| name == *foreign)
}

/// Whether a file is text: by its ending, or it is the program of the CI.
pub(crate) fn is_text(file: &Path) -> bool {
    let ending = file.extension().unwrap_or_default();
    TEXT_ENDINGS.iter().any(|text| ending == *text) || file == Path::new(".ci/run")
}

/// Judges one file.
pub(crate) fn judge(source: &Source) -> Vec<Finding> {
    let found = |line, text: String| Finding::new(&source.path, line, text);
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        if let Some(word) = UNFINISHED.iter().find(|word| line.contains(*word)) {
            findings.push(found(
                index + 1,
                format!("{word:?} is unfinished; finish it"),
            ));
        }
    }
    if !is_rust(&source.path) {
        return findings;
    }
    if !source.text.starts_with("//!") {
        let text = "the file does not open with `//!`; say what it owns and refuses to know";
        findings.push(found(1, text.to_owned()));
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let text = format!("{lines} lines, and {FILE_LINES_MAX} is the limit; split the file");
        findings.push(found(FILE_LINES_MAX + 1, text));
    }
    findings
}

/// Judges how large the crate in a folder is.
pub(crate) fn judge_size(folder: &Path, sources: &[Source]) -> Option<Finding> {
    let own = sources
        .iter()
        .filter(|source| source.path.starts_with(folder.join("src")));
    let rust = own.filter(|source| is_rust(&source.path));
    let lines: usize = rust.map(|source| source.text.lines().count()).sum();
    (lines > CRATE_LINES_MAX).then(|| {
        let text = format!("{lines} lines, and {CRATE_LINES_MAX} is the limit; split the crate");
        Finding::new(&folder.join("Cargo.toml"), 1, text)
    })
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    fn judged(path: &str, text: &str) -> Vec<usize> {
        judge(&source(path, text))
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn a_file_opens_with_its_doc() {
        assert_eq!(judged("a.rs", "//! A file.\n"), [0; 0]);
        assert_eq!(judged("a.rs", "use std::fs;\n"), [1]);
        assert_eq!(judged("a.rs", ""), [1]);
        assert_eq!(judged("a.md", "# A file\n"), [0; 0]);
    }

    #[test]
    fn a_long_file_is_found() {
        let lines = |count| format!("//! A file.\n{}", "\n".repeat(count - 1));
        assert_eq!(judged("a.rs", &lines(FILE_LINES_MAX)), [0; 0]);
        assert_eq!(
            judged("a.rs", &lines(FILE_LINES_MAX + 1)),
            [FILE_LINES_MAX + 1]
        );
    }

    #[test]
    fn unfinished_work_is_found_in_every_text() {
        for word in UNFINISHED {
            assert_eq!(judged("a.rs", &format!("//! A file.\n\n{word})\n")), [3]);
            assert_eq!(judged("a.yaml", &format!("# {word}\n")), [1]);
        }
    }

    #[test]
    fn a_large_crate_is_found() {
        let files = |count: usize| -> Vec<Source> {
            let text = "\n".repeat(1000);
            (0..count)
                .map(|n| source(&format!("crates/a/src/{n}.rs"), &text))
                .collect()
        };
        let folder = Path::new("crates/a");
        assert_eq!(judge_size(folder, &files(8)), None);
        assert!(judge_size(folder, &files(9)).is_some());
        assert_eq!(judge_size(Path::new("crates/b"), &files(9)), None);
    }

    #[test]
    fn what_we_did_not_write_is_left_alone() {
        assert!(is_ours(Path::new("crates/model")) && !is_ours(Path::new("fuzz/corpus")));
        assert!(is_text(Path::new(".ci/run")) && !is_text(Path::new("Cargo.lock")));
    }
}
