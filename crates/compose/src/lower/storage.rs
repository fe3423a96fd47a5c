//! File systems and files of a service: `volumes`, `tmpfs`, `secrets` and `configs`.

use std::path::{Path, PathBuf};

use model::{Mount, ServiceSpec, VolumeName, WrittenFile};
use text::units;

use super::{Entry, Finding, Lower, Node};
use crate::normalise::octal;

/// The most that the files of a service may hold together which are no files of this machine.
const WRITTEN_BYTES_MAX: usize = 1 << 20;

impl Lower<'_> {
    pub(super) fn mounts(&mut self, node: &Node) -> Vec<Mount> {
        let mut mounts = Vec::new();
        for item in node.items_at("volumes") {
            mounts.extend(self.mount(item));
        }
        for item in node.items_at("tmpfs") {
            mounts.extend(self.tmpfs(item));
        }
        mounts
    }

    fn mount(&mut self, node: &Node) -> Option<Mount> {
        let kind = node.at("type")?;
        let target = node.at("target")?;
        let target = self.target(target, target.as_text()?)?;
        let read_only = node.flag_at("read_only") == Some(true);
        let source = node.at("source");
        match kind.as_text()? {
            "bind" => {
                let Some(source) = source else {
                    let finding = Finding::error(node.span, "a bind mount needs a `source`")
                        .help("`source` is a path of this machine");
                    self.findings.push(finding);
                    return None;
                };
                let bind = node.at("bind");
                let created = bind.and_then(|bind| bind.flag_at("create_host_path"));
                Some(Mount::Bind {
                    source: source.as_text()?.into(),
                    target,
                    read_only,
                    create_source: created != Some(false),
                })
            }
            "volume" => {
                let name = match source {
                    Some(source) => Some(self.volume_name(source)?),
                    None => None,
                };
                Some(Mount::Volume {
                    name,
                    target,
                    read_only,
                })
            }
            "tmpfs" => {
                let options = node.at("tmpfs");
                let size = options.and_then(|tmpfs| tmpfs.text_at("size"));
                let mode = options.and_then(|tmpfs| tmpfs.text_at("mode"));
                Some(Mount::Tmpfs {
                    target,
                    size_max: size
                        .and_then(|size| size.parse().ok())
                        .filter(|size| *size != 0),
                    mode: mode.and_then(octal),
                })
            }
            other => {
                let message = format!("mounts of the type {other} are not honoured");
                let finding = Finding::warning(kind.span, message);
                self.findings.push(finding.help("nothing is mounted there"));
                None
            }
        }
    }

    /// Reads `TARGET[:size=…,mode=…]`.
    fn tmpfs(&mut self, node: &Node) -> Option<Mount> {
        let text = node.as_text()?;
        let (inside, options) = text.split_once(':').unwrap_or((text, ""));
        let target = self.target(node, inside)?;
        let (mut size_max, mut mode) = (None, None);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let read = match option.split_once('=') {
                Some(("size", size)) => units::bytes(size)
                    .map(|size| size_max = Some(size).filter(|size| *size != 0))
                    .map_err(|error| error.to_string()),
                Some(("mode", bits)) => octal(bits)
                    .map(|bits| mode = Some(bits))
                    .ok_or_else(|| "it is permission bits in octal, such as 1777".to_owned()),
                Some(_) | None => {
                    let span = node.span.narrow(&self.findings.sources, option);
                    let message = format!("the tmpfs option `{option}` is not honoured");
                    let finding = Finding::warning(span, message).help("known are size and mode");
                    self.findings.push(finding);
                    Ok(())
                }
            };
            if let Err(why) = read {
                self.findings
                    .invalid(node, format!("the tmpfs option `{option}`"), why);
            }
        }
        Some(Mount::Tmpfs {
            target,
            size_max,
            mode,
        })
    }

    /// Adds the secrets and configs of a service: those of a file as mounts, the others as files.
    pub(super) fn files(&mut self, node: &Node, spec: &mut ServiceSpec) {
        for section in ["secrets", "configs"] {
            for item in node.items_at(section) {
                match self.file(item, section) {
                    Some(File::OfMachine(mount)) => spec.mounts.push(mount),
                    Some(File::Written(file)) => spec.files.push(file),
                    None => {}
                }
            }
        }
        let size: usize = spec.files.iter().map(|file| file.content.len()).sum();
        if size > WRITTEN_BYTES_MAX {
            let message = format!(
                "secrets and configs of {size} bytes are written into {}",
                spec.name
            );
            let finding = Finding::error(node.span, message).help(format!(
                "at most {WRITTEN_BYTES_MAX} are; name files of this machine in `file`"
            ));
            self.findings.push(finding);
            spec.files.clear();
        }
    }

    fn file(&mut self, node: &Node, section: &str) -> Option<File> {
        let source = node.text_at("source")?;
        // What is not defined was reported.
        let declared = &self.app.at(section)?.get(source)?.value;
        let folder = match section {
            "secrets" => Path::new("/run/secrets"),
            _ => Path::new("/"),
        };
        let target = folder.join(node.text_at("target").unwrap_or(source));
        let kind = section.trim_end_matches('s');
        for key in ["uid", "gid"] {
            self.not_of_files(node.get(key), kind);
        }
        if let Some(path) = declared.text_at("file") {
            self.not_of_files(node.get("mode"), kind);
            return Some(File::OfMachine(Mount::Bind {
                source: path.into(),
                target,
                read_only: true,
                create_source: false,
            }));
        }
        let mode = node.text_at("mode").and_then(octal);
        Some(File::Written(WrittenFile {
            target,
            content: self.content(declared, kind)?,
            mode: mode.unwrap_or(WrittenFile::MODE),
        }))
    }

    /// What a secret or config says that is no file of this machine.
    fn content(&mut self, declared: &Node, kind: &str) -> Option<String> {
        if let Some(content) = declared.text_at("content") {
            return Some(content.to_owned());
        }
        if let Some(variable) = declared.at("environment")
            && let Some(name) = variable.as_text()
        {
            let value = self.environment.get(name).cloned();
            if value.is_none() {
                let message = format!("the variable `{name}` of a {kind} is not set");
                let finding = Finding::error(variable.span, message)
                    .help(format!("set {name} in the environment or in the .env file"));
                self.findings.push(finding);
            }
            return value;
        }
        let source = declared
            .get("external")
            .or_else(|| declared.get("driver"))?;
        let message = format!("a {kind} by `{}` is not honoured", source.key.text);
        let finding = Finding::warning(source.key.span, message)
            .help("the file is not there; write it beside the compose file and name it in `file`");
        self.findings.push(finding);
        None
    }

    fn not_of_files(&mut self, entry: Option<&Entry>, kind: &str) {
        if let Some(entry) = entry {
            let message = format!("`{}` of a {kind} is not honoured", entry.key.text);
            let finding = Finding::warning(entry.key.span, message).help(
                "a file of this machine is shown as it is, read-only; others are of the root",
            );
            self.findings.push(finding);
        }
    }

    fn target(&mut self, node: &Node, path: &str) -> Option<PathBuf> {
        let target = self.inside(node, "the target of a mount", path)?;
        if target == Path::new("/") {
            let why = "the root comes from the image; mount below it";
            self.findings.invalid(node, "the target of a mount", why);
            return None;
        }
        Some(target)
    }

    fn volume_name(&mut self, node: &Node) -> Option<VolumeName> {
        match VolumeName::new(node.as_text()?) {
            Ok(name) => Some(name),
            Err(error) => {
                let why = format!(
                    "a volume's name is {}; a path of this machine begins with ./ or /",
                    error.rule
                );
                self.findings.invalid(node, "the source of a mount", why);
                None
            }
        }
    }
}

/// What a secret or config is inside.
enum File {
    OfMachine(Mount),
    Written(WrittenFile),
}
