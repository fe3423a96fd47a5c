//! The operations: one table that the server routes by, the client calls by, and the OpenAPI
//! document is made of.

use std::borrow::Cow;

use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::{
    AppStatus, Apps, Done, DownRequest, Event, ExecRequest, Explanation, Info, KillRequest,
    LogLine, Progress, ScaleRequest, ServicesRequest, UpRequest,
};

/// Something that the API does.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name in the OpenAPI document.
    pub id: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path, with `{app}` and `{service}` in it.
    pub path: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What may follow the path: names, and what they mean.
    pub(crate) query: &'static [(&'static str, &'static str)],
    /// The body of its request.
    pub(crate) request: Option<Shape>,
    /// The body of its answer.
    pub(crate) answer: Answer,
}

/// How an operation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It changes nothing.
    Get,
    /// It changes something, or runs something.
    Post,
}

/// The body of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// One JSON value.
    Json(Shape),
    /// JSON values, one a line, as they come about.
    Lines(Shape),
    /// The OpenAPI document.
    Document,
    /// The connection is upgraded.
    Upgrade,
}

/// A type as the OpenAPI document has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: fn() -> Cow<'static, str>,
    pub(crate) collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

const fn shape<T: ToSchema>() -> Shape {
    Shape {
        name: T::name,
        collect: |schemas| {
            schemas.push((T::name().into_owned(), T::schema()));
            T::schemas(schemas);
        },
    }
}

impl Operation {
    const fn get(
        id: &'static str,
        path: &'static str,
        answer: Answer,
        summary: &'static str,
    ) -> Self {
        Self {
            id,
            method: Method::Get,
            path,
            summary,
            query: &[],
            request: None,
            answer,
        }
    }

    const fn post(
        id: &'static str,
        path: &'static str,
        request: Shape,
        summary: &'static str,
    ) -> Self {
        Self {
            id,
            method: Method::Post,
            path,
            summary,
            query: &[],
            request: Some(request),
            answer: Answer::Lines(shape::<Progress>()),
        }
    }

    /// Its path for an app and a service; names need no escaping in a path.
    #[must_use]
    pub fn at(&self, app: &str, service: &str) -> String {
        self.path
            .replace("{app}", app)
            .replace("{service}", service)
    }
}

/// The daemon.
pub const INFO: Operation = Operation::get(
    "info",
    "/v1/info",
    Answer::Json(shape::<Info>()),
    "Tells which release and engine the daemon is.",
);
/// The OpenAPI document.
pub const OPENAPI: Operation = Operation::get(
    "openapi",
    "/v1/openapi.json",
    Answer::Document,
    "This document.",
);
/// Ends the daemon.
pub const SHUTDOWN: Operation = Operation {
    id: "shutdown",
    method: Method::Post,
    path: "/v1/shutdown",
    summary: "Ends the daemon; instances run on, and the next daemon finds them.",
    query: &[],
    request: None,
    answer: Answer::Json(shape::<Done>()),
};
/// The apps.
pub const APPS: Operation = Operation::get(
    "apps",
    "/v1/apps",
    Answer::Json(shape::<Apps>()),
    "Lists the apps.",
);
/// An app.
pub const STATUS: Operation = Operation::get(
    "status",
    "/v1/apps/{app}",
    Answer::Json(shape::<AppStatus>()),
    "Tells how an app and its services are.",
);
/// An app, again and again.
pub const WATCH: Operation = Operation::get(
    "watch",
    "/v1/apps/{app}/watch",
    Answer::Lines(shape::<AppStatus>()),
    "Tells how an app is, now and whenever that changes.",
);
/// A service.
pub const EXPLAIN: Operation = Operation::get(
    "explain",
    "/v1/apps/{app}/services/{service}",
    Answer::Json(shape::<Explanation>()),
    "Tells why a service is as it is.",
);
/// Makes an app what a document declares.
pub const UP: Operation = Operation::post(
    "up",
    "/v1/apps/{app}/up",
    shape::<UpRequest>(),
    "Makes an app what a document declares; ends when its services settled.",
);
/// Takes an app down.
pub const DOWN: Operation = Operation::post(
    "down",
    "/v1/apps/{app}/down",
    shape::<DownRequest>(),
    "Takes an app down; ends when all of it is gone.",
);
/// Stops services.
pub const STOP: Operation = Operation::post(
    "stop",
    "/v1/apps/{app}/stop",
    shape::<ServicesRequest>(),
    "Stops services and keeps them.",
);
/// Kills services.
pub const KILL: Operation = Operation::post(
    "kill",
    "/v1/apps/{app}/kill",
    shape::<KillRequest>(),
    "Stops services at once by SIGKILL, or sends the programs of services another signal.",
);
/// Starts stopped services.
pub const START: Operation = Operation::post(
    "start",
    "/v1/apps/{app}/start",
    shape::<ServicesRequest>(),
    "Starts stopped services again.",
);
/// Replaces the instances of services.
pub const RESTART: Operation = Operation::post(
    "restart",
    "/v1/apps/{app}/restart",
    shape::<ServicesRequest>(),
    "Replaces the instances of services by fresh ones.",
);
/// Says how many instances services are to have.
pub const SCALE: Operation = Operation::post(
    "scale",
    "/v1/apps/{app}/scale",
    shape::<ScaleRequest>(),
    "Says how many instances services are to have.",
);
/// Wakes services.
pub const WAKE: Operation = Operation::post(
    "wake",
    "/v1/apps/{app}/wake",
    shape::<ServicesRequest>(),
    "Wakes services as a call would.",
);
/// Puts services to sleep.
pub const REST: Operation = Operation::post(
    "rest",
    "/v1/apps/{app}/rest",
    shape::<ServicesRequest>(),
    "Puts services to sleep until they are called.",
);
/// The output of instances.
pub const LOGS: Operation = Operation {
    query: &[
        (
            "services",
            "Services, separated by commas; all when absent.",
        ),
        ("since", "Lines written at or after this time (RFC 3339)."),
        ("tail", "At most this many lines of each instance."),
        (
            "follow",
            "`true`: goes on with what is written from now on.",
        ),
    ],
    ..Operation::get(
        "logs",
        "/v1/apps/{app}/logs",
        Answer::Lines(shape::<LogLine>()),
        "Tells what instances wrote, also those that are gone.",
    )
};
/// What happened.
pub const EVENTS: Operation = Operation {
    query: &[
        ("after", "Events with a greater number."),
        ("tail", "At most this many, the newest; 100 when absent."),
        ("follow", "`true`: goes on with what happens from now on."),
    ],
    ..Operation::get(
        "events",
        "/v1/apps/{app}/events",
        Answer::Lines(shape::<Event>()),
        "Tells what happened.",
    )
};
/// A command inside an instance.
pub const EXEC: Operation = Operation {
    answer: Answer::Upgrade,
    ..Operation::post(
        "exec",
        "/v1/apps/{app}/services/{service}/exec",
        shape::<ExecRequest>(),
        "Runs a command inside an instance; the connection is upgraded to `roads-exec/1`.",
    )
};

/// All of them.
pub const ALL: [Operation; 19] = [
    INFO, OPENAPI, SHUTDOWN, APPS, STATUS, WATCH, EXPLAIN, UP, DOWN, STOP, KILL, START, RESTART,
    SCALE, WAKE, REST, LOGS, EVENTS, EXEC,
];
