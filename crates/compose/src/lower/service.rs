//! One service: its program, its health, and the order of the other files.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    Condition, Dependency, HealthTest, Healthcheck, Image, Restart, ServiceName, ServiceSpec,
    Signal,
};

use text::{Value, units};

use super::{Entry, Finding, Lower, Node};

/// Why a text is no restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is one of \"no\", always, unless-stopped, on-failure and on-failure:N")]
struct InvalidRestart;

/// Why a text is no condition of a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is one of none, on-failure, any, always and unless-stopped")]
struct InvalidCondition;

/// Why a text is no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is the name of an image, such as web:7, or host")]
struct InvalidImage;

impl Lower<'_> {
    pub(super) fn service(&mut self, name: ServiceName, entry: &Entry) -> ServiceSpec {
        let node = &entry.value;
        let image = self.image(entry).unwrap_or(Image::Host);
        let mut spec = ServiceSpec::new(name, image);
        self.process(node, &mut spec);
        self.dependencies(node, &mut spec);
        self.ports(node, &mut spec);
        self.attachments(node, &mut spec);
        spec.mounts = self.mounts(node);
        self.files(node, &mut spec);
        spec.limits = self.limits(node);
        spec.healthcheck = self.healthcheck(node);
        spec.restart = self.restart(node);
        self.roads(node, &mut spec);
        spec
    }

    fn image(&mut self, entry: &Entry) -> Option<Image> {
        let node = &entry.value;
        // As in Compose, an empty text is no image.
        let is_empty = node.text_at("image") == Some("");
        if node.at("image").is_some() && !is_empty {
            return self.parsed(node, "image", image);
        }
        // A service without a value was told to be one.
        if matches!(node.value, Value::Broken | Value::Null)
            || (node.get("image").is_some() && !is_empty)
        {
            return None;
        }
        if node.get("build").is_some() {
            let app = self.app.text_at("name").unwrap_or_default();
            return Some(Image::Reference(format!("{app}-{}", entry.key.text)));
        }
        let finding = Finding::error(entry.key.span, "the service has no image")
            .help("add `image: host` for a program of this machine");
        self.findings.push(finding);
        None
    }

    fn process(&mut self, node: &Node, spec: &mut ServiceSpec) {
        spec.entrypoint = node.texts_at("entrypoint");
        spec.command = node.texts_at("command");
        if let Some(directory) = node.at("working_dir")
            && let Some(path) = directory.as_text()
        {
            spec.working_dir = self.inside(directory, "`working_dir`", path);
        }
        spec.user = node.text_at("user").map(str::to_owned);
        spec.hostname = node.text_at("hostname").map(str::to_owned);
        spec.read_only = node.flag_at("read_only") == Some(true);
        if let Some(signal) = self.parsed(node, "stop_signal", Signal::parse) {
            spec.stop_signal = signal;
        }
        if let Some(period) = duration(node, "stop_grace_period") {
            spec.stop_grace_period = period;
        }
        let pairs = |key, absent: fn() -> Option<String>| -> BTreeMap<String, String> {
            let entries = node.entries_at(key).iter();
            let value = |entry: &Entry| entry.value.scalar().or_else(absent);
            entries
                .filter_map(|entry| Some((entry.key.text.clone(), value(entry)?)))
                .collect()
        };
        // A variable that nobody gives a value is not there; a label without one is empty.
        spec.environment = pairs("environment", || None);
        spec.labels = pairs("labels", || Some(String::new()));
    }

    fn dependencies(&mut self, node: &Node, spec: &mut ServiceSpec) {
        for entry in node.entries_at("depends_on") {
            if !self.runs(&entry.key.text) {
                continue;
            }
            let Some(name) = self.named(&entry.key, ServiceName::new) else {
                continue;
            };
            let condition = match entry.value.text_at("condition") {
                Some("service_healthy") => Condition::Healthy,
                Some("service_completed_successfully") => Condition::CompletedSuccessfully,
                Some(_) | None => Condition::Started,
            };
            let dependency = Dependency {
                condition,
                required: entry.value.flag_at("required") != Some(false),
                restart: entry.value.flag_at("restart") == Some(true),
            };
            spec.depends_on.insert(name, dependency);
        }
    }

    fn healthcheck(&mut self, node: &Node) -> Option<Healthcheck> {
        let node = node.at("healthcheck")?;
        if node.flag_at("disable") == Some(true) {
            return None;
        }
        let Some(test) = node.get("test") else {
            let finding = Finding::warning(node.span, "a `healthcheck` without a `test`")
                .help("the one of the image is not known; the service is ready when its ports are");
            self.findings.push(finding);
            return None;
        };
        let texts = node.texts_at("test")?;
        let test = match texts.split_first() {
            Some((first, words)) if first == "CMD" && !words.is_empty() => {
                HealthTest::Command(words.to_vec())
            }
            Some((first, [line])) if first == "CMD-SHELL" => HealthTest::Shell(line.clone()),
            Some((first, [])) if first == "NONE" => return None,
            Some(_) | None => {
                let finding = Finding::error(test.value.span, "`test` is no test").help(
                    "write [\"CMD\", PROGRAM, …], [\"CMD-SHELL\", LINE], [\"NONE\"], or a line",
                );
                self.findings.push(finding);
                return None;
            }
        };
        let mut check = Healthcheck::new(test);
        // As in Docker, 0 means the default.
        let set = |key, field: &mut Duration| {
            if let Some(duration) = duration(node, key).filter(|duration| !duration.is_zero()) {
                *field = duration;
            }
        };
        set("interval", &mut check.interval);
        set("timeout", &mut check.timeout);
        set("start_period", &mut check.start_period);
        set("start_interval", &mut check.start_interval);
        if let Some(retries) = self.number(node, "retries").filter(|retries| *retries != 0) {
            check.retries = retries;
        }
        Some(check)
    }

    /// `restart`, else `deploy.restart_policy` as Compose reads it.
    fn restart(&mut self, node: &Node) -> Restart {
        if node.at("restart").is_some() {
            return self.parsed(node, "restart", restart).unwrap_or_default();
        }
        let Some(policy) = node
            .at("deploy")
            .and_then(|deploy| deploy.at("restart_policy"))
        else {
            return Restart::No;
        };
        let attempts_max = self.number(policy, "max_attempts").filter(|max| *max != 0);
        match policy.text_at("condition") {
            Some("none") => Restart::No,
            Some("on-failure") => Restart::OnFailure { attempts_max },
            Some("any") | None => Restart::Always,
            // The reference takes the words of `restart` as well.
            Some(_) => self
                .parsed(policy, "condition", condition)
                .unwrap_or_default(),
        }
    }
}

