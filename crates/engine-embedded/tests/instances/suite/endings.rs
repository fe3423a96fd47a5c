//! Programs run, stand still and end, and how is seen.

use std::time::Duration;

use model::{ExitStatus, Image, Signal};
use ports::{Engine, EngineError, EngineEvent, InstanceState};

use crate::world::{World, within};

pub(crate) async fn a_program_runs_and_its_line_and_code_are_seen(world: World) {
    let (status, lines) = world.run(&world.shell("echo hi; exit 3")).await;
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!((status, texts), (ExitStatus::Code(3), vec!["hi"]));
}

pub(crate) async fn a_start_is_idempotent(world: World) {
    let wish = world.shell("echo started; exec sleep 1000");
    let both = tokio::join!(world.start(&wish), world.start(&wish));
    assert_eq!(both, (Ok(()), Ok(())));
    world.until_line(&wish.id, "started").await;
    world.start(&wish).await.unwrap();
    assert_eq!(world.state(&wish.id).await, Some(InstanceState::Running));
    assert_eq!(world.lines(&wish.id).await.len(), 1);
    world.engine.remove(&wish.id).await.unwrap();
    world.engine.remove(&wish.id).await.unwrap();
    assert_eq!(world.state(&wish.id).await, None);
}

pub(crate) async fn signals_reach_the_program_and_are_told(world: World) {
    let wish =
        world.shell("trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    world.start(&wish).await.unwrap();
    world.until_line(&wish.id, "ready").await;
    world.engine.signal(&wish.id, Signal::TERM).await.unwrap();
    assert_eq!(within(world.ended(&wish.id)).await, ExitStatus::Code(7));
    assert_eq!(world.lines(&wish.id).await[1].text, "asked");
    for (signal, script) in [
        (Signal::KILL, "exec sleep 1000"),
        (Signal::TERM, "exec sleep 1000"),
    ] {
        let wish = world.shell(script);
        world.start(&wish).await.unwrap();
        world.engine.signal(&wish.id, signal).await.unwrap();
        assert_eq!(
            within(world.ended(&wish.id)).await,
            ExitStatus::Signal(signal)
        );
        let again = world.engine.signal(&wish.id, signal).await;
        assert!(
            matches!(again, Err(EngineError::NoInstance { .. })),
            "{again:?}"
        );
    }
    let (status, _) = world.run(&world.shell("kill -SEGV $$")).await;
    assert_eq!(status.to_string(), "ended by SIGSEGV");
}

pub(crate) async fn an_end_is_announced(world: World) {
    let wish = world.shell("exit 5");
    world.start(&wish).await.unwrap();
    let status = ExitStatus::Code(5);
    assert_eq!(
        world.event(&wish.id).await,
        EngineEvent::Exited {
            id: wish.id,
            status
        }
    );
}

pub(crate) async fn what_cannot_run_is_told_in_words(world: World) {
    for (argv, expected) in [
        (
            vec!["no-such-command"],
            "command not found in PATH=/usr/local/sbin",
        ),
        (vec!["/no/such/file"], "no such file"),
        (vec!["/etc/hostname"], "may not be executed"),
        (vec!["/usr"], "may not be executed"),
    ] {
        let wish = world.program(&argv);
        let error = world.start(&wish).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(error, EngineError::Forbidden { .. }), "{error:?}");
        assert_eq!(world.state(&wish.id).await, None);
    }
    let nobody = world
        .shell("true")
        .with(|spec| spec.user = Some("no-such-user".to_owned()));
    let error = world.start(&nobody).await.unwrap_err();
    assert!(
        error.to_string().contains("/etc/passwd has no such user"),
        "{error}"
    );
    // What ran before is again as it was.
    let wish = world.shell("exit 4");
    world.run(&wish).await;
    let wish = wish.with(|spec| spec.command = Some(vec!["no-such-command".to_owned()]));
    world.start(&wish).await.unwrap_err();
    let state = world.state(&wish.id).await;
    assert_eq!(state, Some(InstanceState::Exited(ExitStatus::Code(4))));
}

