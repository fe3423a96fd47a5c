//! From what a service is wished to be to what Docker is asked to create.

use std::path::Path;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, ImageConfig, Mount,
    MountTmpfsOptions, MountType, MountVolumeOptions, NetworkingConfig, RestartPolicy,
    RestartPolicyNameEnum,
};
use model::{InstanceId, Limits, Port, ServiceSpec, Transport, VolumeName};
use ports::{EngineError, InstanceWish};

use crate::folder::Folder;
use crate::labels::{self, Identity};
use crate::network::Joined;

/// Where the gate and its door are in a container; `gate/gate.c` knows it too.
const SHARED: &str = "/.roadstead";

/// What Docker is asked to create for an instance whose image says `image`.
pub(crate) fn body(
    wish: &InstanceWish,
    image_reference: &str,
    image: &ImageConfig,
    folder: &Folder,
    home: &str,
    networks: &[Joined],
) -> Result<ContainerCreateBody, EngineError> {
    let InstanceWish { id, spec, .. } = wish;
    let argv = argv(id, spec, image)?;
    let mut all_labels = spec
        .labels
        .clone()
        .into_iter()
        .collect::<std::collections::HashMap<_, _>>();
    let identity = Identity {
        id: id.clone(),
        revision: wish.revision,
    };
    all_labels.extend(identity.write(home));
    let environment = spec.environment.iter();
    Ok(ContainerCreateBody {
        image: Some(image_reference.to_owned()),
        hostname: Some(hostname(wish)),
        user: spec.user.clone(),
        env: Some(environment.map(|(k, v)| format!("{k}={v}")).collect()),
        entrypoint: Some(vec![format!("{SHARED}/gate")]),
        cmd: Some(argv),
        working_dir: spec.working_dir.as_deref().map(text),
        labels: Some(all_labels),
        exposed_ports: Some(spec.expose.iter().map(exposed).collect()),
        stop_signal: Some(spec.stop_signal.number().to_string()),
        stop_timeout: Some(seconds(spec.stop_grace_period)),
        // Readiness is probed by whoever routes calls, in step with what it does otherwise.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(wish, folder, home, networks.first())),
        networking_config: networks.first().map(networking),
        ..ContainerCreateBody::default()
    })
}

/// The name of an instance on itself; the kernel takes 64 bytes, and Docker 63.
pub(crate) fn hostname(wish: &InstanceWish) -> String {
    let mut name = wish
        .spec
        .hostname
        .clone()
        .unwrap_or_else(|| wish.id.short());
    while name.len() > 63 {
        name.pop();
    }
    name
}

/// The program and its arguments: the file's where it has them, else the image's. A file's
/// entrypoint does away with the image's command (compose-spec, `entrypoint`).
fn argv(
    id: &InstanceId,
    spec: &ServiceSpec,
    image: &ImageConfig,
) -> Result<Vec<String>, EngineError> {
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let command = match (&spec.entrypoint, &spec.command) {
        (_, Some(command)) => command.clone(),
        (None, None) => words(&image.cmd),
        (Some(_), None) => Vec::new(),
    };
    let mut argv = match &spec.entrypoint {
        Some(entrypoint) => entrypoint.clone(),
        None => words(&image.entrypoint),
    };
    argv.extend(command);
    if argv.first().is_none_or(String::is_empty) {
        return Err(EngineError::Forbidden {
            what: format!("cannot start {id}"),
            why: "neither the service nor its image says which program to run".to_owned(),
            hint: "give the service a `command`".to_owned(),
        });
    }
    Ok(argv)
}

