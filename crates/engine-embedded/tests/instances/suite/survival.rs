//! Daemons come and go; instances stay. Keepers go, and instances with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use model::{AppName, ExitStatus, InstanceId, ServiceName};
use ports::{Engine, EngineEvent, InstanceState};

use crate::world::{Role, World, within};

fn survivor() -> InstanceId {
    InstanceId {
        app: AppName::new("survivor").unwrap(),
        service: ServiceName::new("one").unwrap(),
        number: 1,
    }
}

/// The daemon that will be killed.
pub(crate) async fn be_a_daemon(world: World) -> ExitCode {
    let mut wish =
        world.shell("echo before; while [ ! -e /tmp/go ]; do sleep 0.005; done; echo after");
    wish.id = survivor();
    world.start(&wish).await.unwrap();
    world.until_line(&wish.id, "before").await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{} {}", world.keeper, listener.local_addr().unwrap());
    world
        .engine
        .deposit("listeners", vec![listener.into()])
        .await
        .unwrap();
    println!("deposited");
    std::future::pending().await
}

pub(crate) async fn a_daemon_dies_and_the_next_has_everything(world: World) {
    let mut daemon = Role::Daemon
        .command(&world.base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let (keeper, address) = first.split_once(' ').unwrap();
    assert_eq!(keeper, world.keeper.to_string());
    assert_eq!(lines.next().unwrap().unwrap(), "deposited");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // It is still there, and so is what belongs to it.
    let id = survivor();
    assert_eq!(world.state(&id).await, Some(InstanceState::Running));
    assert_eq!(world.engine.attachment(&id).await.unwrap().tcp.len(), 2);
    // Nobody has accepted yet, and nobody is refused.
    let _caller = TcpStream::connect(address).unwrap();
    let held = world.engine.deposited("listeners").await.unwrap();
    let listener = TcpListener::from(held.into_iter().next().unwrap());
    listener.accept().unwrap();
    world.engine.withdraw("listeners").await.unwrap();
    assert!(
        world
            .engine
            .deposited("listeners")
            .await
            .unwrap()
            .is_empty()
    );
    // It may be killed with the instance, which ends as soon as the file is there.
    world.exec(&id, "touch /tmp/go").await;
    assert_eq!(within(world.ended(&id)).await, ExitStatus::Code(0));
    let lines = world.lines(&id).await;
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["before", "after"]);
    world.engine.remove(&id).await.unwrap();
}

