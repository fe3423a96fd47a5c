//! The operations that change an app. Each answers line by line: how the app is whenever that
//! changed, until what was asked for is done and the services that it is about have settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::{
    ActivationWish, Change, ChangeKind, Done, DownRequest, ErrorKind, Failure, KillRequest,
    Progress, ScaleRequest, ServicesRequest, UpRequest, VolumesWish,
};
use axum::extract::{Path, State};
use axum::response::Response;
use control::{AppStatus, Changes, Control, ControlError, UpWish};
use model::{ActivationMode, AppName, AppSpec, ServiceName, Signal};
use ports::Volumes;
use tokio::task::JoinSet;

use crate::convert::service_names;
use crate::extract::Wish;
use crate::produce::{Gone, Lines, lines};
use crate::read::leaving;
use crate::refusal::{Refusal, failure};
use crate::routes::Shared;

type Server = State<Arc<Shared>>;

/// The shortest time from one status to the next; what happens in between is in the next.
const STATUS_PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn up(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<UpRequest>,
) -> Result<Response, Refusal> {
    let app = AppName::new(&app)?;
    let spec = spec_of(&app, &wish)?;
    let services = service_names(wish.services.iter().map(String::as_str))?;
    let scales = scales(&wish.scale)?;
    let unknown = services.iter().chain(scales.keys());
    let mut unknown = unknown.filter(|name| !spec.services.contains_key(*name));
    if let Some(name) = unknown.next() {
        let message = format!("the document has no service {name:?}", name = name.as_str());
        return Err(Refusal::new(ErrorKind::NotFound, message));
    }
    let before = server.control.status(&app);
    let document = compose::document(&spec);
    let names: BTreeSet<_> = spec.services.keys().cloned().collect();
    let done = server.control.up(UpWish {
        spec,
        document,
        services,
        scales,
    });
    let changed: BTreeMap<_, _> = done.await?.changed.into_iter().collect();
    let plan = plan(before.as_ref(), &names, &changed);
    let settling = Settling {
        app,
        services: names,
    };
    Ok(lines(async move |lines: Lines| {
        lines.item(Progress::Plan(plan)).await?;
        settling.settle(&server, &lines).await
    }))
}

/// The app that the document declares, as it is wished to wake.
fn spec_of(app: &AppName, wish: &UpRequest) -> Result<AppSpec, Refusal> {
    let mut spec = compose::load_document(&wish.document).map_err(|diagnostics| {
        Refusal(Failure {
            diagnostics: diagnostics.0.iter().map(ToString::to_string).collect(),
            ..Failure::new(ErrorKind::Invalid, "the document is not valid")
        })
    })?;
    if spec.name != *app {
        let message = format!("the document declares app {}, not {app}", spec.name);
        return Err(Refusal::new(ErrorKind::Invalid, message));
    }
    match wish.activation {
        ActivationWish::AsSpec => {}
        ActivationWish::Lazy => {
            for service in spec.services.values_mut() {
                Arc::make_mut(service).activation.mode = ActivationMode::OnDemand;
            }
        }
    }
    Ok(spec)
}

fn scales(scale: &BTreeMap<String, u32>) -> Result<BTreeMap<ServiceName, u32>, Refusal> {
    let named = |(name, &count): (&String, &u32)| Ok((ServiceName::new(name)?, count));
    scale.iter().map(named).collect()
}

/// What becomes of each service: of those that were, and those that are to be.
fn plan(
    before: Option<&AppStatus>,
    names: &BTreeSet<ServiceName>,
    changed: &BTreeMap<ServiceName, model::Revision>,
) -> Vec<Change> {
    let were: BTreeMap<_, _> = before
        .iter()
        .flat_map(|status| &status.services)
        .map(|(name, status)| (name, status.revision))
        .collect();
    let all: BTreeSet<_> = names.iter().chain(were.keys().copied()).collect();
    let change = |name: &ServiceName| {
        let (was, becomes) = (were.get(name), changed.get(name));
        let change = match (names.contains(name), was, becomes) {
            (false, _, _) => ChangeKind::Remove,
            (true, None, _) => ChangeKind::Create,
            (true, Some(_), Some(_)) => ChangeKind::Replace,
            (true, Some(_), None) => ChangeKind::Keep,
        };
        let revision = becomes.or(was).filter(|_| names.contains(name));
        Change {
            service: name.as_str().to_owned(),
            change,
            revision: revision.map(|revision| revision.0.get()),
        }
    };
    all.into_iter().map(change).collect()
}

