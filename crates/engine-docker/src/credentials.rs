//! Who we are to a registry: what `docker login` wrote down, or the helper that it names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tracing::warn;

/// The registry of references that name none, and the name that credentials for it have.
const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The parts of Docker's config.json that say who we are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    /// `USER:PASSWORD` in base 64.
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// What a helper answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The registry that an image's reference names (distribution's `reference`: the first part, if it
/// looks like a machine's name).
pub(crate) fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        Some(_) | None => HUB,
    }
}

/// The credentials for a registry; none when nobody logged in there.
pub(crate) async fn find(path: Option<&Path>, registry: &str) -> Option<DockerCredentials> {
    let path = path?;
    let text = tokio::fs::read_to_string(path).await.ok()?;
    let config: Config = match serde_json::from_str(&text) {
        Ok(config) => config,
        Err(error) => {
            warn!(path = %path.display(), %error, "Docker's config cannot be read");
            return None;
        }
    };
    let key = if registry == HUB { HUB_KEY } else { registry };
    if let Some(helper) = config.helpers.get(registry).or(config.store.as_ref()) {
        return ask(helper, key).await;
    }
    // Older clients wrote registries as URLs.
    let url = format!("https://{registry}");
    let written = [key, &url, registry]
        .into_iter()
        .find_map(|key| config.auths.get(key));
    from_auth(written?, key)
}

fn from_auth(written: &Auth, key: &str) -> Option<DockerCredentials> {
    let decoded = STANDARD.decode(written.auth.as_ref()?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(DockerCredentials {
        username: Some(username.to_owned()),
        password: Some(password.to_owned()),
        identitytoken: written.identitytoken.clone(),
        serveraddress: Some(key.to_owned()),
        ..DockerCredentials::default()
    })
}

/// Asks `docker-credential-HELPER` (docker-credential-helpers, "Development").
async fn ask(helper: &str, key: &str) -> Option<DockerCredentials> {
    let program = format!("docker-credential-{helper}");
    let mut command = Command::new(&program);
    command.arg("get").kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let answer = async {
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(key.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = match answer.await {
        Ok(output) => output,
        Err(error) => {
            warn!(%program, %error, "a credential helper cannot be run");
            return None;
        }
    };
    // It fails where it knows nobody.
    let answer: Answer = serde_json::from_slice(&output.stdout).ok()?;
    let mut found = DockerCredentials {
        serveraddress: Some(key.to_owned()),
        ..DockerCredentials::default()
    };
    if answer.username == "<token>" {
        found.identitytoken = Some(answer.secret);
    } else {
        found.username = Some(answer.username);
        found.password = Some(answer.secret);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry_or_means_the_hub() {
        for (reference, expected) in [
            ("redis:7", HUB),
            ("team/web", HUB),
            ("ghcr.io/team/web@sha256:00", "ghcr.io"),
            ("localhost/web", "localhost"),
            ("127.0.0.1:5000/web:1", "127.0.0.1:5000"),
        ] {
            assert_eq!(registry(reference), expected, "{reference}");
        }
    }

    #[test]
    fn what_login_wrote_is_read() {
        let config: Config = serde_json::from_str(
            r#"{"auths": {"r.example": {"auth": "bWU6cGFzczp3b3Jk"}}, "credsStore": "pass",
                "credHelpers": {"q.example": "q"}, "detachKeys": "ctrl-x"}"#,
        )
        .unwrap();
        let found = from_auth(&config.auths["r.example"], "r.example").unwrap();
        assert_eq!(found.username.as_deref(), Some("me"));
        assert_eq!(found.password.as_deref(), Some("pass:word"));
        assert_eq!(
            (config.store.as_deref(), config.helpers.len()),
            (Some("pass"), 1)
        );
    }
}
