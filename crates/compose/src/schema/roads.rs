//! `x-roads`, our own knobs: of the app, and of a service over them.

use super::*;

const NOT_YET: &str = "it is not honoured yet";

const OWNER: Row = row("owner", TEXT).noted("the team that answers for it");
const SCALE: Row = row("scale", Shape::Table(&BOUNDS)).noted("how many instances there may be");
const ACTIVATED: Row = row("activation", Shape::Short(Short::Activation, &ACTIVATION))
    .noted("when it runs and how it rests; alone, the mode");

/// Of the app: what its services have that say nothing else.
pub(super) const APP: Table = Table::new(
    "the app's `x-roads`",
    &[
        ACTIVATED,
        row("balance", Shape::Any).ignored(NOT_YET),
        row("document", COUNT).noted("the version of a resolved document"),
        OWNER,
        row("protocol", Shape::Any)
            .refused("ports belong to a service; write it in the service's `x-roads`"),
        row("rollout", Shape::Any).ignored(NOT_YET),
        row("route", Shape::Any)
            .refused("a route belongs to a service; write it in the service's `x-roads`"),
        SCALE,
    ],
)
.ours();

/// Of a service.
pub(super) const SERVICE: Table = Table::new(
    "`x-roads`",
    &[
        ACTIVATED,
        row("balance", Shape::Any).ignored(NOT_YET),
        OWNER,
        row(
            "protocol",
            Shape::Named(Names::Any, &choice(&["http", "http2", "tcp", "detect"])),
        )
        .noted("what is spoken on each port, by its number; `detect` looks at the first bytes"),
        row("rollout", Shape::Any).ignored(NOT_YET),
        row("route", Shape::Any).ignored(NOT_YET),
        SCALE,
    ],
)
.ours();

const ACTIVATION: Table = Table::new(
    "`activation`",
    &[
        row("hold", Shape::Table(&HOLD)).noted("what may wait while it wakes"),
        row("idle", DURATION)
            .noted("how long nothing is in flight before it rests; 5m unless said"),
        row("mode", choice(&["always", "on-demand"]))
            .noted("from `up` to `down`, or from its first call until it is idle"),
        row("rest", choice(&["frozen", "stopped", "absent"]))
            .noted("how it sleeps: its memory stays, its files stay, or nothing stays"),
    ],
)
.ours();

const HOLD: Table = Table::new(
    "`hold`",
    &[
        row("requests", whole(0, u32::MAX as i64))
            .noted("calls held at one time; 1000 unless said"),
        row("timeout", DURATION).noted("the longest that one is held; 30s unless said"),
    ],
)
.ours();

const BOUNDS: Table = Table::new(
    "`scale`",
    &[
        row("in_flight", COUNT).ignored("the number of instances does not follow the load yet"),
        row("max", whole(0, u32::MAX as i64)).noted("never more than these; 100 unless said"),
        row("min", whole(0, u32::MAX as i64))
            .noted("0 is what on-demand activation does; others are not honoured"),
    ],
)
.ours();