pub(crate) async fn down(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<DownRequest>,
) -> Result<Response, Refusal> {
    let volumes = match wish.volumes {
        VolumesWish::Keep => Volumes::Keep,
        VolumesWish::Remove => Volumes::Remove,
    };
    let about = server.about(&app, &BTreeSet::new())?;
    let (control, app) = (server.control.clone(), about.app.clone());
    let work = async move { control.down(&app, volumes).await };
    Ok(about.answer(server, work, Ends::WithWork))
}

pub(crate) async fn stop(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    let about = server.about(&app, &wish.services)?;
    let (control, app, named) = about.asked(&server, &wish.services)?;
    let work = async move { control.stop(&app, &named).await };
    Ok(about.answer(server, work, Ends::WithWork))
}

pub(crate) async fn kill(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<KillRequest>,
) -> Result<Response, Refusal> {
    let signal = wish.signal.as_deref().map(Signal::parse).transpose()?;
    let signal = signal.unwrap_or(Signal::KILL);
    let about = server.about(&app, &wish.services)?;
    let (control, app, named) = about.asked(&server, &wish.services)?;
    let work = async move { control.kill(&app, &named, signal).await };
    Ok(about.answer(server, work, Ends::WithWork))
}

pub(crate) async fn start(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    let about = server.about(&app, &wish.services)?;
    let (control, app, named) = about.asked(&server, &wish.services)?;
    let work = async move { control.start(&app, &named).await };
    Ok(about.answer(server, work, Ends::Settled))
}

pub(crate) async fn restart(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    let about = server.about(&app, &wish.services)?;
    let (control, app, named) = about.asked(&server, &wish.services)?;
    let work = async move { control.restart(&app, &named).await };
    Ok(about.answer(server, work, Ends::Settled))
}

pub(crate) async fn scale(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ScaleRequest>,
) -> Result<Response, Refusal> {
    let scales = scales(&wish.scale)?;
    let services = wish.scale.keys().cloned().collect();
    let about = server.about(&app, &services)?;
    let (control, app) = (server.control.clone(), about.app.clone());
    let work = async move {
        for (service, count) in scales {
            control.scale(&app, &service, count).await?;
        }
        Ok(())
    };
    Ok(about.answer(server, work, Ends::Settled))
}

pub(crate) async fn wake(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    let about = server.about(&app, &wish.services)?;
    let each = async |control: Control, app, service| control.wake(&app, &service).await;
    let work = about.each(&server, each);
    Ok(about.answer(server, work, Ends::WithWork))
}

pub(crate) async fn rest(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    let about = server.about(&app, &wish.services)?;
    let each = async |control: Control, app, service| control.rest(&app, &service).await;
    let work = about.each(&server, each);
    Ok(about.answer(server, work, Ends::WithWork))
}

/// What an answer is about, and waits for.
struct Settling {
    app: AppName,
    /// The services; all when the app is meant.
    services: BTreeSet<ServiceName>,
}

/// When an answer ends. In either case the status shows what was asked for once the work is done.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// When the work is done.
    WithWork,
    /// When the services have settled after it.
    Settled,
}

impl Shared {
    /// An answer about these services, or about all that the app has.
    fn about(&self, app: &str, services: &BTreeSet<String>) -> Result<Settling, Refusal> {
        let app = AppName::new(app)?;
        let known = self.known(&app)?;
        let named = self.named(&known, services.iter().map(String::as_str))?;
        Ok(Settling {
            app,
            services: if named.is_empty() {
                known.services.into_keys().collect()
            } else {
                named
            },
        })
    }
}

