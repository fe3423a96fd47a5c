//! The operations that change nothing of an app.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{EventsQuery, LogsQuery};
use axum::extract::{Path, State};
use axum::response::{Json, Response};
use control::ControlError;
use model::{AppName, ServiceName};
use ports::{LogFollow, LogStream, LogWish};

use crate::convert::{self, service_names};
use crate::extract::Asked;
use crate::produce::{Gone, Lines, lines};
use crate::refusal::{Refusal, failure};
use crate::routes::Shared;

type Server = State<Arc<Shared>>;

/// Events told when nobody says how many.
const EVENTS_TAIL: usize = 100;
/// Events read from the store at a time.
const EVENTS_PAGE: usize = 1000;
/// Events that an explanation has at most.
const EXPLAINED_EVENTS_MAX: usize = 10;

pub(crate) async fn info(State(server): Server) -> Json<api::Info> {
    Json(api::Info {
        version: server.release.to_owned(),
        api: api::VERSION,
        pid: std::process::id(),
        engine: server.control.engine().to_owned(),
        shortcomings: server.control.shortcomings(),
    })
}

pub(crate) async fn openapi() -> Json<impl serde::Serialize> {
    Json(api::openapi())
}

pub(crate) async fn shutdown(State(server): Server) -> Json<api::Done> {
    server.leave.cancel();
    Json(api::Done {})
}

pub(crate) async fn apps(State(server): Server) -> Json<api::Apps> {
    let control = &server.control;
    let names = control.apps();
    for name in &names {
        // One that goes meanwhile is not listed.
        control.observed(name).await.ok();
    }
    let known = names.iter().filter_map(|name| control.status(name));
    Json(api::Apps {
        apps: known.map(|status| convert::summary(&status)).collect(),
    })
}

pub(crate) async fn status(
    State(server): Server,
    Path(app): Path<String>,
) -> Result<Json<api::AppStatus>, Refusal> {
    let status = server.seen(&AppName::new(&app)?).await?;
    Ok(Json(server.convert.app(&status)))
}

pub(crate) async fn explain(
    State(server): Server,
    Path((app, name)): Path<(String, String)>,
) -> Result<Json<api::Explanation>, Refusal> {
    let app = AppName::new(&app)?;
    let status = server.seen(&app).await?;
    server.named(&status, [name.as_str()])?;
    let (service, status) = status
        .services
        .get_key_value(name.as_str())
        .expect("it was just found");
    let events = server.control.events(&app, None, EVENTS_PAGE).await?;
    let mut own = events;
    own.retain(|stored| stored.event.service.as_ref() == Some(service));
    let newest = own.len().saturating_sub(EXPLAINED_EVENTS_MAX);
    Ok(Json(api::Explanation {
        status: server.convert.service(app.as_str(), service, status),
        events: own[newest..].iter().map(convert::event).collect(),
    }))
}

pub(crate) async fn watch(
    State(server): Server,
    Path(app): Path<String>,
) -> Result<Response, Refusal> {
    let app = AppName::new(&app)?;
    server.seen(&app).await?;
    Ok(lines(async move |lines: Lines| {
        let Some(mut changes) = server.control.changes(&app) else {
            return Ok(());
        };
        while let Some(status) = server.control.status(&app) {
            lines.item(server.convert.app(&status)).await?;
            tokio::select! {
                changed = changes.changed() => if !changed { break },
                () = server.leave.cancelled() => return leaving(&lines).await,
            }
        }
        Ok(())
    }))
}

pub(crate) async fn logs(
    State(server): Server,
    Path(app): Path<String>,
    Asked(query): Asked<LogsQuery>,
) -> Result<Response, Refusal> {
    let services = query.services.as_deref().unwrap_or_default();
    let named = services.split(',').filter(|name| !name.is_empty());
    let app = AppName::new(&app)?;
    let wish = LogWish {
        services: server.named(&server.known(&app)?, named)?,
        app,
        since: query.since.map(|since| model::Timestamp(since.0)),
        tail: query.tail,
        follow: if query.follow {
            LogFollow::Follow
        } else {
            LogFollow::Stop
        },
    };
    let log = server.control.logs(wish).await?;
    Ok(lines(|lines| log_lines(server, log, lines)))
}

async fn log_lines(
    server: Arc<Shared>,
    mut log: Box<dyn LogStream>,
    lines: Lines,
) -> Result<(), Gone> {
    loop {
        let next = tokio::select! {
            next = log.next() => next,
            () = server.leave.cancelled() => return leaving(&lines).await,
        };
        match next {
            Ok(Some(line)) => lines.item(convert::log_line(line)).await?,
            Ok(None) => return Ok(()),
            Err(error) => return lines.failure(failure(&error.into())).await,
        }
    }
}

pub(crate) async fn events(
    State(server): Server,
    Path(app): Path<String>,
    Asked(query): Asked<EventsQuery>,
) -> Result<Response, Refusal> {
    let app = AppName::new(&app)?;
    Ok(lines(|lines| event_lines(server, app, query, lines)))
}

async fn event_lines(
    server: Arc<Shared>,
    app: AppName,
    query: EventsQuery,
    lines: Lines,
) -> Result<(), Gone> {
    let mut written = server.control.events_written();
    let mut after = query.after;
    let mut count_max = query.tail.unwrap_or(EVENTS_TAIL);
    loop {
        written.mark_unchanged();
        let page = match server.control.events(&app, after, count_max).await {
            Ok(page) => page,
            Err(error) => return lines.failure(failure(&error)).await,
        };
        let whole = page.len() == EVENTS_PAGE;
        // From an empty page on, everything is new.
        after = page
            .last()
            .map(|stored| stored.number)
            .or(after)
            .or(Some(0));
        for stored in &page {
            lines.item(convert::event(stored)).await?;
        }
        if !query.follow {
            return Ok(());
        }
        count_max = EVENTS_PAGE;
        if whole {
            continue;
        }
        tokio::select! {
            changed = written.changed() => if changed.is_err() { return Ok(()) },
            () = server.leave.cancelled() => return leaving(&lines).await,
        }
    }
}

/// Ends an answer because the daemon leaves.
pub(crate) async fn leaving(lines: &Lines) -> Result<(), Gone> {
    lines.failure(Refusal::leaving().0).await
}

impl Shared {
    /// How an app is, once that is known.
    async fn seen(&self, app: &AppName) -> Result<control::AppStatus, Refusal> {
        self.control.observed(app).await?;
        self.known(app)
    }

    /// How an app is, as far as that is known.
    pub(crate) fn known(&self, app: &AppName) -> Result<control::AppStatus, Refusal> {
        let status = self.control.status(app);
        status.ok_or_else(|| ControlError::NoSuchApp(app.clone()).into())
    }

    /// Services by name, all of which the app has.
    pub(crate) fn named<'a>(
        &self,
        status: &control::AppStatus,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeSet<ServiceName>, Refusal> {
        let named = service_names(names)?;
        let unknown = |name: &&ServiceName| !status.services.contains_key(*name);
        let Some(unknown) = named.iter().find(unknown) else {
            return Ok(named);
        };
        let known: Vec<_> = status.services.keys().map(ServiceName::as_str).collect();
        Err(ControlError::NoSuchService {
            app: status.app.clone(),
            service: unknown.clone(),
            known: known.join(", "),
        }
        .into())
    }
}
