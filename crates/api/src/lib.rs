//! The HTTP API as it is on the wire: types, operations, and the OpenAPI document made of both.
//!
//! Types here are plain data with the names and units that people see in JSON; `server` converts
//! the model to them by hand, and a CLI of one release reads what a daemon of another wrote. So a
//! field is only ever added, never changed, within one [`VERSION`]. This crate knows no model, no
//! socket and no runtime.

mod error;
mod event;
mod exec;
mod log;
mod openapi;
mod operation;
mod request;
mod status;
mod time;

pub use error::{ErrorBody, ErrorKind, Failure, Line};
pub use event::{Event, EventsQuery};
pub use exec::{ExecRequest, FRAME_MAX, Frame, FrameError, Size, UPGRADE};
pub use log::{LogLine, LogSource, LogsQuery};
pub use openapi::openapi;
pub use operation::{
    ALL, APPS, DOWN, EVENTS, EXEC, EXPLAIN, INFO, KILL, LOGS, Method, OPENAPI, Operation, REST,
    RESTART, SCALE, SHUTDOWN, START, STATUS, STOP, UP, WAKE, WATCH,
};
pub use request::{
    ActivationWish, Change, ChangeKind, Done, DownRequest, KillRequest, Progress, ScaleRequest,
    ServicesRequest, UpRequest, VolumesWish,
};
pub use status::{
    AppStatus, AppSummary, Apps, Exit, Explanation, Info, InstanceStatus, Listening, ServiceStatus,
    Stage,
};
pub use time::{InvalidTime, Time};

/// The version of this API, and the first part of every path.
pub const VERSION: u32 = 1;