pub(crate) async fn orphans_are_reaped(world: World) {
    let script = "for i in 1 2 3 4 5; do sh -c 'sh -c \"exit 0\" & exit 0'; done
        while grep -qs '^State:.Z' /proc/[0-9]*/status; do sleep 0.01; done; echo none";
    assert_eq!(world.output(&world.shell(script)).await, "none");
}

pub(crate) async fn pid_1_passes_signals_on(world: World) {
    let script = "trap 'echo passed; exit 0' USR1; kill -USR1 1; while :; do sleep 0.01; done";
    assert_eq!(world.output(&world.shell(script)).await, "passed");
}

pub(crate) async fn an_image_is_refused_with_a_hint(world: World) {
    let image = Image::Reference("redis:7".to_owned());
    let wish = world.shell("true").with(|spec| spec.image = image);
    let error = world.start(&wish).await.unwrap_err();
    assert!(matches!(&error, EngineError::Forbidden { hint, .. } if hint.contains("host")));
}

/// Whether this machine lets the engine enforce a limit; it says so when not. An ordinary user
/// needs a delegated group for it; the machine's root does not, so in CI it may not lack there.
fn is_limited(world: &World, what: &str) -> bool {
    let missing = world
        .engine
        .shortcomings()
        .iter()
        .any(|text| text.contains(what));
    if missing {
        println!("skipped: {what} is not limited here");
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        let is_root = map.contains("4294967295") && rustix::process::geteuid().is_root();
        let is_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!(is_root && is_ci), "in CI nothing is skipped");
    }
    !missing
}

pub(crate) async fn a_memory_limit_ends_the_program_and_is_told(world: World) {
    if !is_limited(&world, "memory") {
        return;
    }
    let script = "x=x; while :; do x=$x$x; done";
    let wish = world
        .shell(script)
        .with(|spec| spec.limits.memory_max = Some(32 << 20));
    assert_eq!(world.run(&wish).await.0, ExitStatus::OutOfMemory);
    // A child of the program, which ends with what its shell makes of that.
    let wish = world
        .shell(&format!("sh -c '{script}'; exit $?"))
        .with(|spec| spec.limits.memory_max = Some(32 << 20));
    assert_eq!(world.run(&wish).await.0, ExitStatus::OutOfMemory);
}

pub(crate) async fn a_process_limit_holds(world: World) {
    if !is_limited(&world, "pids") {
        return;
    }
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all";
    let wish = world
        .shell(script)
        .with(|spec| spec.limits.pids_max = Some(4));
    let (_, lines) = world.run(&wish).await;
    let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    assert!(text.iter().any(|line| line.contains("fork")), "{text:?}");
}

pub(crate) async fn a_frozen_instance_stands_still(world: World) {
    let wish = world.shell("while :; do echo tick; sleep 0.005; done");
    world.start(&wish).await.unwrap();
    world.until_line(&wish.id, "tick").await;
    world.engine.freeze(&wish.id).await.unwrap();
    world.engine.freeze(&wish.id).await.unwrap();
    assert_eq!(world.state(&wish.id).await, Some(InstanceState::Frozen));
    // What it had written before is read by now.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let before = world.lines(&wish.id).await.len();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.lines(&wish.id).await.len(), before);
    world.engine.thaw(&wish.id).await.unwrap();
    assert_eq!(world.state(&wish.id).await, Some(InstanceState::Running));
    within(async {
        while world.lines(&wish.id).await.len() == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    world.engine.remove(&wish.id).await.unwrap();
}

pub(crate) async fn a_frozen_instance_can_be_removed(world: World) {
    let wish = world.shell("echo ready; sleep 1000 & sleep 1000");
    world.start(&wish).await.unwrap();
    world.until_line(&wish.id, "ready").await;
    world.engine.freeze(&wish.id).await.unwrap();
    within(world.engine.remove(&wish.id)).await.unwrap();
    assert_eq!(world.state(&wish.id).await, None);
}
