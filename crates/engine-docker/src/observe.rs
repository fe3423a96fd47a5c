//! What Docker says of containers, in our words.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::stream::{self, StreamExt};
use model::{ExitStatus, InstanceId, Signal};
use ports::{EngineError, InstanceState, Sighting};

use crate::labels::{self, Identity};
use crate::{clock, failure};

/// How many containers are looked at at one time.
const LOOKS: usize = 16;

/// A container of ours.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) identity: Identity,
    /// Docker's id of it.
    pub(crate) container: String,
    pub(crate) hostname: String,
    pub(crate) state: InstanceState,
    /// Its first process, while it runs.
    pub(crate) pid: Option<u32>,
    started: Duration,
}

impl Seen {
    pub(crate) fn sighting(&self) -> Sighting {
        Sighting {
            id: self.identity.id.clone(),
            revision: self.identity.revision,
            state: self.state,
            started: clock::moment(self.started),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        match self.state {
            InstanceState::Running | InstanceState::Frozen => true,
            InstanceState::Exited(_) => false,
        }
    }

    /// What `inspect` says; `None` for what is not ours, or is on its way out.
    fn read(found: ContainerInspectResponse) -> Option<Self> {
        let config = found.config?;
        let state = found.state?;
        Some(Self {
            identity: Identity::read(config.labels.as_ref()?)?,
            container: found.id?,
            hostname: config.hostname.unwrap_or_default(),
            pid: state
                .pid
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|&pid| pid > 0),
            started: state
                .started_at
                .as_deref()
                .and_then(model::parse_rfc3339)
                .unwrap_or_default(),
            state: instance_state(&state)?,
        })
    }
}

/// All containers of a home, with what they do.
pub(crate) async fn all(docker: &Docker, home: &str) -> Result<Vec<Seen>, EngineError> {
    let containers = list(docker, &[(labels::HOME, home)]).await?;
    let looks = containers.into_iter().map(|container| async move {
        match docker.inspect_container(&container, None).await {
            Ok(found) => Ok(Seen::read(found)),
            // It was removed since it was listed.
            Err(error) if failure::is_absent(&error) => Ok(None),
            Err(error) => Err(failure::explain("cannot look at a container", &error)),
        }
    });
    let looked: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS).collect().await;
    let seen: Result<Vec<_>, _> = looked.into_iter().collect();
    Ok(seen?.into_iter().flatten().collect())
}

/// The container of an instance, if it has one.
pub(crate) async fn one(
    docker: &Docker,
    home: &str,
    id: &InstanceId,
) -> Result<Option<Seen>, EngineError> {
    let name = id.to_string();
    let filter = [(labels::HOME, home), (labels::INSTANCE, name.as_str())];
    let Some(container) = list(docker, &filter).await?.into_iter().next() else {
        return Ok(None);
    };
    look(docker, id, &container).await
}

/// What a container does; `None` when it is gone.
pub(crate) async fn look(
    docker: &Docker,
    id: &InstanceId,
    container: &str,
) -> Result<Option<Seen>, EngineError> {
    match docker.inspect_container(container, None).await {
        Ok(found) => Ok(Seen::read(found)),
        Err(error) if failure::is_absent(&error) => Ok(None),
        Err(error) => Err(failure::about(id, "look at", &error)),
    }
}

async fn list(docker: &Docker, filter: &[(&str, &str)]) -> Result<Vec<String>, EngineError> {
    let filter = labels::filter(filter);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter);
    let listed: Result<_, Error> = docker.list_containers(Some(options.build())).await;
    let listed = listed.map_err(|error| failure::explain("cannot list the containers", &error))?;
    Ok(listed
        .into_iter()
        .filter_map(|summary| summary.id)
        .collect())
}

fn instance_state(state: &ContainerState) -> Option<InstanceState> {
    use ContainerStateStatusEnum as Status;
    match state.status? {
        Status::RUNNING | Status::RESTARTING | Status::STOPPING => Some(InstanceState::Running),
        Status::PAUSED => Some(InstanceState::Frozen),
        Status::EXITED => Some(InstanceState::Exited(ended(state))),
        // It was never started: whoever created it did not get so far.
        Status::CREATED => Some(InstanceState::Exited(ExitStatus::Unknown)),
        Status::EMPTY | Status::REMOVING | Status::DEAD => None,
    }
}

fn ended(state: &ContainerState) -> ExitStatus {
    if state.oom_killed == Some(true) {
        return ExitStatus::OutOfMemory;
    }
    exit_status(state.exit_code.unwrap_or(-1))
}

/// What Docker's exit code says. The first process of a container only dies of signals that cannot
/// be handled, or that are its own fault; other codes above 128 are what a shell says of a child.
pub(crate) fn exit_status(code: i64) -> ExitStatus {
    const DEADLY: [&str; 5] = ["KILL", "SEGV", "BUS", "ILL", "FPE"];
    let Ok(code) = u8::try_from(code) else {
        return ExitStatus::Unknown;
    };
    let signals = DEADLY.iter().filter_map(|name| Signal::parse(name).ok());
    let mut deadly = signals.filter(|signal| Some(signal.number()) == code.checked_sub(128));
    deadly
        .next()
        .map_or(ExitStatus::Code(code), ExitStatus::Signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kills_a_first_process_is_a_signal() {
        for (code, expected) in [
            (0, ExitStatus::Code(0)),
            (137, ExitStatus::Signal(Signal::KILL)),
            (139, ExitStatus::Signal(Signal::parse("SEGV").unwrap())),
            (143, ExitStatus::Code(143)),
            (255, ExitStatus::Code(255)),
            (-1, ExitStatus::Unknown),
        ] {
            assert_eq!(exit_status(code), expected, "{code}");
        }
    }

    #[test]
    fn a_container_that_was_never_started_counts_as_ended() {
        let state = |status, oom_killed| ContainerState {
            status: Some(status),
            oom_killed: Some(oom_killed),
            exit_code: Some(137),
            ..ContainerState::default()
        };
        use ContainerStateStatusEnum as Status;
        for (state, expected) in [
            (
                state(Status::CREATED, false),
                Some(InstanceState::Exited(ExitStatus::Unknown)),
            ),
            (
                state(Status::EXITED, true),
                Some(InstanceState::Exited(ExitStatus::OutOfMemory)),
            ),
            (state(Status::PAUSED, false), Some(InstanceState::Frozen)),
            (state(Status::DEAD, false), None),
        ] {
            assert_eq!(instance_state(&state), expected);
        }
    }
}
