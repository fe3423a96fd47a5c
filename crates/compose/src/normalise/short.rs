//! The shorter forms of mappings.

use text::{Entry, Finding, Tag};

use super::{Node, Normalise, Value, Wanted, What, absolute};
use crate::schema::{Scalar, Shape, Short, Table};

impl Normalise<'_> {
    /// The long form of a mapping or of what stands for one; several where one text says several.
    pub(super) fn short(
        &mut self,
        node: Node,
        short: Short,
        table: &Table,
        what: What<'_>,
    ) -> Vec<Node> {
        if let Value::Mapping(_) = node.value {
            let long = self.table(node, table, what);
            return vec![self.completed(long, short)];
        }
        let scalar = node.scalar().filter(|_| match short {
            Short::Port => !matches!(node.value, Value::Flag(_)),
            Short::Ulimit => true,
            Short::Activation
            | Short::Build
            | Short::Device
            | Short::EnvFile
            | Short::Extends
            | Short::FileMount
            | Short::Include
            | Short::Mount => node.as_text().is_some(),
        });
        let Some(text) = scalar else {
            return vec![self.wrong_type(&node, what, Wanted::TextOrMapping)];
        };
        let only = match short {
            Short::Port => return self.short_ports(&node, &text, what),
            Short::Ulimit => {
                return vec![self.scalar(node, Scalar::Whole(-1, i64::MAX), what)];
            }
            Short::Mount => return vec![self.short_mount(&node, &text, what)],
            Short::Device => return vec![self.short_device(&node, &text, what)],
            Short::Activation => "mode",
            Short::Build => "context",
            Short::EnvFile | Short::Include => "path",
            Short::Extends => "service",
            Short::FileMount => "source",
        };
        let span = node.span;
        let value = self.value(node, table.shape(only), what);
        if value.value == Value::Broken {
            return vec![value];
        }
        vec![Node::mapping(span, vec![Entry::new(span, only, value)])]
    }

    /// A long form with what depends on another of its keys.
    fn completed(&mut self, mut long: Node, short: Short) -> Node {
        match short {
            Short::Mount => {
                if long.text_at("type") == Some("bind")
                    && let Some(entry) = long.get_mut("source")
                {
                    let source = std::mem::replace(&mut entry.value, Node::null(entry.key.span));
                    entry.value =
                        self.value(source, &Shape::One(Scalar::Path), What::Key("source"));
                }
                if let Some(entry) = long.get_mut("target") {
                    clean(&mut entry.value);
                }
            }
            Short::Device => {
                if let Some(source) = long.at("source").cloned() {
                    long.or_insert("target", source);
                }
            }
            Short::Activation
            | Short::Build
            | Short::EnvFile
            | Short::Extends
            | Short::FileMount
            | Short::Include
            | Short::Port
            | Short::Ulimit => {}
        }
        long
    }

    /// Reads `SOURCE[:TARGET[:PERMISSIONS]]`.
    fn short_device(&mut self, node: &Node, text: &str, what: What<'_>) -> Node {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, permissions) = match parts.as_slice() {
            [source] => (*source, *source, "rwm"),
            [source, target] => (*source, *target, "rwm"),
            [source, target, permissions] => (*source, *target, *permissions),
            _ => return self.invalid(node, what, "write it as SOURCE:TARGET:PERMISSIONS"),
        };
        let target = if target.is_empty() { source } else { target };
        let entry = |key, value: &str| Entry::new(node.span, key, Node::text(node.span, value));
        let entries = vec![
            entry("source", source),
            entry("target", target),
            entry("permissions", permissions),
        ];
        Node::mapping(node.span, entries)
    }

    /// Reads `[SOURCE:]TARGET[:OPTIONS]`.
    fn short_mount(&mut self, node: &Node, text: &str, what: What<'_>) -> Node {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] if !target.is_empty() => (None, *target, ""),
            [source, inside] if parts.iter().all(|p| !p.is_empty()) => (Some(*source), *inside, ""),
            [source, inside, options] if parts.iter().all(|p| !p.is_empty()) => {
                (Some(*source), *inside, *options)
            }
            _ => {
                let why = "write it as SOURCE:TARGET, SOURCE:TARGET:ro, or TARGET alone";
                return self.invalid(node, what, why);
            }
        };
        let is_path = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
        let kind = if is_path { "bind" } else { "volume" };
        let mut entries = Vec::new();
        let mut put = |part: Option<&str>, key, value: Node| {
            let span = part.map_or(node.span, |part| self.narrow(node, part));
            entries.push(Entry::new(span, key, Node { span, ..value }));
        };
        put(None, "type", Node::text(node.span, kind));
        if let Some(source) = source {
            put(Some(source), "source", Node::text(node.span, source));
        }
        put(Some(target), "target", Node::text(node.span, target));
        let mut long = Node::mapping(node.span, entries);
        self.mount_options(node, options, &mut long);
        self.completed(long, Short::Mount)
    }

    /// Adds what the options say to a mount, and the mapping of its kind.
    fn mount_options(&mut self, node: &Node, options: &str, long: &mut Node) {
        let is_bind = long.text_at("type") == Some("bind");
        let mut below = Vec::new();
        if is_bind {
            let created = Node::flag(node.span, true);
            below.push(Entry::new(node.span, "create_host_path", created));
        }
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let span = self.narrow(node, option);
            let mut put = |key, value| below.push(Entry::new(span, key, value));
            match option {
                "ro" => long.or_insert("read_only", Node::flag(span, true)),
                // Of machines that share files with a virtual one.
                "rw" | "cached" | "delegated" | "consistent" => {}
                "nocopy" if !is_bind => put("nocopy", Node::flag(span, true)),
                "z" | "Z" if is_bind => put("selinux", Node::text(span, option)),
                "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" if is_bind => {
                    put("propagation", Node::text(span, option));
                }
                other => {
                    let message = format!("the mount option `{other}` is not honoured");
                    let finding = Finding::warning(span, message).help("known are ro and rw");
                    self.findings.push(finding);
                }
            }
        }
        let kind = if is_bind { "bind" } else { "volume" };
        long.or_insert(kind, Node::mapping(node.span, below));
    }

    /// `gpus`: `all` is a request for every one.
    pub(super) fn gpus(&mut self, node: Node, item: &Shape, what: What<'_>) -> Node {
        if node.as_text() == Some("all") {
            let count = Node::new(node.span, Value::Integer(-1));
            let request = Node::mapping(node.span, vec![Entry::new(node.span, "count", count)]);
            return Node::list(node.span, vec![request]);
        }
        if node.as_text().is_some() {
            return self.invalid(&node, what, "it is `all`, or a list of requests");
        }
        self.list(node, item, crate::schema::Unique::Any, what)
    }

    /// `external`: a flag; in its old form a mapping, which is taken apart once its table is read.
    pub(super) fn external(&mut self, node: Node, what: What<'_>) -> Node {
        let Value::Mapping(entries) = &node.value else {
            return self.scalar(node, Scalar::Flag, what);
        };
        let unknown = entries.iter().find(|entry| entry.key.text != "name");
        if let Some(entry) = unknown.filter(|entry| !entry.key.text.starts_with("x-")) {
            let message = format!("unknown key {:?} in `external`", entry.key.text);
            let finding = Finding::error(entry.key.span, message);
            self.findings
                .push(finding.help("write `external: true` and `name` beside it"));
        }
        node
    }

    /// Moves the name out of the old form of `external`.
    pub(super) fn lifted(&mut self, mut table: Node) -> Node {
        let Some(entry) = table.get_mut("external") else {
            return table;
        };
        if !matches!(entry.value.value, Value::Mapping(_)) || entry.value.tag == Tag::Reset {
            return table;
        }
        let flag = Node::flag(entry.value.span, true);
        let mut old = std::mem::replace(&mut entry.value, flag);
        let Some(old) = old.take("name") else {
            return table;
        };
        match table.get("name") {
            Some(name) if name.value.scalar() != old.value.scalar() => {
                let finding = Finding::error(old.value.span, "`name` and `external.name` differ")
                    .also(name.value.span, "and here")
                    .help("keep `name`, beside `external: true`");
                self.findings.push(finding);
            }
            Some(_) => {}
            None => table.or_insert("name", old.value),
        }
        table
    }
}

/// A path inside an instance without `.`, `..` and doubled slashes.
fn clean(target: &mut Node) {
    if let Value::Text(text) = &mut target.value
        && text.starts_with('/')
        && !text.contains('$')
    {
        *text = absolute("/".as_ref(), text).to_string_lossy().into_owned();
    }
}
