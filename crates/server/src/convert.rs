//! Control's and the model's types to those of the wire, by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use api::{Exit, LogSource, Stage, Time};
use control::{AppStatus, InstanceStatus, ServiceStatus};
use model::{ExitStatus, InvalidName, ServiceName, Timestamp};
use ports::{LogLine, StoredEvent};

/// What the conversion of a status needs to know beyond it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Convert {
    /// The port at which HTTP services answer on this machine, if they do.
    pub(crate) ingress_port: Option<u16>,
}

impl Convert {
    pub(crate) fn app(self, status: &AppStatus) -> api::AppStatus {
        let services = status.services.iter();
        let app = status.app.as_str();
        api::AppStatus {
            app: app.to_owned(),
            services: services
                .map(|(name, s)| self.service(app, name, s))
                .collect(),
            listening: status.listening.iter().map(listening).collect(),
        }
    }

    pub(crate) fn service(
        self,
        app: &str,
        name: &ServiceName,
        status: &ServiceStatus,
    ) -> api::ServiceStatus {
        let url = |port: u16| format!("http://{name}.{app}.localhost:{port}/");
        let speaks_http = status.http_port.is_some();
        api::ServiceStatus {
            name: name.as_str().to_owned(),
            state: status.state.to_string(),
            stage: stage(status),
            reasons: status.reasons.clone(),
            revision: status.revision.0.get(),
            wanted: status.wished,
            ready: u32::try_from(status.ready).unwrap_or(u32::MAX),
            instances: status.instances.iter().map(instance).collect(),
            calls: status.load.calls,
            in_flight: status.load.in_flight,
            held: status.load.held,
            last_demand_ms: status.last_demand.map(millis),
            url: self.ingress_port.filter(|_| speaks_http).map(url),
            owner: status.owner.as_ref().map(ToString::to_string),
            address: status.address.map(|address| address.to_string()),
            networks: status.networks.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(crate) fn summary(status: &AppStatus) -> api::AppSummary {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut services = status.services.values();
    let stopped = !status.services.is_empty() && services.all(|s| s.state == "stopped");
    let ready = status.services.values().filter(|service| service.ready > 0);
    api::AppSummary {
        name: status.app.as_str().to_owned(),
        state: if stopped { "stopped" } else { "up" }.to_owned(),
        services: count(status.services.len()),
        ready: count(ready.count()),
    }
}

fn stage(status: &ServiceStatus) -> Stage {
    match status.progress {
        control::Progress::Settled => Stage::Settled,
        control::Progress::UnderWay => Stage::UnderWay,
        control::Progress::Stuck => Stage::Stuck,
    }
}

fn instance(status: &InstanceStatus) -> api::InstanceStatus {
    api::InstanceStatus {
        number: status.id.number,
        revision: status.revision.0.get(),
        state: status.state.to_string(),
        age_ms: status.age.map(millis),
        restarts: status.restarts,
        in_flight: status.in_flight,
        calls: status.calls,
    }
}

fn listening(listening: &ports::Listening) -> api::Listening {
    api::Listening {
        service: listening.service.as_str().to_owned(),
        target: listening.target,
        address: listening.address.to_string(),
    }
}

pub(crate) fn event(stored: &StoredEvent) -> api::Event {
    let event = &stored.event;
    api::Event {
        number: stored.number,
        at: time(event.at),
        app: event.app.as_str().to_owned(),
        service: event.service.as_ref().map(ToString::to_string),
        instance: event.instance.as_ref().map(|id| id.number),
        fact: event.fact.name().to_owned(),
        text: event.fact.to_string(),
    }
}

pub(crate) fn log_line(line: LogLine) -> api::LogLine {
    api::LogLine {
        at: time(line.at),
        service: line.instance.service.as_str().to_owned(),
        instance: line.instance.number,
        source: match line.source {
            ports::LogSource::Output => LogSource::Output,
            ports::LogSource::Error => LogSource::Error,
        },
        text: line.text,
    }
}

pub(crate) fn exit(status: ExitStatus) -> Exit {
    let (code, signal) = match status {
        ExitStatus::Code(code) => (Some(code), None),
        ExitStatus::Signal(signal) => (None, Some(signal.number())),
        ExitStatus::OutOfMemory | ExitStatus::Unknown => (None, None),
    };
    Exit {
        code,
        signal,
        text: status.to_string(),
    }
}

pub(crate) fn service_names<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeSet<ServiceName>, InvalidName> {
    names.into_iter().map(ServiceName::new).collect()
}

fn time(at: Timestamp) -> Time {
    Time(at.0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
