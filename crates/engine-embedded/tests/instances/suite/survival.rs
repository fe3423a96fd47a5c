//! Daemons come and go; instances stay.

use std::process::ExitCode;

use crate::world::World;

/// The daemon that will be killed.
pub(crate) async fn be_a_daemon(_world: World) -> ExitCode {
    std::future::pending().await
}
