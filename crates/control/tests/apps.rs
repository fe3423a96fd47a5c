//! Apps around fake parts: what is commanded is remembered, done, routed, and found again.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use control::{Control, ControlError, Parts, UpWish};
use model::{
    ActivationMode, AppName, AppSpec, ExitStatus, Image, InstanceId, Moment, NetworkName,
    NetworkSpec, Port, Publish, Restart, ServiceName, ServiceSpec, Signal, Transport,
};
use ports::{Engine, InstanceState, Standing, Store, Volumes};
use testkit::{FakeClock, FakeDataplane, FakeEngine, FakeStore, Listen, Operation};
use tokio::sync::watch;
use tokio::task::JoinSet;
use traffic::{Availability, Snapshot};

const PORT: u16 = 80;

struct World {
    engine: Arc<FakeEngine>,
    store: Arc<FakeStore>,
    dataplane: Arc<FakeDataplane>,
}

/// A daemon's control in a world that outlives it.
struct Daemon {
    control: Control,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    _tasks: JoinSet<()>,
}

impl World {
    fn new(listen: Listen) -> Self {
        Self {
            engine: Arc::new(FakeEngine::new(listen)),
            store: Arc::default(),
            dataplane: Arc::default(),
        }
    }

    fn daemon(&self) -> Daemon {
        let (published, snapshots) = watch::channel(Arc::default());
        let (control, run) = Control::new(Parts {
            engine: self.engine.clone(),
            store: self.store.clone(),
            dataplane: self.dataplane.clone(),
            clock: Arc::new(FakeClock::default()),
            snapshots: published,
            captures: 1,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(run);
        Daemon {
            control,
            snapshots,
            _tasks: tasks,
        }
    }
}

impl Daemon {
    /// Waits until a service has this many endpoints.
    async fn endpoints(&mut self, service: &str, count: usize) {
        let reached = |snapshot: &Arc<Snapshot>| {
            let row = snapshot.service(&app(), &name(service));
            row.is_some_and(|row| row.endpoints.len() == count)
        };
        self.snapshots.wait_for(reached).await.unwrap();
    }

    /// A held call to a service, as the data plane makes one.
    async fn call(&mut self, service: &str) -> InstanceId {
        let known = |snapshot: &Arc<Snapshot>| snapshot.service(&app(), &name(service)).is_some();
        let snapshot = Arc::clone(&*self.snapshots.wait_for(known).await.unwrap());
        let row = Arc::clone(snapshot.service(&app(), &name(service)).unwrap());
        let now = Moment::from_zero(Duration::from_secs(1));
        let held = row
            .activity
            .hold(&row.spec.activation.hold, PORT, now)
            .unwrap();
        let ready = |snapshot: &Arc<Snapshot>| {
            snapshot
                .service(&app(), &name(service))
                .is_some_and(|row| !row.endpoints.is_empty())
        };
        let snapshot = Arc::clone(&*self.snapshots.wait_for(ready).await.unwrap());
        let row = snapshot.service(&app(), &name(service)).unwrap();
        let entered = row.enter(Moment::ZERO, 7, &[]).unwrap();
        drop(held);
        entered.endpoint().instance().clone()
    }
}

fn app() -> AppName {
    AppName::new("coins").unwrap()
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn id(service: &str, number: u32) -> InstanceId {
    InstanceId {
        app: app(),
        service: name(service),
        number,
    }
}

fn service(text: &str) -> ServiceSpec {
    let mut spec = ServiceSpec::new(name(text), Image::Host);
    spec.expose.insert(Port {
        number: PORT,
        transport: Transport::Tcp,
    });
    let default = NetworkName::new("default").unwrap();
    spec.networks = Arc::new([(default, BTreeSet::new())].into());
    spec
}

fn wish(services: impl IntoIterator<Item = ServiceSpec>) -> UpWish {
    let services = services
        .into_iter()
        .map(|spec| (spec.name.clone(), Arc::new(spec)));
    let network = (NetworkName::new("default").unwrap(), NetworkSpec::default());
    UpWish {
        spec: AppSpec {
            name: app(),
            services: services.collect(),
            networks: BTreeMap::from([network]),
            volumes: BTreeMap::new(),
        },
        document: "{}".to_owned(),
        services: BTreeSet::new(),
        scales: BTreeMap::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_up_is_remembered_served_and_routed_and_is_gone_when_down() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    daemon
        .control
        .up(wish([service("rng"), service("web")]))
        .await
        .unwrap();
    daemon.endpoints("rng", 1).await;
    daemon.endpoints("web", 1).await;
    assert_eq!(world.store.apps().unwrap().len(), 1);
    assert_eq!(world.dataplane.attached(), [id("rng", 1), id("web", 1)]);

    daemon.control.down(&app(), Volumes::Keep).await.unwrap();
    assert!(world.engine.instances().is_empty());
    assert!(world.dataplane.attached().is_empty());
    assert!(world.store.apps().unwrap().is_empty());
    assert!(daemon.snapshots.borrow().apps.is_empty());
    assert_eq!(*daemon.control.busy().borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_wakes_a_service_once_and_goes_on() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    let mut rng = service("rng");
    rng.activation.mode = ActivationMode::OnDemand;
    daemon.control.up(wish([rng])).await.unwrap();
    assert!(world.engine.instances().is_empty());
    assert_eq!(daemon.call("rng").await, id("rng", 1));
    let starts = world
        .engine
        .asked()
        .iter()
        .filter(|asked| asked.contains("start"))
        .count();
    assert_eq!(starts, 1, "{:?}", world.engine.asked());
}

#[tokio::test(start_paused = true)]
async fn the_next_daemon_finds_the_instances_and_starts_none() {
    let world = World::new(Listen::AtStart);
    let mut first = world.daemon();
    first.control.up(wish([service("rng")])).await.unwrap();
    first.endpoints("rng", 1).await;
    drop(first);
    let asked_before = world.engine.asked().len();
    let (record, _) = world.store.apps().unwrap().remove(0);

    let mut second = world.daemon();
    let errors = second
        .control
        .restore(vec![(record, wish([service("rng")]).spec)])
        .await;
    assert!(errors.is_empty(), "{errors:?}");
    second.endpoints("rng", 1).await;
    assert_eq!(
        world.engine.instances(),
        [(id("rng", 1), InstanceState::Running)]
    );
    let asked = world.engine.asked().split_off(asked_before);
    assert!(
        !asked.iter().any(|asked| asked.contains("start")),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn instances_of_an_app_that_nobody_remembers_are_removed() {
    let world = World::new(Listen::AtStart);
    let mut first = world.daemon();
    first.control.up(wish([service("rng")])).await.unwrap();
    first.endpoints("rng", 1).await;
    drop(first);
    let second = world.daemon();
    assert!(second.control.restore(Vec::new()).await.is_empty());
    assert!(world.engine.instances().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_what_a_program_sees_makes_a_new_revision() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    let first = daemon.control.up(wish([service("rng")])).await.unwrap();
    assert_eq!(first.changed.len(), 1);
    daemon.endpoints("rng", 1).await;
    let mut scaled = service("rng");
    scaled.scale.instances = 2;
    assert!(
        daemon
            .control
            .up(wish([scaled.clone()]))
            .await
            .unwrap()
            .changed
            .is_empty()
    );
    daemon.endpoints("rng", 2).await;
    scaled.environment.insert("A".to_owned(), "b".to_owned());
    let changed = daemon.control.up(wish([scaled])).await.unwrap().changed;
    assert_eq!(changed[0].1.to_string(), "r2");
}

#[tokio::test(start_paused = true)]
async fn starting_an_app_starts_what_was_stopped_by_name_and_nothing_else() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    let mut wished = wish([service("rng"), service("web"), service("tool")]);
    wished.services = BTreeSet::from([name("rng"), name("web")]);
    daemon.control.up(wished).await.unwrap();
    daemon.endpoints("web", 1).await;
    let web = BTreeSet::from([name("web")]);
    daemon.control.stop(&app(), &web).await.unwrap();
    daemon.endpoints("web", 0).await;
    daemon
        .control
        .start(&app(), &BTreeSet::new())
        .await
        .unwrap();
    daemon.endpoints("web", 1).await;
    let (record, _) = world.store.apps().unwrap().remove(0);
    assert_eq!(
        record.services[&name("tool")].standing,
        Standing::Unselected
    );
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_changes_nothing() {
    let world = World::new(Listen::AtStart);
    world.dataplane.take(8000);
    let daemon = world.daemon();
    let mut web = service("web");
    let target = Port {
        number: PORT,
        transport: Transport::Tcp,
    };
    web.publish.push(Publish {
        address: None,
        published: Some(8000),
        target,
    });
    let refused = daemon.control.up(wish([web])).await.unwrap_err();
    assert!(matches!(refused, ControlError::Listen(_)), "{refused}");
    assert!(world.store.apps().unwrap().is_empty());
    assert!(daemon.control.apps().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ended_for_good_refuses_calls_with_the_reason() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    let mut rng = service("rng");
    rng.restart = Restart::No;
    daemon.control.up(wish([rng])).await.unwrap();
    daemon.endpoints("rng", 1).await;
    world.engine.exit(&id("rng", 1), ExitStatus::Code(3));
    daemon.endpoints("rng", 0).await;
    let snapshot = Arc::clone(&daemon.snapshots.borrow());
    let row = snapshot.service(&app(), &name("rng")).unwrap();
    let Availability::Refused(why) = &row.availability else {
        panic!("it is held")
    };
    assert!(why.contains("exited with code 3"), "{why}");
    assert!(world.dataplane.attached().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_named() {
    let world = World::new(Listen::AtStart);
    let daemon = world.daemon();
    let missing = daemon.control.rest(&app(), &name("rng")).await.unwrap_err();
    assert!(matches!(missing, ControlError::NoSuchApp(_)));
    daemon.control.up(wish([service("rng")])).await.unwrap();
    let missing = daemon.control.wake(&app(), &name("rgn")).await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        r#"app coins has no service "rgn"; it has rng"#
    );
    let scaled = daemon
        .control
        .scale(&app(), &name("rng"), 101)
        .await
        .unwrap_err();
    assert!(scaled.to_string().contains("scale.max is 100"), "{scaled}");
    assert_eq!(world.engine.name(), daemon.control.engine());
}

/// What is said of a service, and how its instances are.
fn state(daemon: &Daemon, service: &str) -> (String, Vec<String>) {
    let status = daemon.control.status(&app()).unwrap();
    let status = &status.services[&name(service)];
    (status.state.clone(), status.reasons.clone())
}

#[tokio::test(start_paused = true)]
async fn rest_and_wake_are_done_when_the_status_shows_it() {
    let world = World::new(Listen::AtStart);
    let daemon = world.daemon();
    let mut rng = service("rng");
    rng.scale.instances = 2;
    daemon.control.up(wish([rng])).await.unwrap();
    for _ in 0..3 {
        daemon.control.wake(&app(), &name("rng")).await.unwrap();
        assert_eq!(state(&daemon, "rng").0, "running");
        daemon.control.rest(&app(), &name("rng")).await.unwrap();
        assert_eq!(state(&daemon, "rng").0, "asleep");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_calls_keep_from_being_says_so() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    daemon.control.up(wish([service("rng")])).await.unwrap();
    daemon.endpoints("rng", 1).await;
    let snapshot = Arc::clone(&daemon.snapshots.borrow());
    let row = snapshot.service(&app(), &name("rng")).unwrap();
    let entered = row.enter(Moment::ZERO, 7, &[]).unwrap();
    let refused = daemon.control.rest(&app(), &name("rng")).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::NotAtRest { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("in flight: 1"), "{refused}");
    drop(entered);
    daemon.control.rest(&app(), &name("rng")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wake_in_vain_ends_with_why() {
    let world = World::new(Listen::OnCommand);
    let daemon = world.daemon();
    let mut rng = service("rng");
    rng.activation.mode = ActivationMode::OnDemand;
    daemon.control.up(wish([rng])).await.unwrap();
    let refused = daemon.control.wake(&app(), &name("rng")).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::NotReady { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("is not ready yet"),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_daemon_tells_of_an_app_when_it_knows_what_runs() {
    let world = World::new(Listen::AtStart);
    let mut first = world.daemon();
    first.control.up(wish([service("rng")])).await.unwrap();
    first.endpoints("rng", 1).await;
    drop(first);
    let remembered = || {
        let (record, _) = world.store.apps().unwrap().remove(0);
        vec![(record, wish([service("rng")]).spec)]
    };
    let second = world.daemon();
    second.control.restore(remembered()).await;
    second.control.observed(&app()).await.unwrap();
    let status = second.control.status(&app()).unwrap();
    assert_eq!(status.services[&name("rng")].instances.len(), 1);
    drop(second);

    world.engine.stall(Operation::Observe);
    let third = world.daemon();
    let errors = third.control.restore(remembered()).await;
    assert!(
        errors[0].to_string().contains("does not answer"),
        "{errors:?}"
    );
    third.control.observed(&app()).await.unwrap();
    let (state, reasons) = state(&third, "rng");
    assert_eq!(state, "unknown");
    assert!(reasons[0].contains("what runs"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn who_sees_a_status_reads_the_events_that_led_to_it() {
    let world = World::new(Listen::AtStart);
    let daemon = world.daemon();
    daemon.control.up(wish([service("rng")])).await.unwrap();
    for round in 1..20 {
        daemon.control.rest(&app(), &name("rng")).await.unwrap();
        let events = daemon.control.events(&app(), None, 1000).await.unwrap();
        let rested = events
            .iter()
            .filter(|e| e.event.fact == model::Fact::ServiceRested);
        assert_eq!(rested.count(), round);
        daemon.control.wake(&app(), &name("rng")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_does_not_wait_for_the_grace_period() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    let mut rng = service("rng");
    rng.stop_grace_period = Duration::from_secs(1 << 30);
    daemon.control.up(wish([rng])).await.unwrap();
    daemon.endpoints("rng", 1).await;
    world.engine.deafen(&id("rng", 1));
    let none = BTreeSet::new();
    let app = app();
    let stopping = daemon.control.stop(&app, &none);
    let stopped = tokio::time::timeout(Duration::from_secs(1), stopping).await;
    assert!(stopped.is_err(), "it does not end for a SIGTERM");
    daemon
        .control
        .kill(&app, &none, Signal::KILL)
        .await
        .unwrap();
    assert_eq!(state(&daemon, "rng").0, "stopped");
    let ended = world.engine.instance(&id("rng", 1));
    assert!(matches!(ended, Some(InstanceState::Exited(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn any_other_signal_is_sent_and_no_more() {
    let world = World::new(Listen::AtStart);
    let daemon = world.daemon();
    daemon.control.up(wish([service("rng")])).await.unwrap();
    daemon.control.wake(&app(), &name("rng")).await.unwrap();
    let usr1 = Signal::parse("USR1").unwrap();
    let none = BTreeSet::new();
    daemon.control.kill(&app(), &none, usr1).await.unwrap();
    let last = world.engine.asked().pop().unwrap();
    assert!(last.contains("signal") && last.contains("rng"), "{last}");
    let (record, _) = world.store.apps().unwrap().remove(0);
    assert_eq!(record.services[&name("rng")].standing, Standing::Selected);
}

#[tokio::test(start_paused = true)]
async fn a_status_tells_times_as_of_when_it_is_asked_for() {
    let world = World::new(Listen::AtStart);
    let daemon = world.daemon();
    daemon.control.up(wish([service("rng")])).await.unwrap();
    daemon.control.rest(&app(), &name("rng")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(90)).await;
    let (_, reasons) = state(&daemon, "rng");
    assert!(reasons[0].contains("asleep for 1 min 30 s"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_left_is_told_of_no_longer_than_its_instances_live() {
    let world = World::new(Listen::AtStart);
    let mut daemon = world.daemon();
    let both = [service("rng"), service("web")];
    daemon.control.up(wish(both)).await.unwrap();
    daemon.endpoints("web", 1).await;
    daemon.endpoints("rng", 1).await;
    daemon.control.up(wish([service("rng")])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.engine.instances().len(), 1);
    let status = daemon.control.status(&app()).unwrap();
    let names: Vec<_> = status.services.keys().map(ServiceName::as_str).collect();
    assert_eq!(names, ["rng"]);
}