fn condition(text: &str) -> Result<Restart, InvalidCondition> {
    restart(text).map_err(|InvalidRestart| InvalidCondition)
}

/// The duration of a key.
pub(super) fn duration(node: &Node, key: &str) -> Option<Duration> {
    units::duration(node.text_at(key)?).ok()
}

fn image(text: &str) -> Result<Image, InvalidImage> {
    if text == "host" {
        return Ok(Image::Host);
    }
    if !is_reference(text) {
        return Err(InvalidImage);
    }
    Ok(Image::Reference(text.to_owned()))
}

/// Whether a text is `[HOST[:PORT]/]NAME[:TAG][@DIGEST]` (the grammar of image references).
fn is_reference(text: &str) -> bool {
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest)),
        None => (text, None),
    };
    let tag_at = text.rfind(':').filter(|&at| !text[at..].contains('/'));
    let (name, tag) = match tag_at {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let tag_is_valid = tag.is_none_or(|tag| {
        (1..=128).contains(&tag.len()) && tag.chars().all(is_word) && !tag.starts_with(['.', '-'])
    });
    let digest_is_valid = digest.is_none_or(|digest| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
        })
    });
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':', '[']) || host == "localhost" => {
            (Some(host), path)
        }
        Some(_) | None => (None, name),
    };
    let host_is_valid = host.is_none_or(|host| {
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
        host.chars().all(is_host)
    });
    let part_is_valid = |part: &str| {
        let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(is_small)
            && part.ends_with(is_small)
            && part.chars().all(|c| is_small(c) || "._-".contains(c))
    };
    tag_is_valid && digest_is_valid && host_is_valid && path.split('/').all(part_is_valid)
}

fn restart(text: &str) -> Result<Restart, InvalidRestart> {
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("no", "") => Restart::No,
        ("always", "") => Restart::Always,
        ("unless-stopped", "") => Restart::UnlessStopped,
        ("on-failure", "") => Restart::OnFailure { attempts_max: None },
        ("on-failure", attempts) => {
            let attempts = attempts.parse().map_err(|_| InvalidRestart)?;
            // As in Docker, 0 means no limit.
            let attempts_max = Some(attempts).filter(|attempts| *attempts != 0);
            Restart::OnFailure { attempts_max }
        }
        _ => return Err(InvalidRestart),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_registries() {
        for text in [
            "web",
            "web:7",
            "library/web",
            "ghcr.io/a/b_c:v1.2",
            "localhost:5000/a",
            "localhost/a",
            "web@sha256:0123456789abcdef0123456789abcdef",
            "a--b/c__d",
        ] {
            assert!(is_reference(text), "{text}");
        }
        for text in [
            "", "Web", "web:", "web: 7", ":7", "a//b", "/a", "a/", "web:a/b:", "web@x", "-a", "a b",
        ] {
            assert!(!is_reference(text), "{text}");
        }
    }
}
