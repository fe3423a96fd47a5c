//! The keys of the Compose specification, each with what we make of it.
//!
//! The tables tell a typo (an error) from a key that we know and do not honour (a named warning
//! that says what happens instead). They are sorted, since they are searched.

/// An engine that runs instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Ours.
    Embedded,
    /// Docker, and Podman's compatible API.
    Docker,
}

/// What becomes of a key, for the people who write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What the specification says.
    Honoured,
    /// What the specification says, on these engines; on others a warning says what happens.
    HonouredOn(&'static [Engine]),
    /// Nothing; a warning says what happens instead.
    Warned,
    /// The file is refused; a hint says what to do.
    Refused,
}

/// What a key takes as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// A length of time, as `1m30s`.
    Duration,
    /// A number of bytes, as `512m`.
    Bytes,
    /// A path of this machine.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A command: words, or a line that is split into words.
    Command,
    /// A list of texts.
    Texts,
    /// One text, or a list of them.
    TextOrTexts,
    /// `NAME: value`, or a list of `NAME=value`.
    Assignments,
    /// A list of items; their keys, if they have some, are below `KEY[]`.
    List,
    /// A mapping; its keys are below this one, or below `KEY.*` where people choose the names.
    Mapping,
    /// One text, or a mapping as above.
    TextOrMapping,
    /// A list of names, or a mapping as above.
    NamesOrMapping,
}

/// One key of the Compose specification or of `x-roads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands, as `services.*.ports[].target`.
    pub path: String,
    /// What it takes.
    pub kind: Kind,
    /// What becomes of it.
    pub standing: Standing,
    /// What happens instead, what to do, or what it means where that is ours to say.
    pub note: &'static str,
}

/// Every key, in the order of the specification's sections; a mapping before its own keys.
pub fn keys() -> impl Iterator<Item = Key> {
    let rows = [("", &APP), ("services.*.", &SERVICE)].into_iter();
    rows.flat_map(|(prefix, table)| {
        table.rows.iter().map(move |row| {
            let (standing, note) = match row.honour {
                Honour::Full => (Standing::Honoured, ""),
                Honour::Ignored(note) => (Standing::Warned, note),
                Honour::Refused(note) => (Standing::Refused, note),
            };
            Key {
                path: format!("{prefix}{}", row.name),
                kind: Kind::Any,
                standing,
                note,
            }
        })
    })
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Honour {
    /// What the specification says.
    Full,
    /// Nothing; a warning says what happens instead.
    Ignored(&'static str),
    /// The file would mean something else without it, so it is an error; a hint says what to do.
    Refused(&'static str),
}

/// A key of one kind of mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRow {
    pub(crate) name: &'static str,
    pub(crate) honour: Honour,
}

const fn full(name: &'static str) -> KeyRow {
    let honour = Honour::Full;
    KeyRow { name, honour }
}

const fn ignored(name: &'static str, instead: &'static str) -> KeyRow {
    let honour = Honour::Ignored(instead);
    KeyRow { name, honour }
}

const fn refused(name: &'static str, hint: &'static str) -> KeyRow {
    let honour = Honour::Refused(hint);
    KeyRow { name, honour }
}

/// The keys that one kind of mapping may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// What such a mapping is called in messages.
    pub(crate) of: &'static str,
    pub(crate) rows: &'static [KeyRow],
}

impl Table {
    pub(crate) fn find(&self, name: &str) -> Option<&'static KeyRow> {
        let found = self.rows.binary_search_by(|row| row.name.cmp(name));
        self.rows.get(found.ok()?)
    }
}

const NO_CAPABILITIES: &str = "instances run without capabilities and cannot gain any";
const NO_WEIGHTS: &str = "only `cpus`, `mem_limit` and `pids_limit` bound an instance";
const NO_DNS: &str = "the names of services and of the outside are answered at 127.127.0.1";
const NO_DEVICES: &str = "an instance has the standard devices of /dev only";
const NO_NAMESPACES: &str = "each instance has namespaces of its own";
const NO_ADDRESS: &str = "a service has one loopback address for its callers; they use its name";
const NO_TERMINAL: &str = "instances have no terminal; `roads exec -it` opens one";
const NO_HOOKS: &str = "the hook is not run";
const NO_FILES: &str = "the file is not there; use a bind mount in `volumes`";
const NOT_YET: &str = "it is not honoured yet";
const PRIVATE: &str = "networks belong to their app alone";
const NO_STORAGE: &str = "the volume is a folder of this machine";

