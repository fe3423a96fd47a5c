//! Everything we build on may be passed on in one binary: permissive licences only.

use std::path::Path;

use super::Finding;
use crate::metadata::Package;

/// SPDX identifiers, an exception with its licence.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Judges the licence of one package; the finding is at its place in Cargo.lock.
pub(crate) fn judge(package: &Package, lock: &str) -> Option<Finding> {
    let wrong = match &package.licence {
        Some(licence) if is_allowed(licence) => return None,
        Some(licence) => format!("under {licence:?}, which is not on the list of permissive ones"),
        None => "without a licence in its manifest".to_owned(),
    };
    let name = &package.name;
    let entry = format!("name = {name:?}");
    let line = lock
        .lines()
        .position(|line| line == entry)
        .map_or(1, |index| index + 1);
    let text = format!("`{name}` is {wrong}; use something else, or argue for it in licences.rs");
    Some(Finding::new(Path::new("Cargo.lock"), line, text))
}

/// Whether an SPDX expression can be met by allowed licences alone. What cannot be read cannot.
fn is_allowed(expression: &str) -> bool {
    // The spelling of old manifests: a slash is an or.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    matches!(alternatives(&words), Some((allowed, [])) if allowed)
}

/// `a OR b`; gives what is left behind it.
fn alternatives<'a>(words: &'a [&'a str]) -> Option<(bool, &'a [&'a str])> {
    let (mut allowed, mut rest) = conjunction(words)?;
    while let ["OR", behind @ ..] = rest {
        let (other, behind) = conjunction(behind)?;
        (allowed, rest) = (allowed || other, behind);
    }
    Some((allowed, rest))
}

/// `a AND b`, which binds more tightly.
fn conjunction<'a>(words: &'a [&'a str]) -> Option<(bool, &'a [&'a str])> {
    let (mut allowed, mut rest) = licence(words)?;
    while let ["AND", behind @ ..] = rest {
        let (other, behind) = licence(behind)?;
        (allowed, rest) = (allowed && other, behind);
    }
    Some((allowed, rest))
}

fn licence<'a>(words: &'a [&'a str]) -> Option<(bool, &'a [&'a str])> {
    match words {
        ["(", rest @ ..] => match alternatives(rest)? {
            (allowed, [")", behind @ ..]) => Some((allowed, behind)),
            (_, _) => None,
        },
        [name, "WITH", exception, rest @ ..] => Some((
            ALLOWED.contains(&format!("{name} WITH {exception}").as_str()),
            rest,
        )),
        [name, rest @ ..] => Some((ALLOWED.contains(name), rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Origin;

    #[test]
    fn expressions_are_judged() {
        let table = [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT AND ISC", true),
            ("(GPL-3.0-only OR MIT) AND AGPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
            ("AGPL-3.0-or-later", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT MIT", false),
            ("", false),
        ];
        for (expression, allowed) in table {
            assert_eq!(is_allowed(expression), allowed, "{expression}");
        }
    }

    #[test]
    fn a_package_that_may_not_be_passed_on_is_found_in_the_lock() {
        let package = |licence: Option<&str>| Package {
            name: "pact".to_owned(),
            manifest: "/registry/pact/Cargo.toml".into(),
            licence: licence.map(str::to_owned),
            origin: Origin::Registry,
            dependencies: Vec::new(),
        };
        let lock = "[[package]]\nname = \"pact\"\n";
        assert_eq!(judge(&package(Some("MIT")), lock), None);
        for licence in [Some("AGPL-3.0-only"), None] {
            let finding = judge(&package(licence), lock).unwrap().to_string();
            assert!(finding.starts_with("Cargo.lock:2: `pact` is "), "{finding}");
        }
    }
}
