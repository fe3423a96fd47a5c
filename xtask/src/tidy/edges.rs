//! No edge between two crates of ours but those of the code map.

use std::path::Path;

use super::code_map::{Allowed, CodeMap, FILE};
use super::{Finding, manifest};
use crate::metadata::{Dependency, Kind, Origin, Package};

/// What every crate may use in its tests.
const FOR_TESTS: &str = "testkit";

/// Judges the edges of one crate of ours.
pub(crate) fn judge(package: &Package, file: &Path, manifest: &str, map: &CodeMap) -> Vec<Finding> {
    let name = package.short_name();
    let Some(allowed) = map.allowed(name) else {
        let text = format!("crate `{name}` has no row in the code map; add one to {FILE}");
        return vec![Finding::new(file, 1, text)];
    };
    let edges = package
        .dependencies
        .iter()
        .filter(|edge| edge.origin == Origin::Ours);
    let wrong = edges.filter(|edge| !is_allowed(edge, allowed));
    wrong
        .map(|edge| {
            let to = edge.short_name();
            let text = format!(
                "`{name}` may not depend on `{to}`; turn the edge around, or argue for it in {FILE}"
            );
            Finding::new(file, manifest::dependency_line(manifest, &edge.key), text)
        })
        .collect()
}

fn is_allowed(edge: &Dependency, allowed: &Allowed) -> bool {
    match (allowed, edge.kind) {
        (Allowed::Everything, _) | (Allowed::InTests, Kind::Dev) => true,
        (Allowed::InTests, Kind::Normal | Kind::Build) => false,
        (Allowed::Only(_), Kind::Dev) if edge.short_name() == FOR_TESTS => true,
        (Allowed::Only(names), _) => names.contains(edge.short_name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str =
        "## Code map\n| `plan` | | model |\n| `e2e` | | — |\n| `roads` | | everything |";

    fn judge_edge(from: &str, to: &str, kind: Kind) -> Vec<String> {
        let edge = Dependency {
            package: format!("roadstead-{to}"),
            key: to.to_owned(),
            kind,
            origin: Origin::Ours,
        };
        let package = Package {
            name: format!("roadstead-{from}"),
            manifest: "Cargo.toml".into(),
            licence: None,
            origin: Origin::Ours,
            dependencies: vec![edge],
        };
        let manifest = format!("[package]\n\n[dependencies]\n{to}.workspace = true\n");
        let (map, _) = CodeMap::parse(MAP);
        let findings = judge(&package, Path::new("Cargo.toml"), &manifest, &map);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_edge_that_is_not_in_the_map_is_found_at_its_line() {
        let findings = judge_edge("plan", "proxy", Kind::Normal);
        assert_eq!(findings.len(), 1);
        let start = "Cargo.toml:4: `plan` may not depend on `proxy`";
        assert!(findings[0].starts_with(start), "{findings:?}");
    }

    #[test]
    fn edges_are_judged_by_their_kind() {
        let table = [
            ("plan", "model", Kind::Normal, true),
            ("plan", "model", Kind::Dev, true),
            ("plan", "testkit", Kind::Dev, true),
            ("plan", "testkit", Kind::Normal, false),
            ("plan", "proxy", Kind::Build, false),
            ("plan", "proxy", Kind::Dev, false),
            ("e2e", "client", Kind::Dev, true),
            ("e2e", "client", Kind::Normal, false),
            ("roads", "proxy", Kind::Normal, true),
        ];
        for (from, to, kind, allowed) in table {
            let findings = judge_edge(from, to, kind);
            assert_eq!(
                findings.is_empty(),
                allowed,
                "{from} {to} {kind:?}: {findings:?}"
            );
        }
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let findings = judge_edge("new", "model", Kind::Normal);
        assert!(
            findings[0].contains("has no row in the code map"),
            "{findings:?}"
        );
    }
}