/// A whole file.
pub(crate) const APP: Table = Table {
    of: "a compose file",
    rows: &[
        ignored("configs", NO_FILES),
        refused("include", "name the other file with a further -f instead"),
        ignored("models", "no model is started"),
        full("name"),
        full("networks"),
        ignored("secrets", NO_FILES),
        full("services"),
        full("version"),
        full("volumes"),
        full("x-roads"),
    ],
};

/// A service.
pub(crate) const SERVICE: Table = Table {
    of: "a service",
    rows: &[
        ignored("annotations", "nothing reads them; `labels` are kept"),
        ignored("attach", "`roads logs` shows the output of every service"),
        ignored("blkio_config", NO_WEIGHTS),
        full("build"),
        ignored("cap_add", NO_CAPABILITIES),
        ignored("cap_drop", NO_CAPABILITIES),
        ignored("cgroup", NO_NAMESPACES),
        ignored(
            "cgroup_parent",
            "instances are in the control group of Roadstead",
        ),
        full("command"),
        ignored("configs", NO_FILES),
        ignored("container_name", "instances are called SERVICE-NUMBER"),
        ignored("cpu_count", NO_WEIGHTS),
        ignored("cpu_percent", NO_WEIGHTS),
        ignored("cpu_period", NO_WEIGHTS),
        ignored("cpu_quota", NO_WEIGHTS),
        ignored("cpu_rt_period", NO_WEIGHTS),
        ignored("cpu_rt_runtime", NO_WEIGHTS),
        ignored("cpu_shares", NO_WEIGHTS),
        full("cpus"),
        ignored("cpuset", NO_WEIGHTS),
        ignored("credential_spec", "it is for Windows"),
        full("depends_on"),
        full("deploy"),
        ignored(
            "develop",
            "nothing is watched; `up` again takes changes over",
        ),
        ignored("device_cgroup_rules", NO_DEVICES),
        ignored("devices", NO_DEVICES),
        ignored("dns", NO_DNS),
        ignored("dns_opt", NO_DNS),
        ignored("dns_search", NO_DNS),
        ignored(
            "domainname",
            "the instance has a host name without a domain",
        ),
        full("entrypoint"),
        full("env_file"),
        full("environment"),
        full("expose"),
        refused("extends", "use an anchor and `<<`, or write the keys here"),
        ignored(
            "external_links",
            "services are called by their names on a common network",
        ),
        ignored("extra_hosts", NO_DNS),
        ignored("gpus", NO_DEVICES),
        ignored("group_add", "the program has the group of its `user` only"),
        full("healthcheck"),
        full("hostname"),
        full("image"),
        full("init"),
        ignored("ipc", NO_NAMESPACES),
        ignored("isolation", "it is for Windows"),
        ignored("label_file", "only `labels` are read"),
        full("labels"),
        ignored(
            "links",
            "services are called by their names on a common network",
        ),
        ignored(
            "logging",
            "output is kept and rotated by size; `roads logs` shows it",
        ),
        ignored("mac_address", NO_ADDRESS),
        full("mem_limit"),
        ignored("mem_reservation", NO_WEIGHTS),
        ignored("mem_swappiness", NO_WEIGHTS),
        ignored("memswap_limit", NO_WEIGHTS),
        ignored("models", "no model is started"),
        full("network_mode"),
        full("networks"),
        ignored("oom_kill_disable", NO_WEIGHTS),
        ignored("oom_score_adj", NO_WEIGHTS),
        ignored("pid", NO_NAMESPACES),
        full("pids_limit"),
        ignored("platform", "instances run on this machine's own platform"),
        full("ports"),
        ignored("post_start", NO_HOOKS),
        ignored("pre_start", NO_HOOKS),
        ignored("pre_stop", NO_HOOKS),
        ignored("privileged", NO_CAPABILITIES),
        full("profiles"),
        refused("provider", "give the service an `image`"),
        ignored("pull_policy", NOT_YET),
        ignored("pull_refresh_after", NOT_YET),
        full("read_only"),
        full("restart"),
        ignored("runtime", "the engine runs instances itself"),
        full("scale"),
        ignored("secrets", NO_FILES),
        ignored(
            "security_opt",
            "instances gain no privileges and have a system call filter",
        ),
        ignored(
            "shm_size",
            "/dev/shm has the kernel's default size; use `tmpfs` for another",
        ),
        ignored("stdin_open", NO_TERMINAL),
        full("stop_grace_period"),
        full("stop_signal"),
        ignored("storage_opt", NO_WEIGHTS),
        ignored(
            "sysctls",
            "those that matter for networks are set for every instance",
        ),
        full("tmpfs"),
        ignored("tty", NO_TERMINAL),
        ignored(
            "ulimits",
            "instances have the limits that Roadstead was started with",
        ),
        ignored("use_api_socket", "no engine's socket is passed in"),
        full("user"),
        ignored("userns_mode", NO_NAMESPACES),
        ignored("uts", NO_NAMESPACES),
        full("volumes"),
        ignored("volumes_from", "name the volumes in `volumes`"),
        full("working_dir"),
        full("x-roads"),
    ],
};

