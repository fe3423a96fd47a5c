//! Every Spec survives its document.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::{NetworkName, NetworkSpec, Owner, Restart, ServiceName, VolumeName};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use text::Source;

use super::*;
use crate::load::{Request, load};

const SERVICES: [&str; 4] = ["a", "b.c", "D-4", "no"];
const NETWORKS: [&str; 3] = ["default", "front", "0"];
const VOLUMES: [&str; 2] = ["data", "true"];

/// Text that is hard to write: dollars, quotes, line ends, other scripts, YAML's own signs.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z$ \"'\\\\\n\r\t:#{}*&!|>%@`-]{0,8}",
        "\\PC{0,6}",
        Just("null".to_owned()),
        Just("1.10".to_owned()),
        Just("${A:-b}".to_owned()),
        Just("\u{feff}\u{85}\u{2028}\u{7f}\u{1}".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = PathBuf> {
    let part = text().prop_filter("no part of a clean path", |part| {
        !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\0'])
    });
    vec(part, 1..3).prop_map(|parts| PathBuf::from(format!("/{}", parts.join("/"))))
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn positive() -> impl Strategy<Value = Duration> {
    duration().prop_filter("0 means the default", |duration| !duration.is_zero())
}

fn port() -> impl Strategy<Value = Port> {
    (1..=u16::MAX, transport()).prop_map(|(number, transport)| Port { number, transport })
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)]
}

fn publish() -> impl Strategy<Value = Publish> {
    (option::of(any::<IpAddr>()), port()).prop_map(|(address, target)| Publish {
        address,
        published: None,
        target,
    })
}

fn healthcheck() -> impl Strategy<Value = Healthcheck> {
    let test = prop_oneof![
        vec(text(), 1..3).prop_map(HealthTest::Command),
        text().prop_map(HealthTest::Shell),
    ];
    let retries = 1..=u32::MAX;
    (
        test,
        positive(),
        positive(),
        retries,
        positive(),
        positive(),
    )
        .prop_map(
            |(test, interval, timeout, retries, start_period, start_interval)| Healthcheck {
                test,
                interval,
                timeout,
                retries,
                start_period,
                start_interval,
            },
        )
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![
        Just(Restart::No),
        Just(Restart::Always),
        Just(Restart::UnlessStopped),
        option::of(1..=u32::MAX).prop_map(|attempts_max| Restart::OnFailure { attempts_max }),
    ]
}

fn mount() -> impl Strategy<Value = Mount> {
    let volume = option::of(prop::sample::select(VOLUMES.to_vec()));
    prop_oneof![
        (path(), path(), any::<bool>(), any::<bool>()).prop_map(
            |(source, target, read_only, create_source)| Mount::Bind {
                source,
                target,
                read_only,
                create_source,
            }
        ),
        (volume, path(), any::<bool>()).prop_map(|(name, target, read_only)| Mount::Volume {
            name: name.map(|name| VolumeName::new(name).unwrap()),
            target,
            read_only,
        }),
        (path(), option::of(1..=u64::MAX), option::of(any::<u32>())).prop_map(
            |(target, size_max, mode)| Mount::Tmpfs {
                target,
                size_max,
                mode,
            }
        ),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let number = || option::of(1..=u32::MAX);
    (option::of(1..=u64::MAX), number(), number()).prop_map(
        |(memory_max, cpu_milli_max, pids_max)| Limits {
            memory_max,
            cpu_milli_max,
            pids_max,
        },
    )
}

fn activation() -> impl Strategy<Value = Activation> {
    let mode = prop_oneof![Just(ActivationMode::Always), Just(ActivationMode::OnDemand)];
    let rest = prop_oneof![Just(Rest::Frozen), Just(Rest::Stopped)];
    (mode, duration(), rest, any::<u32>(), duration()).prop_map(
        |(mode, idle, rest, requests_max, timeout)| Activation {
            mode,
            idle,
            rest,
            hold: Hold {
                requests_max,
                timeout,
            },
        },
    )
}

fn dependency() -> impl Strategy<Value = Dependency> {
    let condition = prop_oneof![
        Just(Condition::Started),
        Just(Condition::Healthy),
        Just(Condition::CompletedSuccessfully),
    ];
    (condition, any::<bool>(), any::<bool>()).prop_map(|(condition, required, restart)| {
        Dependency {
            condition,
            required,
            restart,
        }
    })
}

fn assignments() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = text().prop_filter("no name", |name| {
        !name.is_empty() && !name.contains(['=', '\0'])
    });
    btree_map(name, text(), 0..4)
}

prop_compose! {
    fn process()(
        reference in option::of("[a-gi-z][a-z0-9]{0,5}(/[a-z]{1,3})?(:[a-z0-9][a-z0-9.]{0,5})?"),
        owner in option::of("[a-z$ é]{1,8}"),
        entrypoint in option::of(vec(text(), 0..3)),
        command in option::of(vec(text(), 0..3)),
        environment in assignments(),
        labels in assignments(),
        working_dir in option::of(path()),
        user in option::of(text()),
        hostname in option::of(text()),
        read_only: bool,
        signal in (1_u8..=64).prop_map(|number| Signal::from_number(number).unwrap()),
        stop_grace_period in duration(),
    ) -> ServiceSpec {
        let image = reference.map_or(Image::Host, Image::Reference);
        ServiceSpec {
            owner: owner.map(|owner| Owner::new(&owner).unwrap()),
            entrypoint,
            command,
            environment,
            labels,
            working_dir,
            user,
            hostname,
            read_only,
            stop_signal: signal,
            stop_grace_period,
            ..ServiceSpec::new(ServiceName::new("x").unwrap(), image)
        }
    }
}

