//! Rows to the model and back, by hand: the model changes daily, a file that was written stays.
//!
//! A fact is its name and, where it has one, a detail in JSON.

use std::num::NonZeroU32;
use std::time::Duration;

use model::{
    AppName, Event, ExitStatus, Fact, InstanceId, Revision, ServiceAddress, ServiceName, Signal,
    Timestamp,
};
use ports::{AppRecord, AppWish, ServiceRecord, Standing, StoredEvent};
use rusqlite::Row;
use serde_json::{Value, json};

/// Why a row is no record that this release writes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("{0}")]
    Row(#[from] rusqlite::Error),
    #[error("{0}")]
    Name(#[from] model::InvalidName),
    #[error("{column} {text:?} is not known")]
    Column { column: &'static str, text: String },
    #[error("fact {name:?} has the detail {detail:?}")]
    Detail { name: String, detail: String },
}

/// An app of `name, document, wish`, without its services, and its document.
pub(crate) fn app(row: &Row<'_>) -> Result<(AppRecord, String), Unreadable> {
    let record = AppRecord {
        name: AppName::new(&row.get::<_, String>(0)?)?,
        wish: wish(row.get(2)?)?,
        services: std::collections::BTreeMap::new(),
    };
    Ok((record, row.get(1)?))
}

/// A service of `app, name, address, revision, instances, selected`.
pub(crate) fn service(row: &Row<'_>) -> Result<(AppName, ServiceName, ServiceRecord), Unreadable> {
    let address: String = row.get(2)?;
    let revision: u32 = row.get(3)?;
    let unknown = |column, text: &dyn ToString| Unreadable::Column {
        column,
        text: text.to_string(),
    };
    let record = ServiceRecord {
        address: address
            .parse()
            .ok()
            .and_then(ServiceAddress::from_ip)
            .ok_or_else(|| unknown("address", &address))?,
        revision: NonZeroU32::new(revision)
            .map(Revision)
            .ok_or_else(|| unknown("revision", &revision))?,
        instances: row.get(4)?,
        standing: standing(row.get(5)?)?,
    };
    let app = AppName::new(&row.get::<_, String>(0)?)?;
    let name = ServiceName::new(&row.get::<_, String>(1)?)?;
    Ok((app, name, record))
}

/// An event of `number, at, app, service, instance, fact, detail`.
pub(crate) fn event(row: &Row<'_>) -> Result<StoredEvent, Unreadable> {
    let service: Option<String> = row.get(3)?;
    let instance: Option<String> = row.get(4)?;
    let detail: Option<String> = row.get(6)?;
    Ok(StoredEvent {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        event: Event {
            at: Timestamp(row.get::<_, i64>(1)?.unsigned_abs()),
            app: AppName::new(&row.get::<_, String>(2)?)?,
            service: service.map(|name| ServiceName::new(&name)).transpose()?,
            instance: instance.map(|id| InstanceId::parse(&id)).transpose()?,
            fact: fact(&row.get::<_, String>(5)?, detail.as_deref())?,
        },
    })
}

/// How a standing is written: as the column `selected`, in which 1 and 0 were all there was.
pub(crate) fn standing_number(standing: Standing) -> u8 {
    match standing {
        Standing::Unselected => 0,
        Standing::Selected => 1,
        Standing::Stopped => 2,
    }
}

fn standing(number: u8) -> Result<Standing, Unreadable> {
    [Standing::Unselected, Standing::Selected, Standing::Stopped]
        .into_iter()
        .find(|&standing| standing_number(standing) == number)
        .ok_or(Unreadable::Column {
            column: "selected",
            text: number.to_string(),
        })
}

/// How a wish is written.
pub(crate) fn wish_text(wish: AppWish) -> &'static str {
    match wish {
        AppWish::Up => "up",
        AppWish::Stopped => "stopped",
    }
}

fn wish(text: String) -> Result<AppWish, Unreadable> {
    [AppWish::Up, AppWish::Stopped]
        .into_iter()
        .find(|&wish| wish_text(wish) == text)
        .ok_or(Unreadable::Column {
            column: "wish",
            text,
        })
}

/// What a fact says beyond its name.
pub(crate) fn fact_detail(fact: &Fact) -> Option<Value> {
    match fact {
        Fact::AppUp
        | Fact::AppStopped
        | Fact::AppDown
        | Fact::ServiceWoken
        | Fact::ServiceRested
        | Fact::InstanceStarted
        | Fact::InstanceDraining
        | Fact::InstanceFrozen => None,
        Fact::RevisionCurrent(revision) => Some(json!({ "revision": revision.0.get() })),
        Fact::ServiceScaled(count) | Fact::StartsGivenUp(count) => Some(json!({ "count": count })),
        Fact::InstanceReady(took) | Fact::InstanceThawed(took) => {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            Some(json!({ "nanos": nanos }))
        }
        Fact::InstanceUnready(why) | Fact::StartFailed(why) => Some(json!({ "why": why })),
        Fact::InstanceStopped(status) | Fact::InstanceExited(status) => Some(exit_detail(*status)),
    }
}

fn exit_detail(status: ExitStatus) -> Value {
    match status {
        ExitStatus::Code(code) => json!({ "code": code }),
        ExitStatus::Signal(signal) => json!({ "signal": signal.number() }),
        ExitStatus::OutOfMemory => json!({ "out_of_memory": true }),
        ExitStatus::Unknown => json!({}),
    }
}

fn fact(name: &str, detail: Option<&str>) -> Result<Fact, Unreadable> {
    let value: Value = detail
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    read_fact(name, &value).ok_or_else(|| Unreadable::Detail {
        name: name.to_owned(),
        detail: detail.unwrap_or_default().to_owned(),
    })
}

fn read_fact(name: &str, detail: &Value) -> Option<Fact> {
    let count = || u32::try_from(detail["count"].as_u64()?).ok();
    let why = || Some(detail["why"].as_str()?.to_owned());
    let took = || Some(Duration::from_nanos(detail["nanos"].as_u64()?));
    let revision = || NonZeroU32::new(u32::try_from(detail["revision"].as_u64()?).ok()?);
    Some(match name {
        "app_up" => Fact::AppUp,
        "app_stopped" => Fact::AppStopped,
        "app_down" => Fact::AppDown,
        "revision_current" => Fact::RevisionCurrent(Revision(revision()?)),
        "service_woken" => Fact::ServiceWoken,
        "service_rested" => Fact::ServiceRested,
        "service_scaled" => Fact::ServiceScaled(count()?),
        "instance_started" => Fact::InstanceStarted,
        "instance_ready" => Fact::InstanceReady(took()?),
        "instance_unready" => Fact::InstanceUnready(why()?),
        "instance_draining" => Fact::InstanceDraining,
        "instance_frozen" => Fact::InstanceFrozen,
        "instance_thawed" => Fact::InstanceThawed(took()?),
        "instance_stopped" => Fact::InstanceStopped(exit(detail)?),
        "instance_exited" => Fact::InstanceExited(exit(detail)?),
        "start_failed" => Fact::StartFailed(why()?),
        "starts_given_up" => Fact::StartsGivenUp(count()?),
        _ => return None,
    })
}

fn exit(detail: &Value) -> Option<ExitStatus> {
    let small = |value: &Value| u8::try_from(value.as_u64()?).ok();
    let detail = detail.as_object()?;
    Some(match (detail.get("code"), detail.get("signal")) {
        (Some(code), _) => ExitStatus::Code(small(code)?),
        (None, Some(signal)) => ExitStatus::Signal(Signal::from_number(small(signal)?)?),
        (None, None) if detail.contains_key("out_of_memory") => ExitStatus::OutOfMemory,
        (None, None) => ExitStatus::Unknown,
    })
}