/// `healthcheck`.
pub(crate) const HEALTHCHECK: Table = Table {
    of: "`healthcheck`",
    rows: &[
        full("disable"),
        full("interval"),
        full("retries"),
        full("start_interval"),
        full("start_period"),
        full("test"),
        full("timeout"),
    ],
};

/// `deploy`.
pub(crate) const DEPLOY: Table = Table {
    of: "`deploy`",
    rows: &[
        ignored("endpoint_mode", NO_ADDRESS),
        ignored("labels", "only the `labels` of the service itself are kept"),
        full("mode"),
        ignored("placement", "instances run on this machine"),
        full("replicas"),
        full("resources"),
        full("restart_policy"),
        ignored("rollback_config", NOT_YET),
        ignored("update_config", NOT_YET),
    ],
};

/// `deploy.resources`.
pub(crate) const RESOURCES: Table = Table {
    of: "`resources`",
    rows: &[
        full("limits"),
        ignored("reservations", "nothing is reserved"),
    ],
};

/// `deploy.resources.limits`.
pub(crate) const LIMITS: Table = Table {
    of: "`limits`",
    rows: &[full("cpus"), full("memory"), full("pids")],
};

/// `deploy.restart_policy`.
pub(crate) const RESTART_POLICY: Table = Table {
    of: "`restart_policy`",
    rows: &[
        full("condition"),
        ignored("delay", "Roadstead waits longer from restart to restart"),
        full("max_attempts"),
        ignored(
            "window",
            "a restart counts as a success when the instance became ready",
        ),
    ],
};

/// A dependency in `depends_on`.
pub(crate) const DEPENDENCY: Table = Table {
    of: "a dependency",
    rows: &[full("condition"), full("required"), full("restart")],
};

/// A file in `env_file`.
pub(crate) const ENV_FILE: Table = Table {
    of: "an `env_file`",
    rows: &[full("format"), full("path"), full("required")],
};

/// A port in `ports`.
pub(crate) const PORT: Table = Table {
    of: "a port",
    rows: &[
        full("app_protocol"),
        full("host_ip"),
        // Both modes are the same where there is one machine.
        full("mode"),
        full("name"),
        full("protocol"),
        full("published"),
        full("target"),
    ],
};

/// A network of a service.
pub(crate) const ATTACHMENT: Table = Table {
    of: "a service's network",
    rows: &[
        full("aliases"),
        ignored("driver_opts", NO_ADDRESS),
        ignored("gw_priority", "there is one way out"),
        ignored(
            "interface_name",
            "instances have the loopback interface only",
        ),
        ignored("ipv4_address", NO_ADDRESS),
        ignored("ipv6_address", NO_ADDRESS),
        ignored("link_local_ips", NO_ADDRESS),
        ignored("mac_address", NO_ADDRESS),
        ignored("priority", "there is one way out"),
    ],
};

