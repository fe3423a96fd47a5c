//! The keys of a service.

use super::app::{NO_ADDRESS, NO_MODEL};
use super::deploy::{DEPLOY, DEVELOP, GPU, HOOK, PRE_START, PULL};
use super::*;

const NO_CAPABILITIES: &str = "instances run without capabilities and cannot gain any";
const NO_WEIGHTS: &str = "only `cpus`, `mem_limit` and `pids_limit` bound an instance";
const NO_DNS: &str = "the names of services and of the outside are answered at 127.127.0.1";
const NO_DEVICES: &str = "an instance has the standard devices of /dev only";
const NO_NAMESPACES: &str = "each instance has namespaces of its own";
const NO_TERMINAL: &str = "instances have no terminal; `roads exec -it` opens one";
const NO_HOOKS: &str = "the hook is not run";
const NO_LINKS: &str = "services are called by their names on a common network";
const WINDOWS: &str = "it is for Windows";
const ONE_WAY_OUT: &str = "there is one way out";
const VOLUME_LABELS: &str = "only the `labels` of services are kept";

/// The kinds of file systems.
const MOUNT_TYPES: &[&str] = &["bind", "volume", "tmpfs", "cluster", "npipe", "image"];

const FILE_MOUNTS: Shape = Shape::List(
    &Shape::Short(Short::FileMount, &FILE_MOUNT),
    Unique::File(""),
);
const SECRET_MOUNTS: Shape = Shape::List(
    &Shape::Short(Short::FileMount, &FILE_MOUNT),
    Unique::File("/run/secrets"),
);
const CONTAINER_NAME: Shape = Shape::One(Scalar::Like(
    is_container_name,
    "it holds a letter or digit, and then another, `_`, `.` or `-`",
));
const PULL_POLICY: Shape = Shape::One(Scalar::Like(
    is_pull_policy,
    "it is one of always, never, build, missing, refresh, daily, weekly, or every_12h",
));
const ULIMITS: Shape = Shape::Named(Names::Any, &Shape::Short(Short::Ulimit, &ULIMIT));
const LIMITED_PATHS: Shape = Shape::List(&Shape::Table(&RATE), Unique::Any);

