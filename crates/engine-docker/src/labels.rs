//! The labels by which a container says what it is, and its name.

use std::collections::HashMap;
use std::num::NonZeroU32;

use model::{AppName, InstanceId, Revision};

/// Whose it is: the state folder of the daemon.
pub(crate) const HOME: &str = "roadstead.home";
/// Of which app it is part.
pub(crate) const APP: &str = "roadstead.app";
/// Of which service.
const SERVICE: &str = "roadstead.service";
/// Of which revision, a number.
const REVISION: &str = "roadstead.revision";
/// Which instance it is: `APP/SERVICE/NUMBER`.
pub(crate) const INSTANCE: &str = "roadstead.instance";

/// What Docker's own tools group by.
pub(crate) const PROJECT: &str = "com.docker.compose.project";

type Labels = HashMap<String, String>;

/// What a container of ours is, by its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: InstanceId,
    pub(crate) revision: Revision,
}

impl Identity {
    /// The identity that labels tell, if they do.
    pub(crate) fn read(labels: &Labels) -> Option<Self> {
        let revision = labels.get(REVISION)?.parse::<NonZeroU32>().ok()?;
        Some(Self {
            id: InstanceId::parse(labels.get(INSTANCE)?).ok()?,
            revision: Revision(revision),
        })
    }

    /// The labels that tell it, ours and Compose's.
    pub(crate) fn write(&self, home: &str) -> Labels {
        let Self { id, revision } = self;
        let mut labels = of_app(home, &id.app);
        labels.extend(
            [
                (SERVICE, id.service.to_string()),
                (REVISION, revision.0.to_string()),
                (INSTANCE, id.to_string()),
                ("com.docker.compose.service", id.service.to_string()),
                ("com.docker.compose.container-number", id.number.to_string()),
                ("com.docker.compose.oneoff", "False".to_owned()),
                // `docker compose ps` shows only what has one.
                (
                    "com.docker.compose.config-hash",
                    format!("roadstead-{revision}"),
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        labels
    }
}

/// The labels of what belongs to an app as a whole.
pub(crate) fn of_app(home: &str, app: &AppName) -> Labels {
    [
        (HOME, home.to_owned()),
        (APP, app.to_string()),
        (PROJECT, app.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A filter by labels, each `NAME=VALUE`.
pub(crate) fn filter(labels: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
    HashMap::from([("label".to_owned(), labels.collect())])
}

/// The container's name, as Compose forms it.
pub(crate) fn container_name(id: &InstanceId) -> String {
    format!("{}-{}-{}", id.app, id.service, id.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_writes() {
        let identity = Identity {
            id: InstanceId::parse("demo/web/3").unwrap(),
            revision: Revision(NonZeroU32::new(7).unwrap()),
        };
        let labels = identity.write("/var/lib/roads");
        assert_eq!(Identity::read(&labels), Some(identity));
        assert_eq!(labels[PROJECT], "demo");
        assert_eq!(Identity::read(&HashMap::new()), None);
    }
}