/// A network of the app.
pub(crate) const NETWORK: Table = Table {
    of: "a network",
    rows: &[
        ignored("attachable", PRIVATE),
        ignored("driver", "a network is a rule of who may call whom"),
        ignored("driver_opts", "a network is a rule of who may call whom"),
        ignored("enable_ipv4", NO_ADDRESS),
        ignored("enable_ipv6", NO_ADDRESS),
        full("external"),
        full("internal"),
        ignored("ipam", NO_ADDRESS),
        ignored("labels", "only the `labels` of services are kept"),
        ignored("name", PRIVATE),
    ],
};

/// A volume of the app.
pub(crate) const VOLUME: Table = Table {
    of: "a volume",
    rows: &[
        full("driver"),
        ignored("driver_opts", NO_STORAGE),
        full("external"),
        ignored("labels", "only the `labels` of services are kept"),
        full("name"),
    ],
};

/// `external` in its old form.
pub(crate) const EXTERNAL: Table = Table {
    of: "`external`",
    rows: &[full("name")],
};

/// A file system in `volumes`.
pub(crate) const MOUNT: Table = Table {
    of: "a mount",
    rows: &[
        full("bind"),
        // It is for machines that share files with a virtual one.
        full("consistency"),
        ignored("image", NOT_YET),
        full("read_only"),
        full("source"),
        full("target"),
        full("tmpfs"),
        full("type"),
        full("volume"),
    ],
};

/// `bind` of a mount.
pub(crate) const BIND: Table = Table {
    of: "`bind`",
    rows: &[
        full("create_host_path"),
        ignored("propagation", "mounts are private"),
        ignored("recursive", "mounts below the source are there too"),
        ignored("selinux", "no label is set"),
    ],
};

/// `volume` of a mount.
pub(crate) const MOUNT_VOLUME: Table = Table {
    of: "`volume`",
    rows: &[
        ignored("labels", "only the `labels` of services are kept"),
        // Nothing is ever copied from the image.
        full("nocopy"),
        ignored("subpath", "the whole volume is mounted"),
    ],
};

/// `tmpfs` of a mount.
pub(crate) const MOUNT_TMPFS: Table = Table {
    of: "`tmpfs`",
    rows: &[full("mode"), full("size")],
};

/// `x-roads` of the app.
pub(crate) const ROADS_APP: Table = Table {
    of: "the app's `x-roads`",
    rows: &[
        full("activation"),
        ignored("balance", NOT_YET),
        // The version of a resolved document.
        full("document"),
        full("owner"),
        refused(
            "protocol",
            "ports belong to a service; write it in the service's `x-roads`",
        ),
        ignored("rollout", NOT_YET),
        refused(
            "route",
            "a route belongs to a service; write it in the service's `x-roads`",
        ),
        full("scale"),
    ],
};

/// `x-roads` of a service.
pub(crate) const ROADS_SERVICE: Table = Table {
    of: "`x-roads`",
    rows: &[
        full("activation"),
        ignored("balance", NOT_YET),
        full("owner"),
        full("protocol"),
        ignored("rollout", NOT_YET),
        ignored("route", NOT_YET),
        full("scale"),
    ],
};

/// `x-roads.activation`.
pub(crate) const ACTIVATION: Table = Table {
    of: "`activation`",
    rows: &[full("hold"), full("idle"), full("mode"), full("rest")],
};

/// `x-roads.activation.hold`.
pub(crate) const HOLD: Table = Table {
    of: "`hold`",
    rows: &[full("requests"), full("timeout")],
};

/// `x-roads.scale`.
pub(crate) const ROADS_SCALE: Table = Table {
    of: "`scale`",
    rows: &[
        ignored(
            "in_flight",
            "the number of instances does not follow the load yet",
        ),
        full("max"),
        full("min"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_sorted() {
        for table in [
            APP,
            SERVICE,
            HEALTHCHECK,
            DEPLOY,
            RESOURCES,
            LIMITS,
            RESTART_POLICY,
            DEPENDENCY,
            ENV_FILE,
            PORT,
            ATTACHMENT,
            NETWORK,
            VOLUME,
            EXTERNAL,
            MOUNT,
            BIND,
            MOUNT_VOLUME,
            MOUNT_TMPFS,
            ROADS_APP,
            ROADS_SERVICE,
            ACTIVATION,
            HOLD,
            ROADS_SCALE,
        ] {
            assert!(table.rows.is_sorted_by_key(|row| row.name), "{}", table.of);
        }
    }
}
