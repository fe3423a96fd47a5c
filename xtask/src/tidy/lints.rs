//! Every crate has the workspace's lints; two may hold unsafe code, and no other line differs.

use std::path::Path;

use super::Finding;
use super::manifest::{Section, section};

/// The crates that touch namespaces and raw sockets.
const UNSAFE_CRATES: [&str; 2] = ["netns", "engine-embedded"];
/// Where their table may differ from the workspace's: tool, lint, and what it must be.
const DIFFERENCES: [(&str, &str, &[&str]); 2] = [
    ("rust", "unsafe_code", &["\"warn\"", "\"deny\""]),
    (
        "clippy",
        "undocumented_unsafe_blocks",
        &["\"warn\"", "\"deny\""],
    ),
];

/// Judges the lints of one crate of ours.
pub(crate) fn judge(name: &str, file: &Path, manifest: &str, workspace: &str) -> Vec<Finding> {
    if UNSAFE_CRATES.contains(&name) {
        let tools = ["rust", "clippy"].into_iter();
        return tools
            .flat_map(|tool| judge_table(tool, file, manifest, workspace))
            .collect();
    }
    let inherited = section(manifest, "lints");
    if inherited.as_ref().and_then(|lints| lints.get("workspace")) == Some("true") {
        return Vec::new();
    }
    let line = inherited.map_or(1, |lints| lints.line);
    let text = "the lints are not the workspace's; write `[lints]` and `workspace = true`";
    vec![Finding::new(file, line, text)]
}

fn judge_table(tool: &str, file: &Path, manifest: &str, workspace: &str) -> Vec<Finding> {
    let wanted = section(workspace, &format!("workspace.lints.{tool}"));
    let (Some(wanted), Some(own)) = (wanted, section(manifest, &format!("lints.{tool}"))) else {
        let text = format!("no `[lints.{tool}]`; repeat the workspace's table here");
        return vec![Finding::new(file, 1, text)];
    };
    let mut findings: Vec<Finding> = own
        .entries
        .iter()
        .filter(|entry| !may_stand(tool, entry.key, entry.value, &wanted))
        .map(|entry| {
            let lint = entry.key;
            let text = format!("`{lint}` is not as in the workspace; make it the same");
            Finding::new(file, entry.line, text)
        })
        .collect();
    let lints = wanted.entries.iter().map(|entry| entry.key);
    let ours = DIFFERENCES
        .iter()
        .filter(|(of, _, _)| *of == tool)
        .map(|(_, lint, _)| *lint);
    for lint in lints.chain(ours.filter(|lint| wanted.get(lint).is_none())) {
        if own.get(lint).is_none() {
            let text = format!("`{lint}` is missing; add it to `[lints.{tool}]`");
            findings.push(Finding::new(file, own.line, text));
        }
    }
    findings
}

fn may_stand(tool: &str, lint: &str, value: &str, wanted: &Section<'_>) -> bool {
    let difference = DIFFERENCES
        .iter()
        .find(|(of, differs, _)| *of == tool && *differs == lint);
    match difference {
        Some((_, _, values)) => values.contains(&value),
        None => wanted.get(lint) == Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "\
[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n\
[workspace.lints.clippy]\nunwrap_used = \"warn\"\n";
    const OWN: &str = "\
[lints.rust]\nunsafe_code = \"warn\"\nmissing_docs = \"warn\"\n\
[lints.clippy]\nunwrap_used = \"warn\"\nundocumented_unsafe_blocks = \"warn\"\n";

    fn judged(name: &str, manifest: &str) -> Vec<String> {
        let findings = judge(name, Path::new("Cargo.toml"), manifest, WORKSPACE);
        findings
            .iter()
            .map(|f| format!("{}: {}", f.line, f.text))
            .collect()
    }

    #[test]
    fn a_crate_inherits_the_lints() {
        assert_eq!(
            judged("model", "[package]\n[lints]\nworkspace = true\n"),
            [""; 0]
        );
        assert_eq!(judged("model", "[package]\n").len(), 1);
        assert_eq!(judged("model", OWN).len(), 1);
        assert!(judged("model", "[package]\n[lints]\nworkspace = false\n")[0].starts_with("2: "));
    }

    #[test]
    fn a_crate_with_unsafe_code_differs_in_that_alone() {
        assert_eq!(judged("netns", OWN), [""; 0]);
        let weaker = OWN.replace("missing_docs = \"warn\"", "missing_docs = \"allow\"");
        assert!(judged("netns", &weaker)[0].starts_with("3: `missing_docs` is not as"));
        let silent = OWN.replace("unsafe_code = \"warn\"", "unsafe_code = \"allow\"");
        assert!(judged("netns", &silent)[0].starts_with("2: `unsafe_code` is not as"));
        let shorter = OWN.replace("unwrap_used = \"warn\"\n", "");
        assert!(judged("netns", &shorter)[0].starts_with("4: `unwrap_used` is missing"));
        let undocumented = OWN.replace("undocumented_unsafe_blocks = \"warn\"\n", "");
        assert!(judged("netns", &undocumented)[0].starts_with("4: `undocumented_unsafe_blocks`"));
        let more = format!("{OWN}new = \"allow\"\n");
        assert!(judged("netns", &more)[0].starts_with("7: `new` is not as"));
    }

    #[test]
    fn a_crate_with_unsafe_code_has_both_tables() {
        assert_eq!(judged("netns", "[lints]\nworkspace = true\n").len(), 2);
    }
}
