//! File systems of a service: `volumes` and `tmpfs`.

use model::Mount;

use super::read::Wanted;
use super::*;
use crate::units;

impl Lower<'_> {
    /// The mounts, those of `volumes` first. Of two at one target the later counts.
    pub(super) fn mounts(&mut self, fields: &read::Fields<'_>, draft: &mut DraftService) {
        let mut mounts = Mounts::default();
        if let Some(node) = fields.get("volumes") {
            for item in self.list(node, "`volumes`") {
                if let Some(mount) = self.mount(item) {
                    mounts.place(mount, item.span);
                }
            }
        }
        if let Some(node) = fields.get("tmpfs") {
            for item in self.one_or_many(node, "`tmpfs`") {
                let Some(mount) = self.tmpfs(item) else {
                    continue;
                };
                let before = mounts.at(target(&mount));
                if let Some((Mount::Bind { .. } | Mount::Volume { .. }, span)) = before {
                    let message = format!("{} is mounted twice", target(&mount).display());
                    let finding = Finding::error(item.span, message)
                        .also(*span, "first here")
                        .help("remove one of the two");
                    self.findings.push(finding);
                }
                mounts.place(mount, item.span);
            }
        }
        for (mount, span) in mounts.list {
            if let Mount::Volume {
                name: Some(name), ..
            } = &mount
            {
                let span = span.narrow(&self.findings.sources, name.as_str());
                draft.volumes.push((name.clone(), span));
            }
            draft.spec.mounts.push(mount);
        }
    }

    fn mount(&mut self, node: &Node) -> Option<Mount> {
        if let Value::Text(text) = &node.value {
            return self.short_mount(node, text);
        }
        if let Value::Mapping(_) = node.value {
            return self.long_mount(node);
        }
        self.wrong_type(node, "each item of `volumes`", Wanted::TextOrMapping);
        None
    }

    /// Reads `[SOURCE:]TARGET[:OPTIONS]`.
    fn short_mount(&mut self, node: &Node, text: &str) -> Option<Mount> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, inside, options) = match parts.as_slice() {
            [inside] if !inside.is_empty() => (None, *inside, ""),
            [source, inside] if parts.iter().all(|p| !p.is_empty()) => (Some(*source), *inside, ""),
            [source, inside, options] if parts.iter().all(|p| !p.is_empty()) => {
                (Some(*source), *inside, *options)
            }
            _ => {
                let why = "write it as SOURCE:TARGET, SOURCE:TARGET:ro, or TARGET alone";
                self.invalid(node, "a mount", why);
                return None;
            }
        };
        let target = self.target(node, inside)?;
        let read_only = self.mount_options(node, options);
        let Some(source) = source else {
            return Some(Mount::Volume {
                name: None,
                target,
                read_only,
            });
        };
        if source.starts_with(['.', '/', '~']) {
            return Some(Mount::Bind {
                source: self.source(node, source)?,
                target,
                read_only,
                create_source: true,
            });
        }
        Some(Mount::Volume {
            name: Some(self.volume_name(node, source)?),
            target,
            read_only,
        })
    }

    /// Whether the options say read-only.
    fn mount_options(&mut self, node: &Node, options: &str) -> bool {
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                // Of machines that share files with a virtual one; of labels; of copying.
                "cached" | "delegated" | "consistent" | "nocopy" | "z" | "Z" | "private"
                | "rprivate" => {}
                other => {
                    let span = node.span.narrow(&self.findings.sources, other);
                    let message = format!("the mount option `{other}` is not honoured");
                    let finding = Finding::warning(span, message).help("known are ro and rw");
                    self.findings.push(finding);
                }
            }
        }
        read_only
    }

    fn long_mount(&mut self, node: &Node) -> Option<Mount> {
        let fields = self.fields(node, &keys::MOUNT)?;
        let kinds = [
            ("bind", Kind::Bind),
            ("volume", Kind::Volume),
            ("tmpfs", Kind::Tmpfs),
        ];
        let Some(kind) = fields.get("type") else {
            let finding = Finding::error(node.span, "a mount needs a `type`")
                .help("it is one of bind, volume, tmpfs");
            self.findings.push(finding);
            return None;
        };
        let kind = self.choice(kind, "`type`", &kinds)?;
        let Some(target) = fields.get("target") else {
            let finding = Finding::error(node.span, "a mount needs a `target`")
                .help("`target` is the absolute path inside");
            self.findings.push(finding);
            return None;
        };
        let target = {
            let text = self.text(target, "`target`")?;
            self.target(target, text)?
        };
        let access = match fields.get("read_only") {
            Some(node) if self.flag(node, "`read_only`")? => Access::Read,
            Some(_) | None => Access::Write,
        };
        match kind {
            Kind::Bind => self.long_bind(node, &fields, target, access),
            Kind::Volume => {
                if let Some(options) = fields.get("volume") {
                    self.fields(options, &keys::MOUNT_VOLUME)?;
                }
                let name = match fields.get("source") {
                    Some(node) => {
                        let name = self.text(node, "`source`")?;
                        Some(self.volume_name(node, name)?)
                    }
                    None => None,
                };
                Some(Mount::Volume {
                    name,
                    target,
                    read_only: access == Access::Read,
                })
            }
            Kind::Tmpfs => self.long_tmpfs(&fields, target),
        }
    }

    fn long_bind(
        &mut self,
        node: &Node,
        fields: &read::Fields<'_>,
        target: PathBuf,
        access: Access,
    ) -> Option<Mount> {
        let Some(source) = fields.get("source") else {
            let finding = Finding::error(node.span, "a bind mount needs a `source`")
                .help("`source` is a path of this machine");
            self.findings.push(finding);
            return None;
        };
        let path = self.text(source, "`source`")?;
        let path = self.source(source, path)?;
        let mut create_source = true;
        if let Some(options) = fields.get("bind") {
            let options = self.fields(options, &keys::BIND)?;
            if let Some(node) = options.get("create_host_path") {
                create_source = self.flag(node, "`create_host_path`")?;
            }
        }
        Some(Mount::Bind {
            source: path,
            target,
            read_only: access == Access::Read,
            create_source,
        })
    }

    fn long_tmpfs(&mut self, fields: &read::Fields<'_>, target: PathBuf) -> Option<Mount> {
        let (mut size_max, mut mode) = (None, None);
        if let Some(options) = fields.get("tmpfs") {
            let options = self.fields(options, &keys::MOUNT_TMPFS)?;
            if let Some(node) = options.get("size") {
                size_max = Some(self.bytes(node, "`size`")?).filter(|size| *size != 0);
            }
            mode = match options.get("mode") {
                Some(node) if matches!(node.value, Value::Integer(_)) => {
                    Some(self.number(node, "`mode`")?)
                }
                Some(node) => Some(self.parsed(node, "`mode`", octal)?),
                None => None,
            };
        }
        Some(Mount::Tmpfs {
            target,
            size_max,
            mode,
        })
    }

    /// Reads `TARGET[:size=…,mode=…]`.
    fn tmpfs(&mut self, node: &Node) -> Option<Mount> {
        let text = self.text(node, "each item of `tmpfs`")?;
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
                    .map_err(|error| error.to_string()),
                Some(_) | None => {
                    let span = node.span.narrow(&self.findings.sources, option);
                    let message = format!("the tmpfs option `{option}` is not honoured");
                    let finding = Finding::warning(span, message).help("known are size and mode");
                    self.findings.push(finding);
                    Ok(())
                }
            };
            if let Err(why) = read {
                self.invalid(node, &format!("the tmpfs option `{option}`"), why);
            }
        }
        Some(Mount::Tmpfs {
            target,
            size_max,
            mode,
        })
    }

    fn target(&mut self, node: &Node, path: &str) -> Option<PathBuf> {
        let target = self.inside(node, "the target of a mount", path)?;
        if target == Path::new("/") {
            let why = "the root comes from the image; mount below it";
            self.invalid(node, "the target of a mount", why);
            return None;
        }
        Some(target)
    }

    /// A path of this machine, from the project directory or from the home folder.
    fn source(&mut self, node: &Node, path: &str) -> Option<PathBuf> {
        let Some(below_home) = path.strip_prefix('~') else {
            return Some(absolute(self.project_directory, path));
        };
        let home = self.variables.get("HOME");
        match home {
            Some(home) if below_home.is_empty() || below_home.starts_with('/') => Some(absolute(
                Path::new(home),
                below_home.trim_start_matches('/'),
            )),
            Some(_) => {
                self.invalid(node, "the source of a mount", "only ~/ is known, not ~NAME");
                None
            }
            None => {
                self.invalid(
                    node,
                    "the source of a mount",
                    "the variable HOME is not set",
                );
                None
            }
        }
    }

    fn volume_name(&mut self, node: &Node, name: &str) -> Option<VolumeName> {
        match VolumeName::new(name) {
            Ok(name) => Some(name),
            Err(error) => {
                let why = format!(
                    "a volume's name is {}; a path of this machine begins with ./ or /",
                    error.rule
                );
                self.invalid(node, "the source of a mount", why);
                None
            }
        }
    }
}

/// Mounts in their order, one at each target.
#[derive(Debug, Default)]
struct Mounts {
    list: Vec<(Mount, Span)>,
    by_target: BTreeMap<PathBuf, usize>,
}

impl Mounts {
    fn at(&self, target: &Path) -> Option<&(Mount, Span)> {
        self.list.get(*self.by_target.get(target)?)
    }

    fn place(&mut self, mount: Mount, span: Span) {
        let index = self.by_target.get(target(&mount));
        match index.and_then(|&index| self.list.get_mut(index)) {
            Some(same) => *same = (mount, span),
            None => {
                let target = target(&mount).to_owned();
                self.by_target.insert(target, self.list.len());
                self.list.push((mount, span));
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bind,
    Volume,
    Tmpfs,
}

/// Whether an instance may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn octal(text: &str) -> Result<u32, &'static str> {
    let digits = text.trim_start_matches("0o");
    u32::from_str_radix(digits, 8).map_err(|_| "it is permission bits in octal, such as 1777")
}

fn target(mount: &Mount) -> &Path {
    match mount {
        Mount::Bind { target, .. } | Mount::Volume { target, .. } | Mount::Tmpfs { target, .. } => {
            target
        }
    }
}
