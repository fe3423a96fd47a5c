//! Commands that show how things are.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use anstyle::Style;
use api::{AppStatus, Explanation, ServiceStatus};
use clap::CommandFactory;
use client::Client;

use super::{Chosen, Context, print_json};
use crate::arguments::{Arguments, ExplainArguments, Json, PsArguments};
use crate::error::Error;
use crate::table::{Cell, Table};
use crate::{start, words};

/// A terminal of fewer columns has no room for addresses and owners.
const WIDE_COLUMNS: u16 = 120;

/// Prints data for people.
fn print(text: impl Display) -> Result<(), Error> {
    write!(anstream::stdout(), "{text}")?;
    Ok(())
}

pub(super) async fn ls(context: &Context, json: Json) -> Result<(), Error> {
    let home = context.home()?;
    let apps = if home.database().exists() {
        start::reach(&home, None).await?.apps().await?
    } else {
        api::Apps::default()
    };
    if json.json {
        return print_json(&apps);
    }
    let mut table = Table::new(["APP", "STATE", "SERVICES", "READY"]);
    for app in apps.apps {
        table.row(vec![
            app.name.into(),
            app.state.into(),
            Cell::number(app.services),
            Cell::number(app.ready),
        ]);
    }
    print(table)
}

pub(super) async fn ps(context: &Context, arguments: PsArguments) -> Result<(), Error> {
    let Chosen { client, app } = context.choose(arguments.selection).await?;
    let status = client.status(app.as_str()).await?;
    if arguments.json.json {
        return print_json(&status);
    }
    let stdout = std::io::stdout();
    let narrow = stdout.is_terminal()
        && rustix::termios::tcgetwinsize(&stdout).is_ok_and(|size| size.ws_col < WIDE_COLUMNS);
    let width = if arguments.wide || !narrow {
        Width::Wide
    } else {
        Width::Narrow
    };
    print(services_table(&status, width))
}

/// Whether a table has room for addresses and owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Wide,
    Narrow,
}

fn services_table(status: &AppStatus, width: Width) -> Table {
    let mut names = vec![
        Cell::from("SERVICE"),
        "STATE".into(),
        Cell::number("INSTANCES"),
        Cell::number("READY"),
        Cell::number("CALLS"),
        "LAST DEMAND".into(),
    ];
    if width == Width::Wide {
        names.extend(["URL".into(), "OWNER".into()]);
    }
    let bold = Style::new().bold();
    let mut table = Table::new(names.into_iter().map(|name| name.styled(bold)));
    for service in &status.services {
        let mut row = vec![
            service.name.clone().into(),
            Cell::from(service.state.clone()).styled(words::state_style(service)),
            Cell::number(service.instances.len()),
            Cell::number(format!("{}/{}", service.ready, service.wanted)),
            Cell::number(service.calls),
            words::ago(service.last_demand_ms).into(),
        ];
        if width == Width::Wide {
            row.push(places(status, service).into());
            row.push(service.owner.clone().unwrap_or_default().into());
        }
        table.row(row);
    }
    table
}

/// Where a service answers on this machine.
pub(super) fn places(status: &AppStatus, service: &ServiceStatus) -> String {
    let published = status.listening.iter();
    let published = published.filter(|listening| listening.service == service.name);
    let published = published.map(|l| format!("{}->{}", l.address, l.target));
    let all: Vec<String> = service.url.iter().cloned().chain(published).collect();
    all.join(", ")
}

pub(super) async fn explain(context: &Context, arguments: ExplainArguments) -> Result<(), Error> {
    let Chosen { client, app } = context.choose(arguments.selection).await?;
    let explanation = client.explain(app.as_str(), &arguments.service).await?;
    if arguments.json.json {
        return print_json(&explanation);
    }
    print(explained(&explanation))
}