prop_compose! {
    fn file()(target in path(), content in text(), mode in 0_u32..=0o7777) -> WrittenFile {
        WrittenFile { target, content, mode }
    }
}

prop_compose! {
    fn service()(
        process in process(),
        expose in btree_set(port(), 0..4),
        publish in vec(publish(), 0..3),
        protocols in btree_map(1..=u16::MAX, prop_oneof![
            Just(Protocol::Detect), Just(Protocol::Http1), Just(Protocol::Http2), Just(Protocol::Tcp),
        ], 0..3),
        dependencies in btree_map(prop::sample::select(SERVICES.to_vec()), dependency(), 0..3),
        healthcheck in option::of(healthcheck()),
        restart in restart(),
        instances: u32,
        further in 0_u32..3,
        limits in limits(),
        networks in btree_map(prop::sample::select(NETWORKS.to_vec()), btree_set(text(), 0..3), 0..3),
        mounts in vec(mount(), 0..4),
        files in vec(file(), 0..3),
        activation in activation(),
    ) -> ServiceSpec {
        let targets = publish.iter().map(|publish| publish.target);
        let networks = networks.into_iter();
        let mut known = BTreeSet::new();
        let targets_once = |mount: &Mount| known.insert(match mount {
            Mount::Bind { target, .. } | Mount::Volume { target, .. } | Mount::Tmpfs { target, .. } => target.clone(),
        });
        let dependencies = dependencies.into_iter();
        ServiceSpec {
            expose: expose.into_iter().chain(targets).collect(),
            publish,
            protocols,
            depends_on: dependencies.map(|(name, d)| (ServiceName::new(name).unwrap(), d)).collect(),
            healthcheck,
            restart,
            scale: Scale { instances, instances_max: instances.saturating_add(further) },
            limits,
            networks: std::sync::Arc::new(networks.map(|(name, aliases)| (NetworkName::new(name).unwrap(), aliases)).collect()),
            mounts: mounts.into_iter().filter(targets_once).collect(),
            files: {
                let mut known = BTreeSet::new();
                files.into_iter().filter(|file| known.insert(file.target.clone())).collect()
            },
            activation,
            ..process
        }
    }
}

prop_compose! {
    fn app()(
        name in "[a-z0-9][a-z0-9_-]{0,5}",
        services in btree_map(prop::sample::select(SERVICES.to_vec()), service(), 1..4),
        internal in any::<[bool; 3]>(),
        external in option::of(text()),
        first_port in 1_u16..60_000,
    ) -> AppSpec {
        let mut services: BTreeMap<ServiceName, ServiceSpec> = services
            .into_iter()
            .map(|(name, spec)| (ServiceName::new(name).unwrap(), spec))
            .map(|(name, spec)| (name.clone(), ServiceSpec { name, ..spec }))
            .collect();
        make_valid(&mut services, first_port);
        AppSpec {
            name: AppName::new(&name).unwrap(),
            services: services.into_iter().map(|(name, spec)| (name, spec.into())).collect(),
            networks: NETWORKS
                .iter()
                .zip(internal)
                .map(|(name, internal)| (NetworkName::new(name).unwrap(), NetworkSpec { internal }))
                .collect(),
            volumes: VOLUMES
                .iter()
                .zip([external, None])
                .map(|(name, external_name)| (VolumeName::new(name).unwrap(), VolumeSpec { external_name }))
                .collect(),
        }
    }
}

/// Dependencies go to later services only, and no port is published twice.
fn make_valid(services: &mut BTreeMap<ServiceName, ServiceSpec>, first_port: u16) {
    let names: Vec<ServiceName> = services.keys().cloned().collect();
    let ports = services.values_mut().flat_map(|spec| &mut spec.publish);
    for (index, publish) in (0..).zip(ports) {
        publish.published = (index % 3 != 2).then_some(first_port + index);
    }
    for (name, spec) in services {
        spec.depends_on
            .retain(|other, _| other > name && names.contains(other));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_document_reads_back_what_it_was_written_from(app in app()) {
        let read = load_document(&document(&app));
        prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(app));
    }

    /// A document is a compose file, in both of its forms.
    #[test]
    fn a_document_is_a_compose_file_with_the_same_meaning(app in app()) {
        for text in [document(&app), yaml(&app)] {
            let file = Source { path: "resolved.yaml".into(), text };
            let loaded = load(&Request::new(vec![file], "/".into()), &NoFiles);
            let spec = loaded.map(|loaded| loaded.spec).map_err(|error| error.to_string());
            prop_assert_eq!(spec.as_ref(), Ok(&app));
        }
    }
}

#[test]
fn another_version_is_refused() {
    let of = |roads: &str| {
        format!(r#"{{ "name": "a", {roads} "services": {{ "a": {{ "image": "host" }} }} }}"#)
    };
    assert!(load_document(&of(r#""x-roads": { "document": 1 },"#)).is_ok());
    for roads in [r#""x-roads": { "document": 2 },"#, r#""x-roads": {},"#, ""] {
        let error = load_document(&of(roads)).unwrap_err();
        assert!(error.to_string().contains("version"), "{error}");
    }
    for text in ["", "{}", "[]"] {
        assert!(load_document(text).is_err(), "{text}");
    }
}
