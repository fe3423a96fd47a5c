//! `up`: show the plan, a line for each service while it starts, then the logs or where it
//! answers.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anstyle::AnsiColor;
use api::{
    ActivationWish, AppStatus, KillRequest, LogsQuery, ServiceStatus, ServicesRequest, Stage, Time,
    UpRequest,
};
use client::{Client, ClientError, Lines};
use model::{AppSpec, ServiceName};

use super::{Context, inspect, logs, print_json};
use crate::arguments::UpArguments;
use crate::attend::{Patience, attend, failed, until_over};
use crate::error::Error;
use crate::files;
use crate::interrupt::Interrupts;
use crate::start;
use crate::table::Table;

/// Lines of a failed service's log that are shown.
const LOG_LINES_SHOWN: usize = 10;
/// How long nothing may be written before the logs of services that all ended are at their end.
const LOG_END_PAUSE: Duration = Duration::from_millis(200);
/// What a shell expects of a command that Ctrl-C ended (128 + SIGINT).
const INTERRUPTED: u8 = 130;

pub(super) async fn up(context: &Context, arguments: UpArguments) -> Result<ExitCode, Error> {
    let selection = context.selection(arguments.selection);
    let loaded = files::load(&selection, &arguments.services, &context.surroundings)?;
    files::accept(loaded.warnings, arguments.strict)?;
    let spec = loaded.spec;
    start::check_images(&spec, arguments.engine)?;
    let client = start::reach(&context.home()?, Some(arguments.engine)).await?;
    let wish = UpRequest {
        document: compose::document(&spec),
        services: arguments.services.iter().cloned().collect(),
        activation: if arguments.lazy {
            ActivationWish::Lazy
        } else {
            ActivationWish::AsSpec
        },
        scale: arguments.scale.into_iter().collect(),
    };
    let up = Up {
        client,
        app: spec.name.as_str().to_owned(),
        started: with_dependencies(&spec, &arguments.services),
        since: logs::now(),
    };
    if !arguments.detach {
        return up.attached(&wish).await;
    }
    let limit = arguments.wait_timeout;
    let status = match limit.map(|seconds| (seconds, Duration::from_secs(seconds))) {
        None => up.detached(&wish).await?,
        Some((seconds, limit)) => tokio::time::timeout(limit, up.detached(&wish))
            .await
            .map_err(|_| Error::WaitTimeout { seconds })??,
    };
    if arguments.json.json {
        print_json(&status)?;
    } else {
        write!(anstream::stdout(), "{}", places(&status))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// These services and all that they depend on; none, which means all, when none is named.
fn with_dependencies(spec: &AppSpec, named: &[String]) -> Vec<String> {
    let known = |name: &str| spec.services.get_key_value(name);
    let mut open: Vec<&ServiceName> = named
        .iter()
        .filter_map(|name| Some(known(name)?.0))
        .collect();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name.as_str().to_owned())
            && let Some((_, service)) = known(name.as_str())
        {
            open.extend(service.depends_on.keys());
        }
    }
    found.into_iter().collect()
}

/// Where services answer, a line each.
fn places(status: &AppStatus) -> Table {
    let mut table = Table::default();
    for service in &status.services {
        let places = inspect::places(status, service);
        if !places.is_empty() {
            table.row(vec![service.name.clone().into(), places.into()]);
        }
    }
    table
}

/// An app that comes up.
#[derive(Debug)]
struct Up {
    client: Client,
    app: String,
    /// The services that it is about; all when empty.
    started: Vec<String>,
    /// When it was asked for.
    since: Time,
}

impl Up {
    /// Done when all services are ready or asleep.
    async fn detached(&self, wish: &UpRequest) -> Result<AppStatus, Error> {
        let progress = self.client.up(&self.app, wish).await?;
        let status = match attend(progress, &self.started, Patience::WhileThereIsHope).await? {
            Some(status) => status,
            None => self.client.status(&self.app).await?,
        };
        let failed = self.failed(&status);
        if failed.is_empty() {
            return Ok(status);
        }
        for service in &failed {
            self.tell_failure(service).await?;
        }
        let names: Vec<&str> = failed.iter().map(|s| s.name.as_str()).collect();
        Err(Error::NotUp(format!("not up: {}", names.join(", "))))
    }

    /// Shows the logs until all services ended, or Ctrl-C stops them.
    async fn attached(&self, wish: &UpRequest) -> Result<ExitCode, Error> {
        let mut interrupts = Interrupts::new()?;
        let progress = self.client.up(&self.app, wish).await?;
        let attended = tokio::select! {
            attended = attend(progress, &self.started, Patience::WhileThereIsHope) => attended?,
            () = interrupts.next() => return self.stop(&mut interrupts).await,
        };
        if let Some(status) = attended {
            write!(anstream::stderr(), "{}", places(&status))?;
        }
        let ended = tokio::select! {
            ended = self.show_logs() => ended?,
            () = interrupts.next() => return self.stop(&mut interrupts).await,
        };
        Ok(match ended {
            Ended::Well => ExitCode::SUCCESS,
            Ended::Badly => ExitCode::FAILURE,
        })
    }

