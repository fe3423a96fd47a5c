//! Docker's event stream, for as long as the engine is there.
//!
//! Each time the stream begins, also the first time, that is a gap: whoever listens looks at all
//! containers. Within one run of Docker nothing is missed, since the stream goes on behind the
//! last event that was seen; a Docker that was restarted has forgotten its past.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use ports::{EngineError, EngineEvent, InstanceState};
use tracing::{debug, info};

use crate::engine::Shared;
use crate::labels::{self, Identity};
use crate::{clock, failure, observe};

/// The pause before the stream is begun again, the first time and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// What is listened to. That a container starts is told by its gate.
const ACTIONS: [&str; 4] = ["die", "pause", "unpause", "destroy"];

/// Follows the stream, and begins it again whenever it ends.
pub(crate) async fn watch(shared: Arc<Shared>) {
    // Docker goes on behind this time, in nanoseconds since 1970.
    let mut last = clock::now();
    let mut pause = PAUSE_MIN;
    loop {
        let begun = last;
        if let Err(error) = follow(&shared, &mut last).await {
            debug!(%error, "Docker's events cannot be followed");
        }
        if last > begun {
            pause = PAUSE_MIN;
        }
        shared.link.reset().await;
        shared.networks.doubt().await;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn follow(shared: &Shared, last: &mut Duration) -> Result<(), EngineError> {
    let docker = shared.link.docker().await?;
    let cannot = |error| failure::explain("cannot follow Docker's events", &error);
    docker.ping().await.map_err(cannot)?;
    let home = shared.home.label();
    let mut filters = labels::filter(&[(labels::HOME, &home)]);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert("event".to_owned(), ACTIONS.map(str::to_owned).to_vec());
    let after = *last + Duration::from_nanos(1);
    let since = format!("{}.{:09}", after.as_secs(), after.subsec_nanos());
    let options = EventsOptionsBuilder::new().since(&since).filters(&filters);
    let mut events = docker.events(Some(options.build()));
    shared.note_docker();
    shared.tell(EngineEvent::Gap).await;
    info!("follows Docker's events");
    while let Some(event) = events.next().await {
        let event = event.map_err(cannot)?;
        if let Some(at) = event.time_nano.and_then(|at| u64::try_from(at).ok()) {
            *last = Duration::from_nanos(at).max(*last);
        }
        handle(shared, &docker, event).await;
    }
    Ok(())
}

async fn handle(shared: &Shared, docker: &bollard::Docker, event: EventMessage) {
    let attributes: HashMap<_, _> = event.actor.and_then(|a| a.attributes).unwrap_or_default();
    let (Some(Identity { id, .. }), Some(action)) = (Identity::read(&attributes), event.action)
    else {
        return;
    };
    let Some(instance) = shared.known(&id).filter(|known| !known.is_being_removed()) else {
        return;
    };
    match action.as_str() {
        "die" => {
            let code = attributes
                .get("exitCode")
                .and_then(|code| code.parse().ok());
            let mut status = observe::exit_status(code.unwrap_or(-1));
            let container = instance.container().unwrap_or_default();
            // It may be started again already, or gone.
            let seen = observe::look(docker, &id, &container).await.ok().flatten();
            if let Some(InstanceState::Exited(seen)) = seen.map(|seen| seen.state) {
                status = seen;
                instance.let_go().await;
            }
            shared.tell(EngineEvent::Exited { id, status }).await;
        }
        // What we asked for is no news.
        "pause" if !instance.is_frozen() => shared.tell(EngineEvent::Gap).await,
        "unpause" if instance.is_frozen() => shared.tell(EngineEvent::Gap).await,
        "destroy" => shared.tell(EngineEvent::Gap).await,
        _ => {}
    }
}
