//! Images: what an instance is made from. One that is not on this machine is pulled.
//!
//! A pull is nobody's in particular: whoever needs the image waits for the same one, and it goes on
//! when they wait no longer.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageConfig};
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use model::{Image, InstanceId, ServiceSpec};
use ports::EngineError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

use crate::{credentials, failure};

/// How long a start waits for a pull before it says how far it is.
const PATIENCE: Duration = Duration::from_secs(45);

/// The pulls that are under way.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    /// The config.json with the credentials.
    config: Option<PathBuf>,
    by_reference: Mutex<BTreeMap<String, watch::Receiver<Pull>>>,
    /// Owns them.
    tasks: Mutex<JoinSet<()>>,
}

/// How far a pull is, or how it ended.
#[derive(Debug, Clone, Default)]
struct Pull {
    layers: BTreeMap<String, Layer>,
    ended: Option<Result<(), EngineError>>,
}

/// A layer of an image, while it is pulled.
#[derive(Debug, Clone, Copy, Default)]
struct Layer {
    bytes: u64,
    bytes_in_all: u64,
    here: Here,
}

/// Whether a layer is on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Here {
    #[default]
    No,
    Yes,
}

impl fmt::Display for Pull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = self.layers.values().filter(|layer| layer.here == Here::Yes);
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{} of {} layers, {:.1} of {:.1} MB",
            here.count(),
            self.layers.len(),
            megabytes(self.layers.values().map(|layer| layer.bytes).sum()),
            megabytes(self.layers.values().map(|layer| layer.bytes_in_all).sum()),
        )
    }
}

impl Pull {
    fn note(&mut self, said: CreateImageInfo) {
        let (Some(id), Some(status)) = (said.id, said.status) else {
            return;
        };
        // The first line names the tag, and has no layer.
        if status.starts_with("Pulling from") {
            return;
        }
        let layer = self.layers.entry(id).or_default();
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        match status.as_str() {
            "Downloading" => {
                let progress = said.progress_detail.unwrap_or_default();
                layer.bytes = number(progress.current).unwrap_or(layer.bytes);
                layer.bytes_in_all = number(progress.total).unwrap_or(layer.bytes_in_all);
            }
            "Download complete" | "Pull complete" | "Already exists" => {
                layer.bytes = layer.bytes_in_all;
                layer.here = Here::Yes;
            }
            _ => {}
        }
    }
}

/// The image of a service by the reference that Docker knows it by.
pub(crate) fn reference<'a>(
    id: &InstanceId,
    spec: &'a ServiceSpec,
) -> Result<&'a str, EngineError> {
    match &spec.image {
        Image::Reference(reference) => Ok(reference),
        Image::Host => Err(EngineError::Forbidden {
            what: format!("cannot start {id}"),
            why: "`image: host` is this machine's own files, and Docker has no such image"
                .to_owned(),
            hint: "name an image, or use the embedded engine (--engine embedded)".to_owned(),
        }),
    }
}

impl Pulls {
    pub(crate) fn new(config: Option<PathBuf>) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// What an image says of itself; it is pulled when it is not on this machine.
    pub(crate) async fn image(
        &self,
        docker: &Docker,
        reference: &str,
    ) -> Result<ImageConfig, EngineError> {
        if let Some(config) = inspect(docker, reference).await? {
            return Ok(config);
        }
        self.pull(docker, reference).await?;
        let config = inspect(docker, reference).await?;
        config.ok_or_else(|| EngineError::Failed {
            what: format!("cannot find the image {reference:?}"),
            why: "it was pulled, and is not there".to_owned(),
        })
    }

    /// Waits for a pull, which is begun unless it is under way.
    async fn pull(&self, docker: &Docker, reference: &str) -> Result<(), EngineError> {
        let mut progress = self.begin(docker, reference);
        let ended = progress.wait_for(|pull| pull.ended.is_some());
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        match ended.map(|pull| pull.map(|pull| pull.ended.clone())) {
            Ok(Ok(ended)) => ended.unwrap_or(Ok(())),
            Ok(Err(_)) => Err(EngineError::Failed {
                what: format!("cannot pull image {reference:?}"),
                why: "the pull was broken off".to_owned(),
            }),
            Err(_late) => Err(EngineError::Failed {
                what: format!("image {reference:?} is being pulled"),
                why: progress.borrow().to_string(),
            }),
        }
    }

