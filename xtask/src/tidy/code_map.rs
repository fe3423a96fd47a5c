//! Which crate may depend on which: the table under "Code map" of ARCHITECTURE.md is the rule, so
//! that the document cannot become untrue.
//!
//! The first cell of a row names one or more crates, the last says what they may depend on:
//! `nothing`, `everything`, a list of crates, a list for each (`testkit: ports; sim: plan`), or a
//! dash for a crate of tests, which may use everything as a dev-dependency and nothing otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Finding;

/// Where the table is.
pub(crate) const FILE: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Code map";

/// The table.
#[derive(Debug, Default)]
pub(crate) struct CodeMap {
    rows: BTreeMap<String, Row>,
}

#[derive(Debug)]
struct Row {
    line: usize,
    allowed: Allowed,
}

/// What a crate may depend on, of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Only(BTreeSet<String>),
    Everything,
    /// Everything, in tests.
    InTests,
}

impl CodeMap {
    /// Reads the table; what cannot be read is a finding.
    pub(crate) fn parse(text: &str) -> (Self, Vec<Finding>) {
        let mut map = Self::default();
        let lines = text
            .lines()
            .enumerate()
            .skip_while(|(_, line)| line.trim() != HEADING)
            .skip(1);
        for (index, line) in lines.take_while(|(_, line)| !line.starts_with("## ")) {
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
            let [names, .., allowed] = cells.as_slice() else {
                continue;
            };
            for name in names.split(',').filter_map(crate_name) {
                let allowed = Allowed::parse(allowed, name);
                map.rows.insert(
                    name.to_owned(),
                    Row {
                        line: index + 1,
                        allowed,
                    },
                );
            }
        }
        let missing = map.rows.is_empty().then(|| {
            let text = format!("no table of crates under {HEADING:?}; write one");
            Finding::new(Path::new(FILE), 1, text)
        });
        (map, missing.into_iter().collect())
    }

    /// What a crate may depend on; `None` if it has no row.
    pub(crate) fn allowed(&self, name: &str) -> Option<&Allowed> {
        self.rows.get(name).map(|row| &row.allowed)
    }

    /// A row of a crate that is not there.
    pub(crate) fn judge_rows(&self, crates: &BTreeSet<&str>) -> Vec<Finding> {
        let gone = self
            .rows
            .iter()
            .filter(|(name, _)| !crates.contains(name.as_str()));
        gone.map(|(name, row)| {
            let text = format!("there is no crate `{name}`; remove it from the code map");
            Finding::new(Path::new(FILE), row.line, text)
        })
        .collect()
    }
}

impl Allowed {
    fn parse(cell: &str, name: &str) -> Self {
        let own = match cell.contains(':') {
            true => cell.split(';').find_map(|part| {
                let (of, list) = part.split_once(':')?;
                (of.trim() == name).then_some(list)
            }),
            false => Some(cell),
        };
        match own.unwrap_or("nothing").trim() {
            "nothing" => Self::Only(BTreeSet::new()),
            "everything" => Self::Everything,
            "—" | "-" => Self::InTests,
            list => Self::Only(list.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }
}

/// `bin/roads` in backticks is the crate `roads`; a heading or a ruler is none.
fn crate_name(cell: &str) -> Option<&str> {
    let path = cell.trim().strip_prefix('`')?.strip_suffix('`')?;
    path.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# Title\n| `no` | not yet | everything |\n## Code map\n\n| Crate | Owns | May |\n|---|---|---|\n\
| `model` | nouns | nothing |\n| `plan` | plans | model, ports |\n\
| `testkit`, `sim` | tests | testkit: ports; sim: plan, ports |\n\
| `bin/roads` | wires | everything |\n| `tests/e2e` | suite | — |\n## Next\n| `no` | | |\n";

    fn only(names: &[&str]) -> Allowed {
        Allowed::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_table_is_read_in_each_of_its_spellings() {
        let (map, findings) = CodeMap::parse(TABLE);
        assert_eq!(findings, []);
        assert_eq!(map.allowed("no"), None);
        assert_eq!(map.allowed("model"), Some(&only(&[])));
        assert_eq!(map.allowed("plan"), Some(&only(&["model", "ports"])));
        assert_eq!(map.allowed("testkit"), Some(&only(&["ports"])));
        assert_eq!(map.allowed("sim"), Some(&only(&["plan", "ports"])));
        assert_eq!(map.allowed("roads"), Some(&Allowed::Everything));
        assert_eq!(map.allowed("e2e"), Some(&Allowed::InTests));
    }

    #[test]
    fn a_row_of_a_crate_that_is_gone_is_found() {
        let (map, _) = CodeMap::parse(TABLE);
        let crates = ["model", "testkit", "sim", "roads", "e2e"]
            .into_iter()
            .collect();
        let findings = map.judge_rows(&crates);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0]
                .to_string()
                .starts_with("ARCHITECTURE.md:8: there is no crate `plan`")
        );
    }

    #[test]
    fn a_document_without_the_table_is_found() {
        let (_, findings) = CodeMap::parse("# Title\n");
        assert_eq!(findings[0].line, 1);
    }
}
