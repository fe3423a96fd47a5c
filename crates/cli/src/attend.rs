//! Showing what becomes of something that was asked for, until it is done.

use std::collections::BTreeSet;
use std::io::{self, Write};

use anstyle::AnsiColor;
use api::{AppStatus, Change, ChangeKind, Progress, ServiceStatus, Stage};
use client::{ClientError, Lines};

use crate::error::Error;
use crate::live::{Live, Screen, TICK};
use crate::words;

/// A service that was started again this often and still is not ready is not waited for.
const RESTARTS_MAX: u32 = 3;
/// A plan for more services is only counted.
const PLAN_LINES_MAX: usize = 40;

/// How long it is waited for what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until all that is still under way has failed again and again.
    WhileThereIsHope,
    /// Until it is done, however the services are meanwhile: they are to end.
    ToTheEnd,
}

/// Shows how the services are until what was asked for is done; how the app was at last. Dropping
/// it gives up the showing, not what was asked for.
pub(crate) async fn attend(
    mut progress: Lines<Progress>,
    services: &[String],
    patience: Patience,
) -> Result<Option<AppStatus>, Error> {
    let only: BTreeSet<String> = services.iter().cloned().collect();
    let mut live = Live::new(anstream::stderr(), Screen::of_standard_error(), only);
    let mut ticks = tokio::time::interval(TICK);
    let mut last = None;
    let done = loop {
        tokio::select! {
            next = progress.next() => match next {
                Ok(Some(Progress::Plan(plan))) => tell_plan(&plan)?,
                Ok(Some(Progress::Status(status))) => {
                    live.update(&status)?;
                    let hopeless = patience == Patience::WhileThereIsHope && hopeless(&status);
                    last = Some(status);
                    if hopeless {
                        break Ok(());
                    }
                }
                Ok(Some(Progress::Done(_)) | None) => break Ok(()),
                Err(error) => break Err(error),
            },
            _ = ticks.tick(), if live.moves() => live.tick()?,
        }
    };
    live.finish()?;
    done.map(|()| last).map_err(Error::from)
}

/// Whether all that is still under way has been started again and again.
fn hopeless(status: &AppStatus) -> bool {
    let mut under_way = status
        .services
        .iter()
        .filter(|s| s.stage == Stage::UnderWay)
        .peekable();
    under_way.peek().is_some() && under_way.all(keeps_failing)
}

fn keeps_failing(service: &ServiceStatus) -> bool {
    service.ready == 0 && service.instances.iter().any(|i| i.restarts >= RESTARTS_MAX)
}

/// The services that did not get to what they should be, and do not seem to.
pub(crate) fn failed(status: &AppStatus) -> Vec<&ServiceStatus> {
    let failed = |service: &&ServiceStatus| match service.stage {
        Stage::Stuck => true,
        Stage::UnderWay => keeps_failing(service),
        Stage::Settled => false,
    };
    status.services.iter().filter(failed).collect()
}

/// Says what is going to be done.
fn tell_plan(plan: &[Change]) -> io::Result<()> {
    let mut out = anstream::stderr();
    let mut tell = |mark: &str, color: AnsiColor, change: &Change| {
        let style = color.on_default();
        let revision = change.revision.map(|revision| format!(" r{revision}"));
        let (name, revision) = (&change.service, revision.unwrap_or_default());
        writeln!(out, "{style}{mark}{style:#} {name}{revision}")
    };
    if plan.len() <= PLAN_LINES_MAX {
        for change in plan {
            match change.change {
                ChangeKind::Create => tell("+ create ", AnsiColor::Green, change)?,
                ChangeKind::Replace => tell("~ replace", AnsiColor::Yellow, change)?,
                ChangeKind::Keep => tell("= keep   ", AnsiColor::BrightBlack, change)?,
                ChangeKind::Remove => tell("- remove ", AnsiColor::Red, change)?,
            }
        }
        return Ok(());
    }
    let count = |kind| {
        let count = plan.iter().filter(|change| change.change == kind).count();
        words::count(count, "service")
    };
    writeln!(
        out,
        "creates {}, replaces {}, keeps {}, removes {}",
        count(ChangeKind::Create),
        count(ChangeKind::Replace),
        count(ChangeKind::Keep),
        count(ChangeKind::Remove)
    )
}

/// Attends to what ends services, or says itself when it failed.
pub(crate) async fn until_over(
    progress: Result<Lines<Progress>, ClientError>,
    services: &[String],
) -> Result<(), Error> {
    attend(progress?, services, Patience::ToTheEnd).await?;
    Ok(())
}

/// Attends to something, and fails when one of the services that it is about does.
pub(crate) async fn until_done(
    progress: Result<Lines<Progress>, ClientError>,
    services: &[String],
) -> Result<(), Error> {
    let Some(status) = attend(progress?, services, Patience::WhileThereIsHope).await? else {
        return Ok(());
    };
    let about = |name: &str| services.is_empty() || services.iter().any(|s| s == name);
    let failed = failed(&status);
    let names: Vec<&str> = failed
        .iter()
        .map(|service| service.name.as_str())
        .filter(|name| about(name))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::NotUp(format!(
        "not as it should be: {}",
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use api::InstanceStatus;

    use super::*;
    use crate::fixtures::{app, service};

    #[test]
    fn a_service_that_ends_again_and_again_is_not_waited_for() {
        let again = |restarts| {
            let mut service = service("a", "backing off", Stage::UnderWay, 0);
            service.instances.push(InstanceStatus {
                number: 1,
                revision: 1,
                state: "ended".to_owned(),
                age_ms: None,
                restarts,
                in_flight: 0,
                calls: 0,
            });
            service
        };
        let running = service("b", "running", Stage::Settled, 1);
        assert!(!hopeless(&app(vec![again(1), running.clone()])));
        assert!(hopeless(&app(vec![again(3), running.clone()])));
        let starting = service("c", "starting", Stage::UnderWay, 0);
        assert!(!hopeless(&app(vec![again(3), starting])));
        assert!(!hopeless(&app(vec![running])));
        assert_eq!(failed(&app(vec![again(3)])).len(), 1);
    }
}
