//! `deploy`: how many, what each may use, and how they are replaced.

use super::app::NO_ADDRESS;
use super::*;

const NOT_YET: &str = "it is not honoured yet";
const LATER: &str = "instances are replaced one after the other, as `x-roads.rollout` says";

pub(super) const DEPLOY: Table = Table::new(
    "`deploy`",
    &[
        row("endpoint_mode", TEXT).ignored(NO_ADDRESS),
        row("labels", ASSIGNMENTS).ignored("only the `labels` of the service itself are kept"),
        row("mode", TEXT).noted("`global` is one instance, since there is one machine"),
        row("placement", Shape::Table(&PLACEMENT)).ignored("instances run on this machine"),
        row("replicas", COUNT),
        row("resources", Shape::Table(&RESOURCES)),
        row("restart_policy", Shape::Table(&RESTART_POLICY)),
        row("rollback_config", Shape::Table(&UPDATE)).ignored(LATER),
        row("update_config", Shape::Table(&UPDATE)).ignored(LATER),
    ],
)
.or_nothing();

const PLACEMENT: Table = Table::new(
    "`placement`",
    &[
        row("constraints", Shape::List(&TEXT, Unique::Any)),
        row("max_replicas_per_node", COUNT),
        row(
            "preferences",
            Shape::List(&Shape::Table(&PREFERENCE), Unique::Any),
        ),
    ],
);

const PREFERENCE: Table = Table::new("a preference", &[row("spread", TEXT)]);

const UPDATE: Table = Table::new(
    "an update",
    &[
        row("delay", DURATION),
        row("failure_action", TEXT),
        row("max_failure_ratio", NUMBER),
        row("monitor", DURATION),
        row("order", choice(&["start-first", "stop-first"])),
        row("parallelism", COUNT),
    ],
);

const RESOURCES: Table = Table::new(
    "`resources`",
    &[
        row("limits", Shape::Table(&LIMITS)),
        row("reservations", Shape::Table(&RESERVATIONS)).ignored("nothing is reserved"),
    ],
);

const LIMITS: Table = Table::new(
    "`limits`",
    &[
        row("cpus", NUMBER),
        row("memory", BYTES),
        row("pids", INTEGER),
    ],
);

const RESERVATIONS: Table = Table::new(
    "`reservations`",
    &[
        row("cpus", NUMBER),
        row("devices", Shape::List(&DEVICE_REQUEST, Unique::Any)),
        row(
            "generic_resources",
            Shape::List(&Shape::Table(&GENERIC), Unique::Any),
        ),
        row("memory", BYTES),
    ],
);

/// A request for devices; those of `gpus` may leave the capabilities out.
const DEVICE_REQUEST: Shape = Shape::Table(&Table::new(
    "a request for devices",
    &[
        row("capabilities", TEXTS).required(),
        row("count", DEVICES),
        row("device_ids", TEXTS),
        row("driver", TEXT),
        row("options", ASSIGNMENTS),
    ],
));

pub(super) const GPU: Shape = Shape::Table(&Table::new(
    "a request for GPUs",
    &[
        row("capabilities", TEXTS),
        row("count", DEVICES),
        row("device_ids", TEXTS),
        row("driver", TEXT),
        row("options", ASSIGNMENTS),
    ],
));

const GENERIC: Table = Table::new(
    "a generic resource",
    &[row("discrete_resource_spec", Shape::Table(&DISCRETE))],
);

const DISCRETE: Table = Table::new(
    "`discrete_resource_spec`",
    &[row("kind", TEXT), row("value", NUMBER)],
);

const RESTART_POLICY: Table = Table::new(
    "`restart_policy`",
    &[
        row("condition", TEXT),
        row("delay", DURATION).ignored("Roadstead waits longer from restart to restart"),
        row("max_attempts", COUNT),
        row("window", DURATION)
            .ignored("a restart counts as a success when the instance became ready"),
    ],
);

/// `develop`.
pub(super) const DEVELOP: Table = Table::new(
    "`develop`",
    &[row(
        "watch",
        Shape::List(&Shape::Table(&WATCH), Unique::Any),
    )],
)
.or_nothing();

const WATCH: Table = Table::new(
    "a watch",
    &[
        row(
            "action",
            choice(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
        )
        .required(),
        row("exec", Shape::Table(&HOOK)),
        row("ignore", Shape::OneOrMany(&TEXT, Unique::Any)),
        row("include", Shape::OneOrMany(&TEXT, Unique::Any)),
        row("initial_sync", FLAG),
        row("path", PATH).required(),
        row("target", TEXT),
    ],
);

/// `post_start` and `pre_stop`.
pub(super) const HOOK: Table = Table::new(
    "a hook",
    &[
        row("command", Shape::Command).required(),
        row("environment", ENVIRONMENT),
        row("privileged", FLAG),
        row("user", TEXT),
        row("working_dir", TEXT),
    ],
);

/// `pre_start`.
pub(super) const PRE_START: Table = Table::new(
    "a hook",
    &[
        row("command", Shape::Command),
        row("environment", ENVIRONMENT),
        row("image", TEXT),
        row("per_replica", FLAG),
        row("privileged", FLAG),
        row("user", TEXT),
        row("working_dir", TEXT),
    ],
);

pub(super) const PULL: &str = NOT_YET;