    async fn show_logs(&self) -> Result<Ended, Error> {
        let mut watch = self.client.watch(&self.app).await?;
        let first = watch.next().await?;
        let services = first.iter().flat_map(|status| &status.services);
        let names = services.map(|service| service.name.as_str());
        let mut printer = logs::Printer::new(names, false);
        let mut lines = self.client.logs(&self.app, &self.log_query(None)).await?;
        let mut ended = first.as_ref().and_then(|status| self.ended(status));
        loop {
            let end = async {
                match ended {
                    Some(ended) => {
                        tokio::time::sleep(LOG_END_PAUSE).await;
                        ended
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                line = lines.next() => match line? {
                    Some(line) => printer.print(&line)?,
                    None => return Ok(ended.unwrap_or(Ended::Well)),
                },
                status = next_status(&mut watch, ended.is_some()) => match status? {
                    Some(status) => ended = self.ended(&status),
                    None => ended = Some(Ended::Well),
                },
                ended = end => return Ok(ended),
            }
        }
    }

    /// How it ended, if no service runs or will.
    fn ended(&self, status: &AppStatus) -> Option<Ended> {
        let services = status.services.iter().filter(|s| self.is_about(&s.name));
        let over = |s: &ServiceStatus| matches!(&*s.state, "stopped" | "completed" | "failed");
        let all_over = services.clone().all(over);
        let mut stuck = services.filter(|service| service.stage == Stage::Stuck);
        all_over.then(|| match stuck.next() {
            Some(_) => Ended::Badly,
            None => Ended::Well,
        })
    }

    /// Stops what was started; the next Ctrl-C kills it.
    async fn stop(&self, interrupts: &mut Interrupts) -> Result<ExitCode, Error> {
        anstream::eprintln!("\nGracefully stopping... (press Ctrl+C again to force)");
        let wish = ServicesRequest {
            services: self.started.iter().cloned().collect(),
        };
        let stopped = async {
            let progress = self.client.stop(&self.app, &wish).await;
            until_over(progress, &self.started).await
        };
        tokio::select! {
            stopped = stopped => stopped?,
            () = interrupts.next() => self.kill(interrupts).await?,
        }
        Ok(ExitCode::from(INTERRUPTED))
    }

    /// Kills what was started; the next Ctrl-C leaves that to the daemon.
    async fn kill(&self, interrupts: &mut Interrupts) -> Result<(), Error> {
        let wish = KillRequest {
            services: self.started.iter().cloned().collect(),
            signal: None,
        };
        let killed = async {
            let progress = self.client.kill(&self.app, &wish).await;
            until_over(progress, &self.started).await
        };
        tokio::select! {
            killed = killed => killed,
            () = interrupts.next() => {
                anstream::eprintln!("the services are being killed; `roads ps` shows how far they are");
                Ok(())
            }
        }
    }

    fn failed<'a>(&self, status: &'a AppStatus) -> Vec<&'a ServiceStatus> {
        let mut failed = failed(status);
        failed.retain(|service| self.is_about(&service.name));
        failed
    }

    fn is_about(&self, service: &str) -> bool {
        self.started.is_empty() || self.started.iter().any(|name| name == service)
    }

    fn log_query(&self, of: Option<&str>) -> LogsQuery {
        let all = (!self.started.is_empty()).then(|| self.started.join(","));
        LogsQuery {
            services: of.map(str::to_owned).or(all),
            since: Some(self.since),
            tail: of.map(|_| LOG_LINES_SHOWN),
            follow: of.is_none(),
        }
    }

    /// Says why a service failed, and what it wrote last.
    async fn tell_failure(&self, service: &ServiceStatus) -> Result<(), Error> {
        let red = AnsiColor::Red.on_default();
        let mut out = anstream::stderr();
        writeln!(out, "{red}{}{red:#} is {}", service.name, service.state)?;
        for reason in &service.reasons {
            writeln!(out, "  {reason}")?;
        }
        let query = self.log_query(Some(&service.name));
        let mut lines = self.client.logs(&self.app, &query).await?;
        while let Some(line) = lines.next().await? {
            writeln!(out, "  {}-{} | {}", line.service, line.instance, line.text)?;
        }
        Ok(())
    }
}

/// How an app ended that was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
}

/// The next status; none ever once the end was seen, so that only the logs' end is waited for.
async fn next_status(
    watch: &mut Lines<AppStatus>,
    at_end: bool,
) -> Result<Option<AppStatus>, ClientError> {
    if at_end {
        return std::future::pending().await;
    }
    watch.next().await
}
