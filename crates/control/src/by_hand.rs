//! What a person has done to a service by hand: done when the status shows it, or why not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{AppName, ServiceName, ServiceSpec, Signal};
use plan::{Command, Progress, Reason, ServiceReport, ServiceState};
use ports::EngineError;
use tokio::time::timeout;

use crate::command::Ending;
use crate::execute::in_time;
use crate::{Control, ControlError};

/// What a rest may take beyond its grace periods: freezing, and the end of what was killed.
const REST_MARGIN: Duration = Duration::from_secs(30);

impl Control {
    /// Wakes a service. Done when all its instances are ready; when some are within its hold's
    /// timeout, that will do.
    ///
    /// # Errors
    /// [`ControlError::NotReady`] when none is in time, or can be.
    pub async fn wake(&self, app: &AppName, service: &ServiceName) -> Result<(), ControlError> {
        let limit = self.spec(app, service)?.activation.hold.timeout;
        let command = Command::Wake(service.clone());
        let is_over = |report: &ServiceReport| report.state.progress() != Progress::UnderWay;
        let outcome = self.have_done(app, command, limit, is_over).await?;
        match &outcome.report {
            Some(report) if is_awake_or_was(report) => Ok(()),
            Some(_) | None => Err(ControlError::NotReady {
                service: service.clone(),
                why: outcome.why(),
            }),
        }
    }

    /// Puts a service to rest. Done when it is. The next call wakes it.
    ///
    /// # Errors
    /// [`ControlError::NotAtRest`] when a call came meanwhile, or what was in flight did not end
    /// in time.
    pub async fn rest(&self, app: &AppName, service: &ServiceName) -> Result<(), ControlError> {
        use ServiceState::{
            Asleep, BackingOff, Completed, Failed, Replacing, Resting, Running, Starting, Stopped,
            Stopping, Unknown, Unready, Waiting,
        };
        let limit = self.spec(app, service)?.stop_grace_period * 2 + REST_MARGIN;
        let command = Command::Rest(service.clone());
        let is_over =
            |report: &ServiceReport| !matches!(report.state, Unknown | Resting | Stopping);
        let outcome = self.have_done(app, command, limit, is_over).await?;
        match outcome.report.as_ref().map(|report| report.state) {
            Some(Asleep | Stopped | Completed | Failed) | None => Ok(()),
            Some(
                Unknown | Running | Starting | Unready | Replacing | Waiting | BackingOff | Resting
                | Stopping,
            ) => Err(ControlError::NotAtRest {
                service: service.clone(),
                why: outcome.why(),
            }),
        }
    }

    /// Kills an app, or some of its services: they are stopped at once. By any other signal than
    /// SIGKILL nothing is wished; their programs that run get it, and do with it what they do.
    /// Done when none runs, or all were sent it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn kill(
        &self,
        app: &AppName,
        services: &BTreeSet<ServiceName>,
        signal: Signal,
    ) -> Result<(), ControlError> {
        if signal == Signal::KILL {
            return self.end(app, services, Ending::Killed).await;
        }
        let named = self.named(app, services)?;
        let published = Arc::clone(&self.shared.entry(app)?.published.borrow());
        let reports = published.report.services.iter();
        let reports = reports.filter(|(name, _)| named.contains(*name));
        let engine = &self.shared.parts.engine;
        for instance in reports.flat_map(|(_, report)| &report.instances) {
            match in_time(engine.name(), engine.signal(&instance.id, signal)).await {
                // It does not run.
                Ok(()) | Err(EngineError::NoInstance { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Has a command done to a service, and waits until its report is as it should be then.
    async fn have_done(
        &self,
        app: &AppName,
        command: Command,
        limit: Duration,
        is_over: impl Fn(&ServiceReport) -> bool,
    ) -> Result<Outcome, ControlError> {
        let service = command.service().clone();
        let mut published = self.shared.entry(app)?.published;
        self.shared.command(app, [command]).await?;
        // A service that is gone is waited for no more.
        let over = published.wait_for(|published| {
            let report = published.report.services.get(&service);
            report.is_none_or(&is_over)
        });
        let late = match timeout(limit, over).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) => return Err(ControlError::Leaving),
            Err(_) => Some(limit),
        };
        let report = published.borrow().report.services.get(&service).cloned();
        Ok(Outcome { report, late })
    }

    fn spec(&self, app: &AppName, service: &ServiceName) -> Result<Arc<ServiceSpec>, ControlError> {
        self.named(app, &[service.clone()].into())?;
        let directory = self.shared.entry(app)?.directory;
        let spec = directory.service(service).cloned();
        spec.ok_or_else(|| ControlError::NoSuchApp(app.clone()))
    }
}

/// What came of a command.
struct Outcome {
    /// How the service is; none when it is gone.
    report: Option<ServiceReport>,
    /// The time that was waited in vain, if it was.
    late: Option<Duration>,
}

impl Outcome {
    /// Why the service is as it is, in words.
    fn why(&self) -> String {
        let Some(report) = &self.report else {
            return "it is no longer part of the app".to_owned();
        };
        let mut why: Vec<String> = report.reasons.iter().map(ToString::to_string).collect();
        if why.is_empty() {
            why.push(format!("it is {}", report.state));
        }
        why.extend(
            self.late
                .map(|limit| format!("nothing changed that within {limit:?}")),
        );
        why.join("; ")
    }
}

/// Whether a service is ready, or was and fell asleep since.
fn is_awake_or_was(report: &ServiceReport) -> bool {
    let is_of_instance = |reason: &Reason| matches!(reason, Reason::Instance { .. });
    match report.state {
        ServiceState::Completed => true,
        // What sleeps because it ended says so.
        ServiceState::Asleep => !report.reasons.iter().any(is_of_instance),
        ServiceState::Unknown
        | ServiceState::Running
        | ServiceState::Starting
        | ServiceState::Unready
        | ServiceState::Replacing
        | ServiceState::Waiting
        | ServiceState::BackingOff
        | ServiceState::Resting
        | ServiceState::Stopping
        | ServiceState::Stopped
        | ServiceState::Failed => report.ready() > 0,
    }
}