fn explained(explanation: &Explanation) -> String {
    let service = &explanation.status;
    let (style, bold) = (words::state_style(service), Style::new().bold());
    let mut text = format!(
        "{bold}{}{bold:#} is {style}{}{style:#}\n",
        service.name, service.state
    );
    for reason in &service.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text.push_str(&format!(
        "revision r{}, {} of {} ready, {}, {} in flight, {} held, last demand {}\n",
        service.revision,
        service.ready,
        words::count(service.wanted as usize, "instance"),
        words::count(usize::try_from(service.calls).unwrap_or(usize::MAX), "call"),
        service.in_flight,
        service.held,
        words::ago(service.last_demand_ms),
    ));
    let facts = [
        ("owner", service.owner.clone()),
        ("url", service.url.clone()),
        ("address", service.address.clone()),
        ("networks", Some(service.networks.join(", "))),
    ];
    for (name, value) in facts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name} {value}\n"));
        }
    }
    for instance in &service.instances {
        let age = instance.age_ms.map_or_else(String::new, |age| {
            format!(", started {}", words::ago(Some(age)))
        });
        text.push_str(&format!(
            "  {}-{} r{} {}{age}, {}, {} in flight\n",
            service.name,
            instance.number,
            instance.revision,
            instance.state,
            words::count(instance.restarts as usize, "restart"),
            instance.in_flight,
        ));
    }
    for event in &explanation.events {
        text.push_str(&super::logs::event_line(event));
        text.push('\n');
    }
    text
}

pub(super) async fn version(context: &Context, json: Json) -> Result<(), Error> {
    let own = env!("CARGO_PKG_VERSION");
    // Asked only when it runs: nobody wants a daemon started to be told its release.
    let daemon = Client::new(&context.home()?.socket()).info().await.ok();
    if json.json {
        return print_json(&serde_json::json!({ "version": own, "daemon": daemon }));
    }
    print(format_args!("roads {own}\n"))?;
    match daemon {
        Some(info) => print(format_args!(
            "daemon {} (process {}, engine {})\n",
            info.version, info.pid, info.engine
        )),
        None => Ok(()),
    }
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "roads", &mut bytes);
    std::io::stdout().write_all(&bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use api::{Listening, Stage};

    use super::*;
    use crate::fixtures::{app, service};

    fn plain(text: impl Display) -> String {
        anstream::adapter::strip_str(&text.to_string()).to_string()
    }

    #[test]
    fn services_are_listed_with_state_instances_calls_and_demand() {
        let mut rng = service("rng", "running", Stage::Settled, 1);
        rng.calls = 1200;
        rng.last_demand_ms = Some(3200);
        rng.url = Some("http://rng.coins.localhost:7080/".to_owned());
        rng.owner = Some("team-random".to_owned());
        let store = service("store", "asleep", Stage::Settled, 0);
        let mut status = app(vec![rng, store]);
        status.listening.push(Listening {
            service: "store".to_owned(),
            target: 6379,
            address: "127.0.0.1:6379".to_owned(),
        });
        let expected = "\
SERVICE  STATE    INSTANCES  READY  CALLS  LAST DEMAND
rng      running          0    1/1   1200  3.2s ago
store    asleep           0    0/1      0  never
";
        assert_eq!(plain(services_table(&status, Width::Narrow)), expected);
        let wide = plain(services_table(&status, Width::Wide));
        assert!(
            wide.contains("http://rng.coins.localhost:7080/  team-random\n"),
            "{wide}"
        );
        assert!(
            wide.contains("never        127.0.0.1:6379->6379\n"),
            "{wide}"
        );
    }

    #[test]
    fn an_explanation_begins_with_the_state_and_why() {
        let mut status = service("rng", "asleep", Stage::Settled, 0);
        status.reasons.push("nothing called it for 5m".to_owned());
        let explanation = Explanation {
            status,
            events: vec![api::Event {
                number: 1,
                at: api::Time(0),
                app: "coins".to_owned(),
                service: Some("rng".to_owned()),
                instance: Some(2),
                fact: "instance_frozen".to_owned(),
                text: "was frozen".to_owned(),
            }],
        };
        let text = plain(explained(&explanation));
        assert!(
            text.starts_with("rng is asleep\n  nothing called it for 5m\n"),
            "{text}"
        );
        assert!(
            text.ends_with("1970-01-01T00:00:00.000000Z rng-2 was frozen\n"),
            "{text}"
        );
    }
}