/// A service.
pub(crate) const SERVICE: Table = Table::new(
    "a service",
    &[
        row("annotations", ASSIGNMENTS).ignored("nothing reads them; `labels` are kept"),
        row("attach", FLAG).ignored("`roads logs` shows the output of every service"),
        row("blkio_config", Shape::Table(&BLKIO)).ignored(NO_WEIGHTS),
        row("build", Shape::Short(Short::Build, &BUILD))
            .ignored("nothing is built; `image`, or else APP-SERVICE, is used as it is"),
        row("cap_add", TEXTS).ignored(NO_CAPABILITIES),
        row("cap_drop", TEXTS).ignored(NO_CAPABILITIES),
        row("cgroup", choice(&["host", "private"])).ignored(NO_NAMESPACES),
        row("cgroup_parent", TEXT).ignored("instances are in the control group of Roadstead"),
        row("command", Shape::Command),
        row("configs", FILE_MOUNTS),
        row("container_name", CONTAINER_NAME).ignored("instances are called SERVICE-NUMBER"),
        row("cpu_count", COUNT).ignored(NO_WEIGHTS),
        row("cpu_percent", whole(0, 100)).ignored(NO_WEIGHTS),
        row("cpu_period", QUANTITY).ignored(NO_WEIGHTS),
        row("cpu_quota", QUANTITY).ignored(NO_WEIGHTS),
        row("cpu_rt_period", QUANTITY).ignored(NO_WEIGHTS),
        row("cpu_rt_runtime", QUANTITY).ignored(NO_WEIGHTS),
        row("cpu_shares", NUMBER).ignored(NO_WEIGHTS),
        row("cpus", NUMBER),
        row("cpuset", TEXT).ignored(NO_WEIGHTS),
        row("credential_spec", Shape::Table(&CREDENTIAL)).ignored(WINDOWS),
        row(
            "depends_on",
            Shape::NamesOr(Alone::Started, &Shape::Table(&DEPENDENCY)),
        ),
        row("deploy", Shape::Table(&DEPLOY)),
        row("develop", Shape::Table(&DEVELOP))
            .ignored("nothing is watched; `up` again takes changes over"),
        row("device_cgroup_rules", TEXTS_ONCE).ignored(NO_DEVICES),
        row(
            "devices",
            Shape::List(&Shape::Short(Short::Device, &DEVICE), Unique::Key("target")),
        )
        .ignored(NO_DEVICES),
        row("dns", TEXT_OR_TEXTS).ignored(NO_DNS),
        row("dns_opt", TEXTS).ignored(NO_DNS),
        row("dns_search", TEXT_OR_TEXTS).ignored(NO_DNS),
        row("domainname", TEXT).ignored("the instance has a host name without a domain"),
        row("entrypoint", Shape::Command),
        row(
            "env_file",
            Shape::OneOrMany(
                &Shape::Short(Short::EnvFile, &ENV_FILE),
                Unique::Key("path"),
            ),
        ),
        row("environment", ENVIRONMENT),
        row("expose", Shape::List(&EXPOSED, Unique::Whole)),
        row("extends", Shape::Short(Short::Extends, &EXTENDS)),
        row("external_links", TEXTS_ONCE).ignored(NO_LINKS),
        row("extra_hosts", Shape::Hosts).ignored(NO_DNS),
        row("gpus", Shape::Gpus(&GPU)).ignored(NO_DEVICES),
        row("group_add", Shape::List(&QUANTITY, Unique::Once))
            .ignored("the program has the group of its `user` only"),
        row("healthcheck", Shape::Table(&HEALTHCHECK)),
        row("hostname", TEXT),
        row("image", TEXT).on(
            &[Engine::Embedded, Engine::Docker],
            "`host` is this machine's own files, on the embedded engine; others are Docker's",
        ),
        row("init", FLAG).noted("every instance has a first process that reaps"),
        row("ipc", TEXT).ignored(NO_NAMESPACES),
        row("isolation", TEXT).ignored(WINDOWS),
        row("label_file", Shape::OneOrMany(&PATH, Unique::Whole)),
        row("labels", ASSIGNMENTS),
        row("links", Shape::List(&TEXT, Unique::Name)).ignored(NO_LINKS),
        row("logging", Shape::Table(&LOGGING))
            .ignored("output is kept and rotated by size; `roads logs` shows it"),
        row("mac_address", TEXT).ignored(NO_ADDRESS),
        row("mem_limit", BYTES),
        row("mem_reservation", BYTES).ignored(NO_WEIGHTS),
        row("mem_swappiness", BYTES).ignored(NO_WEIGHTS),
        row("memswap_limit", SWAP).ignored(NO_WEIGHTS),
        row(
            "models",
            Shape::NamesOr(Alone::Nothing, &Shape::Table(&MODEL_USE)),
        )
        .ignored(NO_MODEL),
        row("network_mode", TEXT)
            .noted("`none` is honoured; with another the service is on `default`"),
        row(
            "networks",
            Shape::NamesOr(Alone::Nothing, &Shape::Table(&ATTACHMENT)),
        ),
        row("oom_kill_disable", FLAG).ignored(NO_WEIGHTS),
        row("oom_score_adj", whole(-1000, 1000)).ignored(NO_WEIGHTS),
        row("pid", TEXT).ignored(NO_NAMESPACES),
        row("pids_limit", INTEGER),
        row("platform", TEXT).ignored("instances run on this machine's own platform"),
        row(
            "ports",
            Shape::List(&Shape::Short(Short::Port, &PORT), Unique::Port),
        ),
        row("post_start", Shape::List(&Shape::Table(&HOOK), Unique::Any)).ignored(NO_HOOKS),
        row(
            "pre_start",
            Shape::List(&Shape::Table(&PRE_START), Unique::Any),
        )
        .ignored(NO_HOOKS),
        row("pre_stop", Shape::List(&Shape::Table(&HOOK), Unique::Any)).ignored(NO_HOOKS),
        row("privileged", FLAG).ignored(NO_CAPABILITIES),
        row("profiles", TEXTS),
        row("provider", Shape::Table(&PROVIDER))
            .ignored("no provider is run; the service is left out, and nothing waits for it"),
        row("pull_policy", PULL_POLICY).ignored(PULL),
        row("pull_refresh_after", TEXT).ignored(PULL),
        row("read_only", FLAG),
        row("restart", TEXT),
        row("runtime", TEXT).ignored("the engine runs instances itself"),
        row("scale", COUNT),
        row("secrets", SECRET_MOUNTS),
        row("security_opt", TEXTS_ONCE)
            .ignored("instances gain no privileges and have a system call filter"),
        row("shm_size", BYTES)
            .ignored("/dev/shm has the kernel's default size; use `tmpfs` for another"),
        row("stdin_open", FLAG).ignored(NO_TERMINAL),
        row("stop_grace_period", DURATION),
        row("stop_signal", TEXT),
        row("storage_opt", OPTIONS).ignored(NO_WEIGHTS),
        row("sysctls", ASSIGNMENTS)
            .ignored("those that matter for networks are set for every instance"),
        row("tmpfs", Shape::OneOrMany(&TEXT, Unique::Name)),
        row("tty", FLAG).ignored(NO_TERMINAL),
        row("ulimits", ULIMITS)
            .ignored("instances have the limits that Roadstead was started with"),
        row("use_api_socket", FLAG).ignored("no engine's socket is passed in"),
        row("user", TEXT),
        row("userns_mode", TEXT).ignored(NO_NAMESPACES),
        row("uts", TEXT).ignored(NO_NAMESPACES),
        row(
            "volumes",
            Shape::List(&Shape::Short(Short::Mount, &MOUNT), Unique::Key("target")),
        ),
        row("volumes_from", TEXTS_ONCE).ignored("name the volumes in `volumes`"),
        row("working_dir", TEXT),
        row("x-roads", Shape::Table(&roads::SERVICE)),
    ],
);

