//! Commands beside the program.

use std::io::Write;
use std::time::Duration;

use model::ExitStatus;
use ports::{Engine, EngineError, ExecWish, Terminal};

use crate::world::{World, exec_wish, read_all, within};

pub(crate) async fn a_command_runs_beside_the_program(world: World) {
    let wish = world
        .shell("export X=1; echo own > /tmp/file; echo ready; exec sleep 1000")
        .with(|spec| {
            spec.environment
                .insert("OF_SERVICE".to_owned(), "service".to_owned());
        });
    world.start(&wish).await.unwrap();
    world.until_line(&wish.id, "ready").await;
    let script = "cat /tmp/file; echo $OF_SERVICE $EXTRA; cat /proc/2/comm; exit 6";
    let (status, output) = world.exec(&wish.id, script).await;
    assert_eq!(
        (status, output.as_str()),
        (ExitStatus::Code(6), "own\nservice extra\nsleep\n")
    );
    let (_, output) = world
        .exec(
            &wish.id,
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2",
        )
        .await;
    assert_eq!(output, "00000000800405fb\n00000000800405fb\n1\n2\n");
    for kind in ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        let script =
            format!("[ $(readlink /proc/self/ns/{kind}) = $(readlink /proc/2/ns/{kind}) ]");
        assert_eq!(
            world.exec(&wish.id, &script).await.0,
            ExitStatus::Code(0),
            "{kind}"
        );
    }
    let execution = world
        .engine
        .exec(exec_wish(&wish.id, "cat; echo err >&2"))
        .await
        .unwrap();
    std::fs::File::from(execution.input)
        .write_all(b"typed")
        .unwrap();
    assert_eq!(read_all(execution.output).await, "typed");
    assert_eq!(read_all(execution.error.unwrap()).await, "err\n");
    assert_eq!(within(execution.status).await, Ok(ExitStatus::Code(0)));
    world.engine.remove(&wish.id).await.unwrap();
}

pub(crate) async fn a_command_gets_a_terminal_with_a_name(world: World) {
    let wish = world.shell("exec sleep 1000");
    world.start(&wish).await.unwrap();
    let terminal = Terminal::Size {
        columns: 97,
        rows: 31,
    };
    let script = "tty; stty size; echo $TERM; read line; echo got $line; exit 2";
    let exec = ExecWish {
        terminal,
        ..exec_wish(&wish.id, script)
    };
    let execution = world.engine.exec(exec).await.unwrap();
    assert!(execution.error.is_none());
    std::fs::File::from(execution.input.try_clone().unwrap())
        .write_all(b"typed\n")
        .unwrap();
    let output = read_all(execution.output).await;
    for expected in ["/dev/pts/0", "31 97", "xterm", "got typed"] {
        assert!(output.contains(expected), "{output:?}");
    }
    assert_eq!(within(execution.status).await, Ok(ExitStatus::Code(2)));
    world.engine.remove(&wish.id).await.unwrap();
}

pub(crate) async fn a_command_that_is_dropped_is_killed(world: World) {
    let wish = world.shell("exec sleep 1000");
    world.start(&wish).await.unwrap();
    let execution = world
        .engine
        .exec(exec_wish(&wish.id, "exec sleep 1000"))
        .await
        .unwrap();
    let count = "cat /proc/[0-9]*/comm | grep -c sleep";
    assert_eq!(world.exec(&wish.id, count).await.1.trim(), "2");
    drop(execution);
    within(async {
        while world.exec(&wish.id, count).await.1.trim() != "1" {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    world.engine.remove(&wish.id).await.unwrap();
}

pub(crate) async fn what_cannot_be_executed_is_told(world: World) {
    let wish = world.shell("exec sleep 1000");
    world.start(&wish).await.unwrap();
    for (command, code, word) in [
        ("no-such-command", 127, "command not found"),
        ("/no/such/file", 127, "no such file"),
        ("/etc/passwd", 126, "may not be executed"),
    ] {
        let exec = ExecWish {
            argv: vec![command.to_owned()],
            ..exec_wish(&wish.id, "")
        };
        let execution = world.engine.exec(exec).await.unwrap();
        let said = read_all(execution.error.unwrap()).await;
        assert!(said.contains(word), "{said}");
        let status = within(execution.status).await.unwrap();
        assert_eq!(status, ExitStatus::Code(code), "{said}");
    }
    world.engine.remove(&wish.id).await.unwrap();
    let error = world
        .engine
        .exec(exec_wish(&wish.id, "true"))
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::NoInstance { .. }), "{error:?}");
}
