//! What an `up` makes current, and what a record wishes for. Computes only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{AppSpec, Revision, ServiceName};
use plan::{Desired, Selection, ServiceDesired, Wish};
use ports::{AppRecord, AppWish, ServiceRecord, Standing};
use traffic::Directory;

use crate::{ControlError, UpWish};

/// The revisions that an app makes current together.
pub(crate) struct Release {
    pub(crate) record: Arc<AppRecord>,
    pub(crate) document: String,
    pub(crate) directory: Arc<Directory>,
    /// The services that have a new revision by it.
    pub(crate) changed: Vec<(ServiceName, Revision)>,
}

/// The next release of an app: its record, document, directory, and the services that changed.
pub(crate) fn release(
    before: Option<(&AppRecord, &Directory)>,
    wish: UpWish,
) -> Result<Release, ControlError> {
    let addresses = before
        .map(|(_, directory)| directory.addresses().clone())
        .unwrap_or_default();
    let spec = Arc::new(wish.spec);
    let directory = Arc::new(Directory::new(Arc::clone(&spec), addresses)?);
    let chosen = with_dependencies(&spec, &wish.services);
    let mut services = BTreeMap::new();
    let mut changed = Vec::new();
    for (name, service) in &spec.services {
        let known = before.and_then(|(record, _)| record.services.get(name));
        let former = before.and_then(|(_, directory)| directory.service(name));
        let revision = match (known, former) {
            (Some(known), Some(former)) if former.runs_like(service) => known.revision,
            (Some(known), _) => known.revision.next(),
            (None, _) => Revision::FIRST,
        };
        if known.is_none_or(|known| known.revision != revision) {
            changed.push((name.clone(), revision));
        }
        let instances = wish.scales.get(name).copied();
        let standing = match (chosen.contains(name), known) {
            (true, _) => Standing::Selected,
            (false, Some(known)) => known.standing,
            (false, None) => Standing::Unselected,
        };
        let address = directory.addresses().get(name);
        let address = address.ok_or_else(|| model::AddressTaken {
            service: name.clone(),
        })?;
        services.insert(
            name.clone(),
            ServiceRecord {
                address,
                revision,
                instances,
                standing,
            },
        );
    }
    let record = AppRecord {
        name: spec.name.clone(),
        wish: AppWish::Up,
        services,
    };
    Ok(Release {
        record: Arc::new(record),
        document: wish.document,
        directory,
        changed,
    })
}

/// These services and all that they depend on; all services when none is named.
fn with_dependencies(spec: &AppSpec, named: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
    if named.is_empty() {
        return spec.services.keys().cloned().collect();
    }
    let mut chosen = BTreeSet::new();
    let mut open: Vec<&ServiceName> = named.iter().collect();
    while let Some(name) = open.pop() {
        let Some((name, service)) = spec.services.get_key_value(name) else {
            continue;
        };
        if chosen.insert(name.clone()) {
            open.extend(service.depends_on.keys());
        }
    }
    chosen
}

pub(crate) fn desired(record: &AppRecord, directory: &Directory, wish: Wish) -> Desired {
    let services = directory.spec().services.iter().filter_map(|(name, spec)| {
        let known = record.services.get(name)?;
        let desired = ServiceDesired {
            instances: known.instances.unwrap_or(spec.scale.instances),
            selection: match known.standing {
                Standing::Selected => Selection::Selected,
                Standing::Stopped | Standing::Unselected => Selection::Unselected,
            },
            ..ServiceDesired::new(Arc::clone(spec), known.revision)
        };
        Some((name.clone(), desired))
    });
    Desired {
        app: record.name.clone(),
        wish,
        services: services.collect(),
    }
}

pub(crate) fn wish_of(record: &AppRecord) -> Wish {
    match record.wish {
        AppWish::Up => Wish::Up,
        AppWish::Stopped => Wish::Stopped,
    }
}

/// Selects these services; all that were stopped when none is named.
pub(crate) fn select(record: &mut AppRecord, services: &BTreeSet<ServiceName>) {
    for (name, known) in &mut record.services {
        let stopped = known.standing == Standing::Stopped;
        if services.contains(name) || (services.is_empty() && stopped) {
            known.standing = Standing::Selected;
        }
    }
}

/// Has these services stopped.
pub(crate) fn unselect(record: &mut AppRecord, services: &BTreeSet<ServiceName>) {
    for (name, known) in &mut record.services {
        if services.contains(name) && known.standing == Standing::Selected {
            known.standing = Standing::Stopped;
        }
    }
}