const BUILD: Table = Table::new(
    "`build`",
    &[
        row(
            "additional_contexts",
            Shape::Assignments(Unset::Empty, &CONTEXT),
        ),
        row("args", ENVIRONMENT),
        row("cache_from", Shape::List(&TEXT, Unique::Any)),
        row("cache_to", Shape::List(&TEXT, Unique::Any)),
        row("context", CONTEXT),
        row("dockerfile", TEXT),
        row("dockerfile_inline", TEXT),
        row("entitlements", Shape::List(&TEXT, Unique::Any)),
        row("extra_hosts", Shape::Hosts),
        row("isolation", TEXT),
        row("labels", ASSIGNMENTS),
        row("network", TEXT),
        row("no_cache", FLAG),
        row("no_cache_filter", Shape::OneOrMany(&TEXT, Unique::Any)),
        row("platforms", Shape::List(&TEXT, Unique::Any)),
        row("privileged", FLAG),
        row("provenance", WORD),
        row("pull", FLAG),
        row("sbom", WORD),
        row("secrets", SECRET_MOUNTS),
        row("shm_size", BYTES),
        row("ssh", Shape::Assignments(Unset::Environment, &PATH)),
        row("tags", Shape::List(&TEXT, Unique::Name)),
        row("target", TEXT),
        row("ulimits", ULIMITS),
    ],
);

const BLKIO: Table = Table::new(
    "`blkio_config`",
    &[
        row("device_read_bps", LIMITED_PATHS),
        row("device_read_iops", LIMITED_PATHS),
        row("device_write_bps", LIMITED_PATHS),
        row("device_write_iops", LIMITED_PATHS),
        row("weight", COUNT),
        row(
            "weight_device",
            Shape::List(&Shape::Table(&WEIGHT), Unique::Any),
        ),
    ],
);

const RATE: Table = Table::new("a limited device", &[row("path", TEXT), row("rate", BYTES)]);

const WEIGHT: Table = Table::new(
    "a weighted device",
    &[row("path", TEXT), row("weight", COUNT)],
);

const CREDENTIAL: Table = Table::new(
    "`credential_spec`",
    &[
        row("config", TEXT),
        row("file", TEXT),
        row("registry", TEXT),
    ],
);

const DEPENDENCY: Table = Table::new(
    "a dependency",
    &[
        row(
            "condition",
            choice(&[
                "service_started",
                "service_healthy",
                "service_completed_successfully",
            ]),
        )
        .required(),
        row("required", FLAG).presence(Presence::Flag(true)),
        row("restart", FLAG),
    ],
);

const DEVICE: Table = Table::new(
    "a device",
    &[
        row("permissions", TEXT),
        row("source", TEXT).required(),
        row("target", TEXT),
    ],
);

const ENV_FILE: Table = Table::new(
    "an `env_file`",
    &[
        row("format", choice(&["raw"])),
        row("path", PATH).required(),
        row("required", FLAG).presence(Presence::Flag(true)),
    ],
);

const EXTENDS: Table = Table::new(
    "`extends`",
    &[row("file", CONTEXT), row("service", TEXT).required()],
);

const FILE_MOUNT: Table = Table::new(
    "a mounted file",
    &[
        row("gid", QUANTITY),
        row("mode", MODE),
        row("source", TEXT).required(),
        row("target", TEXT),
        row("uid", QUANTITY),
    ],
);

