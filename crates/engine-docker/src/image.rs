//! Images: what an instance is made from.

use bollard::Docker;
use bollard::models::ImageConfig;
use model::{Image, InstanceId, ServiceSpec};
use ports::EngineError;

use crate::failure;

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

/// What an image on this machine says of itself.
pub(crate) async fn inspect(
    docker: &Docker,
    id: &InstanceId,
    reference: &str,
) -> Result<ImageConfig, EngineError> {
    match docker.inspect_image(reference).await {
        Ok(image) => Ok(image.config.unwrap_or_default()),
        Err(error) if failure::is_absent(&error) => Err(EngineError::Forbidden {
            what: format!("cannot start {id}"),
            why: format!("there is no image {reference:?} on this machine"),
            hint: format!("docker pull {reference}"),
        }),
        Err(error) => Err(failure::explain(
            format!("cannot look at the image {reference:?}"),
            &error,
        )),
    }
}
