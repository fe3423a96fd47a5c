//! The operations that change an app. Each answers line by line: how the app is whenever that
//! changed, until what was asked for is done and the services that it is about have settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::{
    ActivationWish, Change, ChangeKind, Done, DownRequest, ErrorKind, Failure, Progress,
    ScaleRequest, ServicesRequest, UpRequest, VolumesWish,
};
use axum::extract::{Path, State};
use axum::response::Response;
use control::{AppStatus, ControlError, UpWish};
use model::{ActivationMode, AppName, AppSpec, ServiceName};
use ports::{Pending, Volumes};
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
    server.about(&app, &BTreeSet::new(), |control, settling| {
        Box::pin(async move { control.down(&settling.app, volumes).await })
    })
}

pub(crate) async fn stop(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    server.about(&app, &wish.services, |control, settling| {
        Box::pin(async move { control.stop(&settling.app, &settling.services).await })
    })
}

pub(crate) async fn start(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    server.about(&app, &wish.services, |control, settling| {
        Box::pin(async move { control.start(&settling.app, &settling.services).await })
    })
}

pub(crate) async fn restart(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    server.about(&app, &wish.services, |control, settling| {
        Box::pin(async move { control.restart(&settling.app, &settling.services).await })
    })
}

pub(crate) async fn scale(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ScaleRequest>,
) -> Result<Response, Refusal> {
    let scales = scales(&wish.scale)?;
    let services = wish.scale.into_keys().collect();
    server.about(&app, &services, |control, settling| {
        Box::pin(async move {
            for (service, count) in scales {
                control.scale(&settling.app, &service, count).await?;
            }
            Ok(())
        })
    })
}

pub(crate) async fn wake(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    server.about(&app, &wish.services, |control, settling| {
        let mut waking = JoinSet::new();
        for service in settling.services {
            let (control, app) = (control.clone(), settling.app.clone());
            waking.spawn(async move { control.wake(&app, &service).await });
        }
        Box::pin(async move { waking.join_all().await.into_iter().collect() })
    })
}

pub(crate) async fn rest(
    State(server): Server,
    Path(app): Path<String>,
    Wish(wish): Wish<ServicesRequest>,
) -> Result<Response, Refusal> {
    server.about(&app, &wish.services, |control, settling| {
        Box::pin(async move {
            for service in &settling.services {
                control.rest(&settling.app, service).await?;
            }
            Ok(())
        })
    })
}

/// What an answer waits for.
#[derive(Debug, Clone)]
struct Settling {
    app: AppName,
    services: BTreeSet<ServiceName>,
}

/// Something that control does.
type Work = Pending<'static, Result<(), ControlError>>;

impl Shared {
    /// Answers with what becomes of these services, or of all that the app has, while `begin`'s
    /// work is done and until they settled.
    fn about(
        self: Arc<Self>,
        app: &str,
        services: &BTreeSet<String>,
        begin: impl FnOnce(control::Control, Settling) -> Work,
    ) -> Result<Response, Refusal> {
        let app = AppName::new(app)?;
        let known = self.known(&app)?;
        let named = self.named(&known, services.iter().map(String::as_str))?;
        let known = known.services.into_keys().collect();
        let asked = Settling {
            app: app.clone(),
            services: named.clone(),
        };
        let settling = Settling {
            app,
            services: if named.is_empty() { known } else { named },
        };
        let work = begin(self.control.clone(), asked);
        Ok(lines(async move |lines: Lines| {
            settling.attend(work, &self, &lines).await
        }))
    }
}

impl Settling {
    /// Tells how the app is while `work` is done, and until it settled.
    async fn attend(self, mut work: Work, server: &Shared, lines: &Lines) -> Result<(), Gone> {
        let mut changes = server.control.changes(&self.app);
        let done = loop {
            let changed = async {
                match &mut changes {
                    Some(changes) => changes.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut work => break done,
                there = changed => {
                    self.tell(server, lines).await?;
                    if !there {
                        changes = None;
                    }
                }
                () = server.leave.cancelled() => return leaving(lines).await,
            }
        };
        match done {
            Ok(()) => self.settle(server, lines).await,
            Err(error) => lines.failure(failure(&error)).await,
        }
    }

    /// Tells how the app is until it settled, or is gone.
    async fn settle(&self, server: &Shared, lines: &Lines) -> Result<(), Gone> {
        if let Some(mut changes) = server.control.changes(&self.app) {
            while let Unsettled::Yes = self.tell(server, lines).await? {
                tokio::time::sleep(STATUS_PAUSE).await;
                tokio::select! {
                    there = changes.changed() => if !there { break },
                    () = server.leave.cancelled() => return leaving(lines).await,
                }
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
            let mut services = status.services.iter();
            services.any(|s| s.name == name.as_str() && s.stage != api::Stage::UnderWay)
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

/// Whether anything that is waited for is still under way.
enum Unsettled {
    Yes,
    No,
}