impl Settling {
    /// Control, the app, and the services as they were named: none when the app is meant.
    fn asked(
        &self,
        server: &Shared,
        services: &BTreeSet<String>,
    ) -> Result<(Control, AppName, BTreeSet<ServiceName>), Refusal> {
        let named = service_names(services.iter().map(String::as_str))?;
        Ok((server.control.clone(), self.app.clone(), named))
    }

    /// Does something to each of the services, all at one time.
    fn each<A, F>(
        &self,
        server: &Shared,
        act: A,
    ) -> impl Future<Output = Result<(), ControlError>> + use<A, F>
    where
        A: Fn(Control, AppName, ServiceName) -> F,
        F: Future<Output = Result<(), ControlError>> + Send + 'static,
    {
        let services = self.services.iter().cloned();
        let acts: JoinSet<_> = services
            .map(|service| act(server.control.clone(), self.app.clone(), service))
            .collect();
        async move { acts.join_all().await.into_iter().collect() }
    }

    /// Answers with how the app is while `work` is done, and until it ends.
    fn answer(
        self,
        server: Arc<Shared>,
        work: impl Future<Output = Result<(), ControlError>> + Send + 'static,
        ends: Ends,
    ) -> Response {
        lines(async move |lines: Lines| self.attend(work, ends, &server, &lines).await)
    }

    async fn attend(
        self,
        work: impl Future<Output = Result<(), ControlError>>,
        ends: Ends,
        server: &Shared,
        lines: &Lines,
    ) -> Result<(), Gone> {
        let mut changes = server.control.changes(&self.app);
        let mut work = std::pin::pin!(work);
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                () = server.leave.cancelled() => return leaving(lines).await,
                () = next_change(&mut changes) => {
                    self.tell(server, lines).await?;
                }
            }
            tokio::select! {
                done = &mut work => break done,
                () = tokio::time::sleep(STATUS_PAUSE) => {}
            }
        };
        match (done, ends) {
            (Ok(()), Ends::Settled) => self.settle(server, lines).await,
            (Ok(()), Ends::WithWork) => {
                self.tell(server, lines).await?;
                lines.item(Progress::Done(Done {})).await
            }
            (Err(error), Ends::Settled | Ends::WithWork) => lines.failure(failure(&error)).await,
        }
    }

    /// Tells how the app is until it settled, or is gone.
    async fn settle(&self, server: &Shared, lines: &Lines) -> Result<(), Gone> {
        let mut changes = server.control.changes(&self.app);
        while let Unsettled::Yes = self.tell(server, lines).await? {
            tokio::time::sleep(STATUS_PAUSE).await;
            tokio::select! {
                () = next_change(&mut changes) => {}
                () = server.leave.cancelled() => return leaving(lines).await,
            }
        }
        lines.item(Progress::Done(Done {})).await
    }

    async fn tell(&self, server: &Shared, lines: &Lines) -> Result<Unsettled, Gone> {
        let Some(status) = server.control.status(&self.app) else {
            return Ok(Unsettled::No);
        };
        let status = server.convert.app(&status);
        let settled = |name: &ServiceName| {
            let mut services = status.services.iter().filter(|s| s.name == name.as_str());
            services.any(|s| s.stage != api::Stage::UnderWay)
        };
        let unsettled = if self.services.iter().all(settled) {
            Unsettled::No
        } else {
            Unsettled::Yes
        };
        lines.item(Progress::Status(status)).await?;
        Ok(unsettled)
    }
}

/// Waits for a change of an app; for ever when it is not there, and at the first change after it
/// is gone no more.
async fn next_change(changes: &mut Option<Changes>) {
    let Some(known) = changes else {
        return std::future::pending().await;
    };
    if !known.changed().await {
        *changes = None;
    }
}

/// Whether anything that is waited for is still under way.
enum Unsettled {
    Yes,
    No,
}