const HEALTHCHECK: Table = Table::new(
    "`healthcheck`",
    &[
        row("disable", FLAG),
        row("interval", DURATION),
        row("retries", COUNT),
        row("start_interval", DURATION),
        row("start_period", DURATION),
        row("test", Shape::Test),
        row("timeout", DURATION),
    ],
);

const LOGGING: Table = Table::new("`logging`", &[row("driver", TEXT), row("options", OPTIONS)])
    .merged_if_same("driver");

const MODEL_USE: Table = Table::new(
    "a model of a service",
    &[row("endpoint_var", TEXT), row("model_var", TEXT)],
)
.or_nothing();

const ATTACHMENT: Table = Table::new(
    "a service's network",
    &[
        row("aliases", TEXTS),
        row("driver_opts", OPTIONS).ignored(NO_ADDRESS),
        row("gw_priority", NUMBER).ignored(ONE_WAY_OUT),
        row("interface_name", TEXT).ignored("instances have the loopback interface only"),
        row("ipv4_address", TEXT).ignored(NO_ADDRESS),
        row("ipv6_address", TEXT).ignored(NO_ADDRESS),
        row("link_local_ips", TEXTS).ignored(NO_ADDRESS),
        row("mac_address", TEXT).ignored(NO_ADDRESS),
        row("priority", NUMBER).ignored(ONE_WAY_OUT),
    ],
)
.or_nothing();

const PORT: Table = Table::new(
    "a port",
    &[
        row("app_protocol", TEXT).noted("`http` is spoken as such; any other is bytes"),
        row("host_ip", ADDRESS),
        row("mode", TEXT)
            .noted("all modes are the same where there is one machine")
            .presence(Presence::Text("ingress")),
        row("name", TEXT),
        row("protocol", TEXT).presence(Presence::Text("tcp")),
        row("published", PUBLISHED),
        row("target", whole(1, 65_535)).required(),
    ],
);

const PROVIDER: Table = Table::new(
    "`provider`",
    &[
        row(
            "options",
            Shape::Named(Names::Any, &Shape::OneOrMany(&WORD, Unique::Any)),
        ),
        row("type", TEXT).required(),
    ],
);

const ULIMIT: Table = Table::new(
    "a limit",
    &[
        row("hard", INTEGER).required(),
        row("soft", INTEGER).required(),
    ],
);

const MOUNT: Table = Table::new(
    "a mount",
    &[
        row("bind", Shape::Table(&BIND)),
        row("consistency", TEXT).noted("it is for machines that share files with others"),
        row("image", Shape::Table(&MOUNT_IMAGE)).ignored(PULL),
        row("read_only", FLAG),
        row("source", TEXT),
        row("target", TEXT).required(),
        row("tmpfs", Shape::Table(&MOUNT_TMPFS)),
        row("type", choice(MOUNT_TYPES)).required(),
        row("volume", Shape::Table(&MOUNT_VOLUME)),
    ],
);

const BIND: Table = Table::new(
    "`bind`",
    &[
        row("create_host_path", FLAG).presence(Presence::Flag(true)),
        row("propagation", TEXT).ignored("mounts are private"),
        row(
            "recursive",
            choice(&["enabled", "disabled", "writable", "readonly"]),
        )
        .ignored("mounts below the source are there too"),
        row("selinux", choice(&["z", "Z"])).ignored("no label is set"),
    ],
);

const MOUNT_VOLUME: Table = Table::new(
    "`volume`",
    &[
        row("labels", ASSIGNMENTS).ignored(VOLUME_LABELS),
        row("nocopy", FLAG).noted("nothing is ever copied from the image"),
        row("subpath", TEXT).ignored("the whole volume is mounted"),
    ],
);

const MOUNT_TMPFS: Table = Table::new("`tmpfs`", &[row("mode", MODE), row("size", BYTES)]);

const MOUNT_IMAGE: Table = Table::new("`image`", &[row("subpath", TEXT)]);

/// As the reference has it, this need only be somewhere in the name.
fn is_container_name(text: &str) -> bool {
    let begins = |c: &char| c.is_ascii_alphanumeric();
    let goes_on = |c: &char| c.is_ascii_alphanumeric() || "_.-".contains(*c);
    let pairs = text.chars().zip(text.chars().skip(1));
    pairs.into_iter().any(|(a, b)| begins(&a) && goes_on(&b))
}

fn is_pull_policy(text: &str) -> bool {
    let words = [
        "always",
        "never",
        "build",
        "if_not_present",
        "missing",
        "refresh",
        "daily",
        "weekly",
    ];
    let every = text.strip_prefix("every_").map(text::units::duration);
    words.contains(&text) || matches!(every, Some(Ok(_)))
}