fn host_config(
    wish: &InstanceWish,
    folder: &Folder,
    home: &str,
    first: Option<&Joined>,
) -> HostConfig {
    let spec = &wish.spec;
    let Limits {
        memory_max,
        cpu_milli_max,
        pids_max,
    } = spec.limits;
    let own = [
        bind(&folder.shared(), SHARED, Access::Read),
        bind(&folder.hosts(), "/etc/hosts", Access::Write),
        bind(&folder.resolver(), "/etc/resolv.conf", Access::Write),
    ];
    let mounts = spec.mounts.iter().map(|m| mount(m, wish, home));
    let files = spec.files.iter().enumerate();
    let files =
        files.map(|(index, file)| bind(&folder.file(index), &text(&file.target), Access::Read));
    HostConfig {
        mounts: Some(own.into_iter().chain(mounts).chain(files).collect()),
        network_mode: Some(first.map_or_else(|| "none".to_owned(), |first| first.network.clone())),
        readonly_rootfs: Some(spec.read_only),
        memory: memory_max.and_then(|bytes| i64::try_from(bytes).ok()),
        nano_cpus: cpu_milli_max.map(|milli| i64::from(milli) * 1_000_000),
        pids_limit: pids_max.map(i64::from),
        // When an instance is started again is decided where calls are drained.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..HostConfig::default()
    }
}

/// Before 1.44 the API takes one network here; the others are connected before the start.
fn networking(first: &Joined) -> NetworkingConfig {
    let settings = EndpointSettings {
        aliases: Some(first.aliases.clone()),
        ..EndpointSettings::default()
    };
    NetworkingConfig {
        endpoints_config: Some([(first.network.clone(), settings)].into()),
    }
}

/// Whether what is mounted can be written.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

fn bind(source: &Path, target: &str, access: Access) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(text(source)),
        target: Some(target.to_owned()),
        read_only: Some(matches!(access, Access::Read)),
        ..Mount::default()
    }
}

fn mount(mount: &model::Mount, wish: &InstanceWish, home: &str) -> Mount {
    match mount {
        model::Mount::Bind {
            source,
            target,
            read_only,
            create_source: _,
        } => {
            let access = if *read_only {
                Access::Read
            } else {
                Access::Write
            };
            bind(source, &text(target), access)
        }
        model::Mount::Volume {
            name,
            target,
            read_only,
        } => Mount {
            typ: Some(MountType::VOLUME),
            source: name.as_ref().map(|name| volume_name(wish, name)),
            target: Some(text(target)),
            read_only: Some(*read_only),
            volume_options: Some(volume_options(wish, name.as_ref(), home)),
            ..Mount::default()
        },
        model::Mount::Tmpfs {
            target,
            size_max,
            mode,
        } => Mount {
            typ: Some(MountType::TMPFS),
            target: Some(text(target)),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: size_max.and_then(|bytes| i64::try_from(bytes).ok()),
                mode: mode.map(i64::from),
                ..MountTmpfsOptions::default()
            }),
            ..Mount::default()
        },
    }
}

/// Docker makes a volume that is not there yet when it is mounted, with these labels.
fn volume_options(
    wish: &InstanceWish,
    name: Option<&VolumeName>,
    home: &str,
) -> MountVolumeOptions {
    let mut all = labels::of_app(home, &wish.id.app);
    if let Some(name) = name {
        all.insert("com.docker.compose.volume".to_owned(), name.to_string());
    }
    MountVolumeOptions {
        labels: Some(all),
        ..MountVolumeOptions::default()
    }
}

/// The name of a volume in Docker, as Compose forms it.
fn volume_name(wish: &InstanceWish, name: &VolumeName) -> String {
    let spec = wish.app.volumes.get(name);
    let external = spec.and_then(|spec| spec.external_name.clone());
    external.unwrap_or_else(|| format!("{}_{name}", wish.id.app))
}

fn exposed(port: &Port) -> String {
    match port.transport {
        Transport::Tcp => format!("{}/tcp", port.number),
        Transport::Udp => format!("{}/udp", port.number),
    }
}

/// Docker counts whole seconds; a fraction counts as one.
fn seconds(time: Duration) -> i64 {
    let rest = i64::from(time.subsec_nanos() > 0);
    i64::try_from(time.as_secs())
        .unwrap_or(i64::MAX)
        .saturating_add(rest)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
