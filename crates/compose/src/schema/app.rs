//! The top of a file, and what it declares besides services.

use super::*;

const PRIVATE: &str = "networks belong to their app alone";
const NO_STORAGE: &str = "the volume is a folder of this machine";
pub(super) const NO_ADDRESS: &str =
    "a service has one loopback address for its callers; they use its name";
const NO_STORE: &str =
    "secrets and configs come from the file, the environment or a file of this machine";
pub(super) const NO_MODEL: &str = "no model is started";
const RULE: &str = "a network is a rule of who may call whom";
const LABELS: &str = "only the `labels` of services are kept";

/// A whole file.
pub(crate) const APP: Table = Table::new(
    "a compose file",
    &[
        row(
            "configs",
            Shape::Named(Names::Resource, &Shape::Table(&CONFIG)),
        ),
        row(
            "include",
            Shape::List(&Shape::Short(Short::Include, &INCLUDE), Unique::Any),
        ),
        row(
            "models",
            Shape::Named(Names::Resource, &Shape::Table(&MODEL)),
        )
        .ignored(NO_MODEL),
        row("name", TEXT),
        row(
            "networks",
            Shape::Named(Names::Resource, &Shape::Table(&NETWORK)),
        ),
        row(
            "secrets",
            Shape::Named(Names::Resource, &Shape::Table(&SECRET)),
        ),
        row(
            "services",
            Shape::Named(Names::Resource, &Shape::Table(&SERVICE)),
        ),
        row("version", TEXT).noted("it means nothing any more"),
        row(
            "volumes",
            Shape::Named(Names::Resource, &Shape::Table(&VOLUME)),
        ),
        row("x-roads", Shape::Table(&roads::APP)),
    ],
);

const INCLUDE: Table = Table::new(
    "an `include`",
    &[
        row("env_file", Shape::OneOrMany(&PATH, Unique::Any)),
        row("path", Shape::OneOrMany(&CONTEXT, Unique::Any)).required(),
        row("project_directory", PATH),
    ],
);

const NETWORK: Table = Table::new(
    "a network",
    &[
        row("attachable", FLAG).ignored(PRIVATE),
        row("driver", TEXT).ignored(RULE),
        row("driver_opts", OPTIONS).ignored(RULE),
        row("enable_ipv4", FLAG).ignored(NO_ADDRESS),
        row("enable_ipv6", FLAG).ignored(NO_ADDRESS),
        row("external", Shape::External),
        row("internal", FLAG),
        row("ipam", Shape::Table(&IPAM)).ignored(NO_ADDRESS),
        row("labels", ASSIGNMENTS).ignored(LABELS),
        row("name", TEXT).noted(PRIVATE),
    ],
)
.or_nothing();

const IPAM: Table = Table::new(
    "`ipam`",
    &[
        row(
            "config",
            Shape::List(&Shape::Table(&POOL), Unique::Key("subnet")),
        ),
        row("driver", TEXT),
        row("options", OPTIONS),
    ],
);

const POOL: Table = Table::new(
    "a pool of addresses",
    &[
        row("aux_addresses", OPTIONS),
        row("gateway", TEXT),
        row("ip_range", TEXT),
        row("subnet", TEXT),
    ],
);

const VOLUME: Table = Table::new(
    "a volume",
    &[
        row("driver", TEXT).noted("`local` is what a volume is here"),
        row("driver_opts", OPTIONS).ignored(NO_STORAGE),
        row("external", Shape::External),
        row("labels", ASSIGNMENTS).ignored(LABELS),
        row("name", TEXT).noted("of an external volume; others are known by app and key"),
    ],
)
.or_nothing();

const CONFIG: Table = Table::new(
    "a config",
    &[
        row("content", TEXT),
        row("environment", TEXT),
        row("external", Shape::External).noted(NO_STORE),
        row("file", PATH),
        row("labels", ASSIGNMENTS).ignored(LABELS),
        row("name", TEXT).noted("a config belongs to its app alone"),
        row("template_driver", TEXT).ignored(NO_STORE),
    ],
);

const SECRET: Table = Table::new(
    "a secret",
    &[
        row("driver", TEXT).noted(NO_STORE),
        row("driver_opts", OPTIONS).ignored(NO_STORE),
        row("environment", TEXT),
        row("external", Shape::External).noted(NO_STORE),
        row("file", PATH),
        row("labels", ASSIGNMENTS).ignored(LABELS),
        row("name", TEXT).noted("a secret belongs to its app alone"),
        row("template_driver", TEXT).ignored(NO_STORE),
    ],
);

const MODEL: Table = Table::new(
    "a model",
    &[
        row("context_size", INTEGER),
        row("model", TEXT).required(),
        row("name", TEXT),
        row("runtime_flags", Shape::List(&TEXT, Unique::Any)),
    ],
);