pub(crate) async fn hostile_frames_close_their_connection_only(world: World) {
    let hostile: [&[u8]; 5] = [
        &[0xff; 64],
        b"\0\0\0\x03{{{",
        b"\0\0\0\x02{}",
        b"\0\0\0\x44{\"descriptors\":9,\"body\":{\"id\":1,\"call\":{\"Hello\":{\"version\":1}}}}      ",
        b"\x7f",
    ];
    for bytes in hostile {
        let path = world.base.join("runtime/keeper.sock");
        let mut socket = UnixStream::connect(path).unwrap();
        socket.write_all(bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    // Who does not say hello first is told so, and nothing else.
    let path = world.base.join("runtime/keeper.sock");
    let mut socket = UnixStream::connect(path).unwrap();
    let json = br#"{"descriptors":0,"body":{"id":1,"call":"Observe"}}"#;
    socket
        .write_all(&u32::try_from(json.len()).unwrap().to_be_bytes())
        .unwrap();
    socket.write_all(json).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("speaks version"), "{answer}");
    world.engine.observe().await.unwrap();
}

pub(crate) async fn fifty_start_at_once(world: World) {
    let wishes: Vec<_> = (0..50).map(|_| world.shell("exit 0")).collect();
    let begun = Instant::now();
    let mut starts = tokio::task::JoinSet::new();
    for wish in &wishes {
        let (engine, whole) = (world.engine.clone(), wish.whole());
        starts.spawn(async move { engine.start(whole).await });
    }
    let outcomes = starts.join_all().await;
    println!("50 starts in {:?}", begun.elapsed());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for wish in &wishes {
        assert_eq!(within(world.ended(&wish.id)).await, ExitStatus::Code(0));
        world.engine.remove(&wish.id).await.unwrap();
    }
}

/// The directories of a keeper of its own.
fn make_home(base: &std::path::Path) {
    for directory in ["state", "runtime"] {
        std::fs::create_dir_all(base.join(directory)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(base.join(directory), mode).unwrap();
    }
}

/// Kills its own keeper and sees what becomes of the instance.
pub(crate) async fn lose_the_keeper(world: World) -> ExitCode {
    let mark = format!("{}.77", std::process::id());
    let wish = world.program(&["sleep", &mark]);
    world.start(&wish).await.unwrap();
    let runs = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
        lines
            .filter(|l| String::from_utf8_lossy(l).contains(&mark))
            .count()
    };
    assert_eq!(runs(), 1);
    let keeper = rustix::process::Pid::from_raw(world.keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    let event = within(world.engine.next_event()).await;
    assert!(matches!(event, EngineEvent::Lost(_)), "{event:?}");
    assert!(world.start(&wish).await.is_err());
    within(async {
        while runs() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
    ExitCode::SUCCESS
}

/// The processes of the keeper that wait to become an instance's first.
fn spares(world: &World) -> Vec<String> {
    let keeper = world.keeper.to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let stat = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let spare = |stat: String| {
        let (pid, rest) = stat.split_once(" (roads-spare) ")?;
        (rest.split(' ').nth(1)? == keeper).then(|| pid.to_owned())
    };
    stat.filter_map(spare).collect()
}

pub(crate) async fn a_spare_becomes_an_instance(world: World) {
    let before = within(async {
        loop {
            let spares = spares(&world);
            if spares.len() == 4 {
                return spares;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let wish = world.shell("hostname; exec sleep 1000");
    world.start(&wish).await.unwrap();
    let name = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let names: Vec<String> = before.iter().map(name).collect();
    assert!(names.contains(&"roads-init\n".to_owned()), "{names:?}");
    let (_, hostname) = world.exec(&wish.id, "hostname").await;
    assert_eq!(hostname.trim(), "one-1");
    world.engine.remove(&wish.id).await.unwrap();
}

pub(crate) async fn instances_die_with_the_keeper(world: World) {
    let base = world.base.join("state/doomed");
    make_home(&base);
    // Twice: the second finds what the first left behind.
    for _ in 0..2 {
        let status = Role::LoseKeeper.command(&base).status().unwrap();
        assert!(status.success());
    }
}

/// Holds a listener, starts nothing and is killed.
pub(crate) async fn leave_a_listener(world: World) -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = vec![listener.into()];
    world.engine.deposit("listeners", held).await.unwrap();
    println!("{}", world.keeper);
    std::future::pending().await
}

pub(crate) async fn a_keeper_without_instances_does_not_wait_for_ever(world: World) {
    let base = world.base.join("state/alone");
    make_home(&base);
    let mut daemon = Role::LeaveListener
        .command(&base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    let keeper = lines.next().unwrap().unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let keeper = std::path::Path::new("/proc").join(keeper);
    within(async {
        while keeper.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Prints how long each station of a start takes; nothing is asserted about it.
pub(crate) async fn the_stations_of_a_start(world: World) {
    let mut all = Vec::new();
    for _ in 0..40 {
        let wish = world.program(&["/bin/true"]);
        let begun = Instant::now();
        let stations = world.engine.start_timed(wish.whole()).await.unwrap();
        let since = |at: model::Moment| at.since(stations.asked);
        all.push([
            since(stations.cloned),
            since(stations.ambassador),
            since(stations.root),
            since(stations.forked),
            since(stations.executed),
            begun.elapsed(),
        ]);
        within(world.ended(&wish.id)).await;
        world.engine.remove(&wish.id).await.unwrap();
    }
    let names = [
        "cloned",
        "ambassador",
        "root",
        "forked",
        "executed",
        "answered",
    ];
    for (index, name) in names.into_iter().enumerate() {
        let mut times: Vec<_> = all.iter().map(|stations| stations[index]).collect();
        times.sort();
        println!(
            "  {name} after {:?} (best {:?})",
            times[times.len() / 2],
            times[0]
        );
    }
}
