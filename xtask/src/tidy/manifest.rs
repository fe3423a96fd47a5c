//! As much of a Cargo.toml as the rules need: its sections and their lines.
//!
//! Not a TOML reader: cargo has accepted the file already, and our manifests write one value on
//! one line wherever a rule looks.

/// A `[section]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// The line of its header, from 1.
    pub(crate) line: usize,
    pub(crate) entries: Vec<Entry<'a>>,
}

/// A `key = value` line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) line: usize,
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl<'a> Section<'a> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| entry.value)
    }
}

/// The section of that name.
pub(crate) fn section<'a>(text: &'a str, name: &str) -> Option<Section<'a>> {
    let mut lines = text
        .lines()
        .enumerate()
        .skip_while(|(_, line)| header(line) != Some(name));
    let (index, _) = lines.next()?;
    let entries = lines
        .take_while(|(_, line)| header(line).is_none())
        .filter_map(|(index, line)| {
            let (key, value) = line.trim().split_once('=')?;
            let entry = Entry {
                line: index + 1,
                key: key.trim(),
                value: value.trim(),
            };
            (!key.starts_with('#')).then_some(entry)
        });
    Some(Section {
        line: index + 1,
        entries: entries.collect(),
    })
}

/// The line that declares a dependency in any section for dependencies; 1 if none does.
pub(crate) fn dependency_line(text: &str, key: &str) -> usize {
    let mut within = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = header(line) {
            within = name.ends_with("dependencies");
            let (of, last) = name.rsplit_once('.').unwrap_or_default();
            if of.ends_with("dependencies") && last == key {
                return index + 1;
            }
        }
        let own = line.split(['=', '.']).next().unwrap_or_default().trim();
        if within && own == key {
            return index + 1;
        }
    }
    1
}

fn header(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[package]\nname = \"a\"\n\n[dependencies]\n# a comment = 1\nmodel.workspace = true\n\n\
[dev-dependencies.plan]\npath = \"..\"\n\n[lints.rust]\nunsafe_code = \"warn\"\n";

    #[test]
    fn sections_end_where_the_next_begins() {
        let entry = Entry {
            line: 6,
            key: "model.workspace",
            value: "true",
        };
        let expected = Section {
            line: 4,
            entries: vec![entry],
        };
        assert_eq!(section(TEXT, "dependencies"), Some(expected));
        assert_eq!(section(TEXT, "lints"), None);
        let lints = section(TEXT, "lints.rust").unwrap();
        assert_eq!(lints.get("unsafe_code"), Some("\"warn\""));
    }

    #[test]
    fn a_dependency_is_found_in_both_spellings() {
        assert_eq!(dependency_line(TEXT, "model"), 6);
        assert_eq!(dependency_line(TEXT, "plan"), 8);
        assert_eq!(dependency_line(TEXT, "name"), 1);
    }
}
