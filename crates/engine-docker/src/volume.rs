//! Named volumes: Docker's, made when they are first mounted, removed with their app if asked.

use bollard::Docker;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder};
use model::AppName;
use ports::EngineError;

use crate::{failure, labels};

/// Removes the volumes of an app that are ours; external ones are not.
pub(crate) async fn remove(docker: &Docker, app: &AppName, home: &str) -> Result<(), EngineError> {
    let filter = labels::filter(&[(labels::APP, app.as_str()), (labels::HOME, home)]);
    let options = ListVolumesOptionsBuilder::new().filters(&filter).build();
    let listed = docker.list_volumes(Some(options)).await;
    let listed = listed
        .map_err(|error| failure::explain(format!("cannot list volumes of {app}"), &error))?;
    for volume in listed.volumes.unwrap_or_default() {
        let options = RemoveVolumeOptionsBuilder::new().build();
        match docker.remove_volume(&volume.name, Some(options)).await {
            Err(error) if !failure::is_absent(&error) => {
                let what = format!("cannot remove the volume {}", volume.name);
                return Err(failure::explain(what, &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
