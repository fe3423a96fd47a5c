//! `healthcheck`, and what happens when a program ends: `restart`.

use std::time::Duration;

use model::{HealthTest, Healthcheck, Restart};

use super::*;

/// Why a text is no restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is one of \"no\", always, unless-stopped, on-failure and on-failure:N")]
struct InvalidRestart;

impl Lower<'_> {
    pub(super) fn healthcheck(&mut self, node: &Node) -> Option<Healthcheck> {
        let fields = self.fields(node, &keys::HEALTHCHECK)?;
        if let Some(disable) = fields.get("disable")
            && self.flag(disable, "`disable`")?
        {
            return None;
        }
        let Some(test) = fields.get("test") else {
            let finding = Finding::warning(node.span, "a `healthcheck` without a `test`")
                .help("the one of the image is not known; the service is ready when its ports are");
            self.findings.push(finding);
            return None;
        };
        // The test is read last, so that what is wrong in the rest is reported in any case.
        let mut check = Healthcheck::new(HealthTest::Command(Vec::new()));
        // As in Docker, 0 means the default.
        let mut duration = |key: &str, field: &mut Duration| {
            let node = fields.get(key)?;
            let duration = self.duration(node, &format!("`{key}`"))?;
            if !duration.is_zero() {
                *field = duration;
            }
            Some(())
        };
        duration("interval", &mut check.interval);
        duration("timeout", &mut check.timeout);
        duration("start_period", &mut check.start_period);
        duration("start_interval", &mut check.start_interval);
        if let Some(node) = fields.get("retries")
            && let Some(retries) = self.number(node, "`retries`")
            && retries != 0
        {
            check.retries = retries;
        }
        check.test = self.test(test)?;
        Some(check)
    }

    /// What is run; absent for `NONE`.
    fn test(&mut self, node: &Node) -> Option<HealthTest> {
        let Value::List(items) = &node.value else {
            return self
                .text(node, "`test`")
                .map(|line| HealthTest::Shell(line.to_owned()));
        };
        let texts = self.texts(node, "`test`");
        if texts.len() != items.len() {
            return None;
        }
        match texts.split_first() {
            Some((first, [])) if first == "NONE" => None,
            Some((first, words)) if first == "CMD" && !words.is_empty() => {
                Some(HealthTest::Command(words.to_vec()))
            }
            Some((first, [line])) if first == "CMD-SHELL" => Some(HealthTest::Shell(line.clone())),
            Some(_) | None => {
                let finding = Finding::error(node.span, "`test` is no test").help(
                    "write [\"CMD\", PROGRAM, …], [\"CMD-SHELL\", LINE], [\"NONE\"], or a line",
                );
                self.findings.push(finding);
                None
            }
        }
    }

    /// `restart`, else `deploy.restart_policy` as Compose reads it.
    pub(super) fn restart(&mut self, fields: &read::Fields<'_>, spec: &mut ServiceSpec) {
        if let Some(node) = fields.get("restart") {
            let restart = self.parsed(node, "`restart`", restart);
            spec.restart = restart.unwrap_or_default();
            return;
        }
        let deploy = fields.get("deploy");
        let policy = deploy.and_then(|deploy| deploy.get("restart_policy"));
        if let Some(policy) = policy {
            spec.restart = self.restart_policy(&policy.value).unwrap_or_default();
        }
    }

    fn restart_policy(&mut self, node: &Node) -> Option<Restart> {
        let fields = self.fields(node, &keys::RESTART_POLICY)?;
        let attempts_max = match fields.get("max_attempts") {
            Some(node) => Some(self.number(node, "`max_attempts`")?).filter(|max| *max != 0),
            None => None,
        };
        let conditions = [
            ("none", Restart::No),
            ("any", Restart::Always),
            ("on-failure", Restart::OnFailure { attempts_max }),
        ];
        match fields.get("condition") {
            Some(node) => self.choice(node, "`condition`", &conditions),
            None => Some(Restart::Always),
        }
    }
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
