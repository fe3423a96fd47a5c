//! The life of instances: from the gate to the removal.

use std::os::fd::AsFd;

use model::{ExitStatus, Signal};
use ports::{Engine, EngineError, InstanceState, LogFollow, LogSource, Terminal};

use crate::dockerd::Dockerd;
use crate::world::{World, exec, names, read_all, within};

/// Calls a service first of all; a call that nobody captures is refused.
const CALL_AT_ONCE: &str =
    "nc 127.127.0.2 80 </dev/null & sleep 0.2; kill $! && echo held; sleep 60";

macro_rules! world {
    ($app:literal) => {
        match World::new($app) {
            Some(world) => world,
            None => return,
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_calls_at_once_is_held() {
    let world = world!("at-once");
    for number in 1..=5 {
        let id = world.start(world.wish(number, CALL_AT_ONCE)).await;
        let mut logs = world
            .engine
            .logs(world.log_wish(LogFollow::Follow))
            .await
            .unwrap();
        loop {
            let line = within(logs.next()).await.unwrap().unwrap();
            if line.instance == id {
                assert_eq!(line.text, "held");
                break;
            }
        }
        world.engine.remove(&id).await.unwrap();
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_seen_with_what_it_does_until_it_is_removed() {
    let world = world!("seen");
    let id = world
        .start(world.wish(1, "echo out; echo err >&2; echo private >/tmp/f; exit 3"))
        .await;
    assert_eq!(world.next_exit().await, (id.clone(), ExitStatus::Code(3)));
    let seen = world.engine.observe().await.unwrap();
    let states: Vec<_> = seen.iter().map(|seen| (&seen.id, seen.state)).collect();
    assert_eq!(states, [(&id, InstanceState::Exited(ExitStatus::Code(3)))]);
    assert_eq!(
        world.engine.attachment(&id).await.map(drop),
        Err(EngineError::NoInstance { id: id.clone() })
    );
    // What is started again has its private files.
    let again = world.wish(1, "another line changes nothing");
    let again = world.start(again).await;
    assert_eq!(world.next_exit().await.0, again);
    world.engine.remove(&id).await.unwrap();
    world.engine.remove(&id).await.unwrap();
    assert_eq!(world.engine.observe().await.unwrap(), []);
    let lines = world.logs().await;
    let texts: Vec<_> = lines
        .iter()
        .map(|line| (line.source, line.text.as_str()))
        .collect();
    let run = [(LogSource::Output, "out"), (LogSource::Error, "err")];
    for line in run {
        assert_eq!(
            texts.iter().filter(|&&text| text == line).count(),
            2,
            "{texts:?}"
        );
    }
    assert!(!world.path().join("docker/instances/seen").exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dockers_own_tools_understand_what_is_frozen() {
    let world = world!("frozen");
    let id = world.start(world.wish(1, "sleep 60")).await;
    let state = || {
        world
            .dockerd
            .docker(&["inspect", "-f", "{{.State.Status}}", "frozen-web-1"])
    };
    for _ in 0..3 {
        world.engine.freeze(&id).await.unwrap();
        world.engine.freeze(&id).await.unwrap();
        assert_eq!(state(), "paused");
        assert_eq!(
            world.engine.observe().await.unwrap()[0].state,
            InstanceState::Frozen
        );
        world.engine.thaw(&id).await.unwrap();
        let (output, _) = world.run(&id, "echo runs").await;
        assert_eq!(output, "runs\n");
        world.engine.thaw(&id).await.unwrap();
        assert_eq!(state(), "running");
    }
    world.engine.freeze(&id).await.unwrap();
    world.dockerd.docker(&["unpause", "frozen-web-1"]);
    world.next_gap().await;
    assert_eq!(
        world.engine.observe().await.unwrap()[0].state,
        InstanceState::Running
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_docker_restarts_waits_for_a_new_ambassador() {
    let world = world!("restarted");
    let id = world.start(world.wish(1, CALL_AT_ONCE)).await;
    let before = world.engine.attachment(&id).await.unwrap();
    world
        .dockerd
        .docker(&["restart", "-t", "0", "restarted-web-1"]);
    let (exited, status) = world.next_exit().await;
    assert_eq!(
        (exited, status),
        (id.clone(), ExitStatus::Signal(Signal::KILL))
    );
    world.next_gap().await;
    let after = world.engine.attachment(&id).await.unwrap();
    let number = |fd: &dyn AsFd| rustix::fs::fstat(fd).unwrap().st_ino;
    assert_ne!(number(&before.namespace), number(&after.namespace));
    assert_eq!(after.tcp.len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_daemon_finds_instances_and_their_sockets() {
    let mut world = world!("replaced");
    let id = world.start(world.wish(1, "sleep 60")).await;
    let socket =
        |attachment: &ports::Attachment| rustix::fs::fstat(&attachment.tcp[0]).unwrap().st_ino;
    let before = world.engine.attachment(&id).await.unwrap();
    world.replace_engine();
    let seen = world.engine.observe().await.unwrap();
    assert_eq!(seen.len(), 1);
    let after = world.engine.attachment(&id).await.unwrap();
    assert_eq!(socket(&before), socket(&after), "they are the same sockets");
    // Without them the ambassador is installed anew.
    drop((before, after));
    engine_docker::Keep::forget(&*world.keep, "docker/replaced/web/1")
        .await
        .unwrap();
    world.replace_engine();
    world.engine.observe().await.unwrap();
    world.engine.attachment(&id).await.unwrap();
    let (output, _) = world
        .run(&id, CALL_AT_ONCE.trim_end_matches("; sleep 60"))
        .await;
    assert_eq!(output, "held\n");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_docker_starts_without_a_daemon_waits_at_its_gate() {
    let mut world = world!("waits");
    let id = world.start(world.wish(1, "echo began; sleep 60")).await;
    // No engine is there to open the gate.
    let elsewhere = World::on(world.dockerd, "elsewhere");
    let engine = std::mem::replace(&mut world.engine, elsewhere.engine);
    drop(engine);
    world.dockerd.docker(&["restart", "-t", "0", "waits-web-1"]);
    let began = || {
        world
            .dockerd
            .docker(&["logs", "waits-web-1"])
            .lines()
            .count()
    };
    assert_eq!(began(), 1);
    world.replace_engine();
    world.engine.observe().await.unwrap();
    world.engine.until_listening(&id, &[]).await.unwrap();
    within(async {
        while began() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_is_seen_and_so_is_an_end_before_it() {
    let world = world!("listens");
    let id = world
        .start(world.wish(1, "sleep 0.3; exec httpd -f -p 8080"))
        .await;
    let port = within(world.engine.until_listening(&id, &[9, 8080])).await;
    assert_eq!(port, Ok(Some(8080)));
    let id = world.start(world.wish(2, "sleep 0.3")).await;
    let port = within(world.engine.until_listening(&id, &[8080])).await;
    assert_eq!(port, Err(EngineError::NoInstance { id }));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_the_program() {
    let world = world!("signals");
    let line = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let id = world.start(world.wish(1, line)).await;
    let mut logs = world
        .engine
        .logs(world.log_wish(LogFollow::Follow))
        .await
        .unwrap();
    assert_eq!(within(logs.next()).await.unwrap().unwrap().text, "ready");
    world.engine.signal(&id, Signal::TERM).await.unwrap();
    assert_eq!(world.next_exit().await, (id.clone(), ExitStatus::Code(7)));
    let gone = world.engine.signal(&id, Signal::TERM).await;
    assert_eq!(gone, Err(EngineError::NoInstance { id }));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_ours_and_change_while_it_runs() {
    let world = world!("names");
    let id = world.start(world.wish(1, "sleep 60")).await;
    let (hosts, _) = world.run(&id, "cat /etc/hosts").await;
    assert!(hosts.contains("127.127.0.2 rng\n"), "{hosts}");
    let own = hosts.lines().find(|line| line.ends_with(" web-1")).unwrap();
    let (addresses, _) = world.run(&id, "ip -4 -o addr show eth0").await;
    let address = own.trim_end_matches(" web-1");
    assert!(
        addresses.contains(&format!(" {address}/")),
        "{own} in {addresses}"
    );
    let (resolver, _) = world.run(&id, "cat /etc/resolv.conf").await;
    assert!(
        resolver.starts_with("nameserver 127.127.0.1\n"),
        "{resolver}"
    );
    world
        .engine
        .rename(&id, &[names(3, "hasher")])
        .await
        .unwrap();
    let (hosts, _) = world.run(&id, "cat /etc/hosts").await;
    assert!(
        hosts.contains("127.127.0.3 hasher\n") && !hosts.contains("rng"),
        "{hosts}"
    );
    assert!(hosts.contains(own), "{hosts}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_have_pipes_or_a_terminal() {
    let world = world!("commands");
    let id = world.start(world.wish(1, "sleep 60")).await;
    let (output, status) = world.run(&id, "echo $A $B; echo two >&2; exit 5").await;
    assert_eq!(
        (output.as_str(), status),
        ("image exec\ntwo\n", ExitStatus::Code(5))
    );
    let (_, status) = world.run(&id, "exec no-such-program").await;
    assert_eq!(status, ExitStatus::Code(127));
    let unknown = exec(&id, &["no-such-program"], Terminal::None);
    let unknown = world.engine.exec(unknown).await.unwrap();
    let (said, status) = tokio::join!(read_all(unknown.error.unwrap()), within(unknown.status));
    assert!(said.contains("no-such-program"), "{said}");
    assert_eq!(status, Ok(ExitStatus::Code(127)));
    let copy = world
        .engine
        .exec(exec(&id, &["cat"], Terminal::None))
        .await
        .unwrap();
    let input = copy.input;
    let text = "x".repeat(100_000);
    let written = text.clone();
    let feed = tokio::task::spawn_blocking(move || {
        std::io::Write::write_all(&mut std::fs::File::from(input), written.as_bytes()).unwrap();
    });
    let (output, status, fed) = tokio::join!(read_all(copy.output), within(copy.status), feed);
    fed.unwrap();
    assert_eq!((output, status), (text, Ok(ExitStatus::Code(0))));
    let size = Terminal::Size {
        columns: 91,
        rows: 17,
    };
    // The size reaches Docker after the command has begun.
    let line =
        "until [ \"$(stty size 2>&1)\" = '17 91' ]; do sleep 0.02; done; printf 'no line feed'";
    let shell = world
        .engine
        .exec(exec(&id, &["sh", "-c", line], size))
        .await
        .unwrap();
    assert!(shell.error.is_none());
    let input = shell.input;
    let (output, status) = tokio::join!(read_all(shell.output), within(shell.status));
    drop(input);
    assert_eq!(
        (output.as_str(), status),
        ("no line feed", Ok(ExitStatus::Code(0)))
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_waits_for_is_ended() {
    let world = world!("dropped");
    let id = world.start(world.wish(1, "sleep 60")).await;
    let command = exec(&id, &["sleep", "1234"], Terminal::None);
    let execution = world.engine.exec(command).await.unwrap();
    within(async {
        while !world
            .run(&id, "cat /proc/*/cmdline")
            .await
            .0
            .contains("1234")
        {}
    })
    .await;
    drop(execution);
    within(async {
        while world
            .run(&id, "cat /proc/*/cmdline")
            .await
            .0
            .contains("1234")
        {}
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_over_restarts_and_into_new_instances() {
    let world = world!("followed");
    let first = world.start(world.wish(1, "printf one; sleep 0.1")).await;
    let mut logs = world
        .engine
        .logs(world.log_wish(LogFollow::Follow))
        .await
        .unwrap();
    let mut next = async || within(logs.next()).await.unwrap().unwrap();
    assert_eq!(next().await.text, "one");
    world.next_exit().await;
    world.start(world.wish(1, "")).await;
    assert_eq!(
        (next().await.instance, world.next_exit().await.0),
        (first.clone(), first)
    );
    let second = world.start(world.wish(2, "echo two; sleep 60")).await;
    let line = next().await;
    assert_eq!((line.instance, line.text.as_str()), (second, "two"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_is_killed_and_comes_back_and_instances_run_on() {
    let Some(dockerd) = Dockerd::start("--live-restore") else {
        return;
    };
    let dockerd = Box::leak(Box::new(dockerd));
    let world = World::on(dockerd, "survives");
    let id = world.start(world.wish(1, "exec httpd -f -p 80")).await;
    world.next_gap().await;
    // Docker answers once it has written down that the container runs.
    world.engine.observe().await.unwrap();
    dockerd.tell("kill");
    within(async { while world.engine.observe().await.is_ok() {} }).await;
    let away = world.engine.observe().await;
    assert!(
        matches!(away, Err(EngineError::Unreachable { .. })),
        "{away:?}"
    );
    dockerd.tell("begin");
    world.next_gap().await;
    let seen = world.engine.observe().await.unwrap();
    assert_eq!((&seen[0].id, seen[0].state), (&id, InstanceState::Running));
    assert_eq!(world.engine.until_listening(&id, &[80]).await, Ok(Some(80)));
    world.end().await;
}
