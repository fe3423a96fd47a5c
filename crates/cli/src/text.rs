//! The text of a file, or why it has none.

use std::io::{self, Read};
use std::path::Path;

/// More than a compose file may have; the rest of a file that never ends is not read.
const BYTES_MAX: u64 = 16 << 20;

/// Why a file has no text.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It cannot be read.
    #[error("{}", told(.0))]
    Io(io::Error),
    /// It is too long.
    #[error("it is longer than {} MiB", BYTES_MAX >> 20)]
    TooLong,
    /// It is in another encoding, or no text at all.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// The first line that is not, from 1.
        line: usize,
    },
}

impl TextError {
    /// Whether there is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// As people say it, without the number of the error.
fn told(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::NotFound, "there is no such file"),
        (io::ErrorKind::IsADirectory, "it is a folder"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
    ];
    let known = known.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}

pub(crate) fn of_file(path: &Path) -> Result<String, TextError> {
    of(std::fs::File::open(path).map_err(TextError::Io)?)
}

pub(crate) fn of(from: impl Read) -> Result<String, TextError> {
    let mut bytes = Vec::new();
    let read = from.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    if read.map_err(TextError::Io)? as u64 > BYTES_MAX {
        return Err(TextError::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        TextError::NotUtf8 {
            line: before.filter(|&&byte| byte == b'\n').count() + 1,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_says_where() {
        let error = of(&b"services:\n  caf\xe9: {}\n"[..]).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not UTF-8");
        let endless = of(io::repeat(b'a')).unwrap_err();
        assert_eq!(endless.to_string(), "it is longer than 16 MiB");
    }

    #[test]
    fn a_folder_is_told_from_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let error = of_file(folder.path()).unwrap_err();
        assert_eq!(error.to_string(), "it is a folder");
        let error = of_file(&folder.path().join("x")).unwrap_err();
        assert!(error.is_missing());
    }
}
