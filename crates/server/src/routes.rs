//! Which operation is answered by what.

use std::sync::Arc;

use api::{ErrorKind, Method, Operation};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};
use control::Control;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::convert::Convert;
use crate::refusal::Refusal;
use crate::{change, exec, read};

/// The most bytes of a request: a document of a thousand services is about one million.
const BODY_MAX: usize = 64 << 20;

/// What a server answers by.
#[derive(Debug)]
pub struct Parts {
    /// Commands apps.
    pub control: Control,
    /// The release that this is.
    pub release: &'static str,
    /// The port at which HTTP services answer on this machine, if they do.
    pub ingress_port: Option<u16>,
    /// Cancelled when the server is to leave; a request may cancel it.
    pub leave: CancellationToken,
}

/// What every handler has.
pub(crate) struct Shared {
    pub(crate) control: Control,
    pub(crate) release: &'static str,
    pub(crate) convert: Convert,
    pub(crate) leave: CancellationToken,
    /// Commands that run inside instances.
    pub(crate) sessions: TaskTracker,
}

pub(crate) fn router(parts: Parts, sessions: TaskTracker) -> Router {
    let shared = Shared {
        control: parts.control,
        release: parts.release,
        convert: Convert {
            ingress_port: parts.ingress_port,
        },
        leave: parts.leave,
        sessions,
    };
    let (unknown, method) = (
        async || Refusal::new(ErrorKind::NotFound, "there is no such operation"),
        async || Refusal::new(ErrorKind::Invalid, "the operation has another method"),
    );
    routes()
        .fallback(unknown)
        .method_not_allowed_fallback(method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::new(shared))
}

fn routes() -> Router<Arc<Shared>> {
    let routes = [
        (api::INFO, by(api::INFO, read::info)),
        (api::OPENAPI, by(api::OPENAPI, read::openapi)),
        (api::SHUTDOWN, by(api::SHUTDOWN, read::shutdown)),
        (api::APPS, by(api::APPS, read::apps)),
        (api::STATUS, by(api::STATUS, read::status)),
        (api::WATCH, by(api::WATCH, read::watch)),
        (api::EXPLAIN, by(api::EXPLAIN, read::explain)),
        (api::UP, by(api::UP, change::up)),
        (api::DOWN, by(api::DOWN, change::down)),
        (api::STOP, by(api::STOP, change::stop)),
        (api::KILL, by(api::KILL, change::kill)),
        (api::START, by(api::START, change::start)),
        (api::RESTART, by(api::RESTART, change::restart)),
        (api::SCALE, by(api::SCALE, change::scale)),
        (api::WAKE, by(api::WAKE, change::wake)),
        (api::REST, by(api::REST, change::rest)),
        (api::LOGS, by(api::LOGS, read::logs)),
        (api::EVENTS, by(api::EVENTS, read::events)),
        (api::EXEC, by(api::EXEC, exec::exec)),
    ];
    assert_eq!(routes.len(), api::ALL.len(), "every operation has a route");
    let add =
        |router: Router<_>, (operation, route): (Operation, _)| router.route(operation.path, route);
    routes.into_iter().fold(Router::new(), add)
}

fn by<T: 'static>(
    operation: Operation,
    handler: impl Handler<T, Arc<Shared>>,
) -> MethodRouter<Arc<Shared>> {
    match operation.method {
        Method::Get => get(handler),
        Method::Post => post(handler),
    }
}
