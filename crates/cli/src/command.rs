//! What each command does.

mod config;
mod exec;
mod inspect;
mod logs;
mod up;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use api::{DownRequest, KillRequest, ScaleRequest, ServicesRequest, VolumesWish};
use client::Client;
use model::AppName;
use serde::Serialize;

use crate::arguments::{
    Command, DownArguments, KillArguments, ScaleArguments, Selection, ServicesArguments,
};
use crate::attend::{until_done, until_over};
use crate::error::Error;
use crate::files::Surroundings;
use crate::home::Home;
use crate::select::{self, Meant};
use crate::start;

/// What every command has.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) surroundings: Surroundings,
    /// What was typed before the command.
    pub(crate) before: Selection,
}

/// An app, and the daemon that knows it.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) client: Client,
    pub(crate) app: AppName,
}

impl Context {
    /// The folders of the daemon.
    pub(crate) fn home(&self) -> Result<Home, Error> {
        Ok(Home::find()?)
    }

    pub(crate) fn selection(&self, own: Selection) -> Selection {
        own.or(self.before.clone())
    }

    /// The app that the selection means. The daemon is started when it is not there, since it may
    /// have died while apps are up.
    pub(crate) async fn choose(&self, own: Selection) -> Result<Chosen, Error> {
        let meant = select::meant(&self.selection(own), &self.surroundings)?;
        let home = self.home()?;
        if !home.database().exists() {
            return Err(select::SelectError::NoneUp.into());
        }
        let client = start::reach(&home, None).await?;
        let app = match meant {
            Meant::App(app) => app,
            Meant::Open => select::only(&client.apps().await?.apps)?,
        };
        Ok(Chosen { client, app })
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Error> {
    let done = match command {
        Command::Up(arguments) => return up::up(context, arguments).await,
        Command::Exec(arguments) => return exec::exec(context, arguments).await,
        Command::Down(arguments) => down(context, arguments).await,
        Command::Ls(json) => inspect::ls(context, json).await,
        Command::Ps(arguments) => inspect::ps(context, arguments).await,
        Command::Logs(arguments) => logs::logs(context, arguments).await,
        Command::Events(arguments) => logs::events(context, arguments).await,
        Command::Scale(arguments) => scale(context, arguments).await,
        Command::Wake(arguments) => services(context, arguments, Change::Wake).await,
        Command::Rest(arguments) => services(context, arguments, Change::Rest).await,
        Command::Restart(arguments) => services(context, arguments, Change::Restart).await,
        Command::Stop(arguments) => services(context, arguments, Change::Stop).await,
        Command::Kill(arguments) => kill(context, arguments).await,
        Command::Start(arguments) => services(context, arguments, Change::Start).await,
        Command::Config(arguments) => config::config(context, arguments),
        Command::Explain(arguments) => inspect::explain(context, arguments).await,
        Command::Daemon(_stop) => stop_daemon(context).await,
        Command::Engines(_) => unreachable!("`parse` leaves it to the binary"),
        Command::Version(json) => inspect::version(context, json).await,
        Command::Completions { shell } => inspect::completions(shell),
        Command::Openapi => print_json(&api::openapi()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

async fn down(context: &Context, arguments: DownArguments) -> Result<(), Error> {
    let chosen = context.choose(arguments.selection).await?;
    let wish = DownRequest {
        volumes: if arguments.volumes {
            VolumesWish::Remove
        } else {
            VolumesWish::Keep
        },
    };
    let app = chosen.app.as_str();
    until_over(chosen.client.down(app, &wish).await, &[]).await?;
    anstream::eprintln!("{app} is down");
    Ok(())
}

async fn scale(context: &Context, arguments: ScaleArguments) -> Result<(), Error> {
    let chosen = context.choose(arguments.selection).await?;
    let scale: BTreeMap<String, u32> = arguments.scale.into_iter().collect();
    let services: Vec<String> = scale.keys().cloned().collect();
    let wish = ScaleRequest { scale };
    let progress = chosen.client.scale(chosen.app.as_str(), &wish).await;
    until_done(progress, &services).await
}

/// What is to become of some services.
#[derive(Debug, Clone, Copy)]
enum Change {
    Wake,
    Rest,
    Restart,
    Stop,
    Start,
}

async fn services(
    context: &Context,
    arguments: ServicesArguments,
    change: Change,
) -> Result<(), Error> {
    let Chosen { client, app } = context.choose(arguments.selection).await?;
    let (app, services) = (app.as_str(), arguments.services);
    let wish = ServicesRequest {
        services: services.iter().cloned().collect(),
    };
    match change {
        Change::Wake => until_over(client.wake(app, &wish).await, &services).await,
        Change::Rest => until_over(client.rest(app, &wish).await, &services).await,
        Change::Stop => until_over(client.stop(app, &wish).await, &services).await,
        Change::Restart => until_done(client.restart(app, &wish).await, &services).await,
        Change::Start => until_done(client.start(app, &wish).await, &services).await,
    }
}

async fn kill(context: &Context, arguments: KillArguments) -> Result<(), Error> {
    let Chosen { client, app } = context.choose(arguments.selection).await?;
    let services = arguments.services;
    let wish = KillRequest {
        services: services.iter().cloned().collect(),
        signal: Some(arguments.signal),
    };
    until_over(client.kill(app.as_str(), &wish).await, &services).await
}

async fn stop_daemon(context: &Context) -> Result<(), Error> {
    Client::new(&context.home()?.socket()).shut_down().await?;
    Ok(())
}

/// Prints data for programs.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