    fn begin(&self, docker: &Docker, reference: &str) -> watch::Receiver<Pull> {
        let mut pulls = self
            .by_reference
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, pull| pull.borrow().ended.is_none() && pull.has_changed().is_ok());
        if let Some(pull) = pulls.get(reference) {
            return pull.clone();
        }
        let (sender, receiver) = watch::channel(Pull::default());
        pulls.insert(reference.to_owned(), receiver.clone());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(carry_out(
            docker.clone(),
            reference.to_owned(),
            self.config.clone(),
            sender,
        ));
        receiver
    }
}

async fn carry_out(
    docker: Docker,
    reference: String,
    config: Option<PathBuf>,
    progress: watch::Sender<Pull>,
) {
    info!(image = reference, "is pulled");
    let registry = credentials::registry(&reference);
    let credentials = credentials::find(config.as_deref(), registry).await;
    let options = CreateImageOptions {
        from_image: Some(reference.clone()),
        // Without a tag Docker would pull every tag that there is.
        tag: has_tag(&reference)
            .then_some(String::new())
            .or(Some("latest".to_owned())),
        ..CreateImageOptions::default()
    };
    let mut said = docker.create_image(Some(options), None, credentials);
    let ended = loop {
        match said.next().await {
            Some(Ok(said)) => progress.send_modify(|pull| pull.note(said)),
            Some(Err(error)) => break Err(explain(&reference, registry, &error)),
            None => break Ok(()),
        }
    };
    info!(image = reference, progress = %*progress.borrow(), "the pull has ended");
    progress.send_modify(|pull| pull.ended = Some(ended));
}

/// What an image on this machine says of itself; `None` when it is not there.
async fn inspect(docker: &Docker, reference: &str) -> Result<Option<ImageConfig>, EngineError> {
    match docker.inspect_image(reference).await {
        Ok(image) => Ok(Some(image.config.unwrap_or_default())),
        Err(error) if failure::is_absent(&error) => Ok(None),
        Err(error) => Err(failure::explain(
            format!("cannot look at the image {reference:?}"),
            &error,
        )),
    }
}

/// Whether a reference says which of a repository's images it means, by tag or digest.
fn has_tag(reference: &str) -> bool {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    name.contains([':', '@'])
}

/// A pull's failure, with what was tried.
fn explain(reference: &str, registry: &str, error: &Error) -> EngineError {
    const FINAL: [&str; 6] = [
        "manifest unknown",
        "not found",
        "access denied",
        "unauthorized",
        "no basic auth credentials",
        "invalid reference",
    ];
    let what = format!("cannot pull image {reference:?}");
    let said = failure::sentence(error);
    let why = format!("it is not on this machine, and {registry} says: {said}");
    if FINAL.iter().any(|part| said.contains(part)) {
        let hint =
            format!("check its name; `docker login {registry}` if it is private; or build it");
        return EngineError::Forbidden { what, why, hint };
    }
    match failure::explain(what, error) {
        EngineError::Failed { what, .. } => EngineError::Failed { what, why },
        other @ (EngineError::Forbidden { .. }
        | EngineError::NoInstance { .. }
        | EngineError::Unreachable { .. }) => other,
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn progress_counts_layers_and_bytes() {
        let said = |id: &str, status: &str, current, total| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail { current, total }),
            ..CreateImageInfo::default()
        };
        let mut pull = Pull::default();
        pull.note(said("1.0", "Pulling from team/web", None, None));
        pull.note(said("a", "Pulling fs layer", None, None));
        pull.note(said("b", "Already exists", None, None));
        pull.note(said("a", "Downloading", Some(500_000), Some(2_000_000)));
        assert_eq!(pull.to_string(), "1 of 2 layers, 0.5 of 2.0 MB");
        pull.note(said("a", "Pull complete", None, None));
        assert_eq!(pull.to_string(), "2 of 2 layers, 2.0 of 2.0 MB");
    }

    #[test]
    fn only_a_tag_or_digest_says_which_image() {
        for (reference, expected) in [
            ("redis", false),
            ("localhost:5000/redis", false),
            ("localhost:5000/redis:7", true),
            ("redis@sha256:00", true),
        ] {
            assert_eq!(has_tag(reference), expected, "{reference}");
        }
    }
}
