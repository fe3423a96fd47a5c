//! Waiting until an instance listens.

use std::time::Duration;

use model::InstanceId;
use netns::{Listening, Namespace};
use ports::EngineError;
use tokio::time::Instant;

/// How often an instance that starts is asked whether it listens, at first and later.
const ASK_OFTEN: Duration = Duration::from_micros(500);
const ASK: Duration = Duration::from_millis(2);
/// How long "at first" is.
const ASK_OFTEN_FOR: Duration = Duration::from_secs(3);
/// How often it is asked whether it is still there.
const ASK_ALIVE: Duration = Duration::from_millis(50);

/// Looks at the ports of a namespace until one listens, or `is_alive` says no.
pub(crate) async fn until(
    id: &InstanceId,
    namespace: &Namespace,
    ports: &[u16],
    is_alive: impl Fn() -> bool,
) -> Result<Option<u16>, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::Failed {
        what: format!("cannot see whether {id} listens"),
        why: error.to_string(),
    };
    let mut listening = Listening::open(namespace).map_err(|error| failed(&error))?;
    let begun = Instant::now();
    let mut seen_alive = begun;
    loop {
        for &port in ports {
            if listening.accepts(port).map_err(|error| failed(&error))? {
                return Ok(Some(port));
            }
        }
        let now = Instant::now();
        if now - seen_alive > ASK_ALIVE {
            seen_alive = now;
            if !is_alive() {
                return Err(EngineError::NoInstance { id: id.clone() });
            }
        }
        let early = now - begun < ASK_OFTEN_FOR;
        pause_for(if early { ASK_OFTEN } else { ASK }).await;
    }
}

/// Tokio's timer has a resolution of a millisecond, which is too coarse here; a thread of the
/// blocking pool sleeps as short as the kernel can.
pub(crate) async fn pause_for(time: Duration) {
    if time >= Duration::from_millis(1) {
        tokio::time::sleep(time).await;
        return;
    }
    // The closure cannot panic and is not cancelled, so its outcome says nothing.
    let _ = tokio::task::spawn_blocking(move || std::thread::sleep(time)).await;
}
