//! What instances write, and how it is read.

use std::collections::BTreeSet;

use model::{InstanceId, ServiceName};
use ports::{Engine, LogFollow, LogSource, LogWish};

use crate::world::{World, log_wish, within};

pub(crate) async fn both_streams_and_long_lines_are_kept_whole(world: World) {
    let script = "echo out; echo err >&2; head -c 100000 /dev/zero | tr '\\0' x; echo; printf end";
    let (_, lines) = world.run(&world.shell(script)).await;
    let text = |source| -> Vec<&str> {
        let of_source = lines.iter().filter(|line| line.source == source);
        of_source.map(|line| line.text.as_str()).collect()
    };
    assert_eq!(text(LogSource::Error), ["err"]);
    let output = text(LogSource::Output);
    assert_eq!(
        (output[0], output[1].len(), output[2]),
        ("out", 100_000, "end")
    );
    assert!(lines.is_sorted_by_key(|line| line.at));
}

pub(crate) async fn the_tail_and_the_lines_since_are_chosen(world: World) {
    let wish = world.shell("for i in 1 2 3 4 5; do echo $i; sleep 0.002; done");
    let (_, all) = world.run(&wish).await;
    let read = async |wish: LogWish| {
        let mut stream = world.engine.logs(wish).await.unwrap();
        let mut texts = Vec::new();
        while let Some(line) = stream.next().await.unwrap() {
            texts.push(line.text);
        }
        texts
    };
    let base = log_wish(&wish.id.app);
    assert_eq!(
        read(LogWish {
            tail: Some(2),
            ..base.clone()
        })
        .await,
        ["4", "5"]
    );
    assert_eq!(
        read(LogWish {
            since: Some(all[3].at),
            ..base.clone()
        })
        .await,
        ["4", "5"]
    );
    let others = BTreeSet::from([ServiceName::new("other").unwrap()]);
    assert_eq!(
        read(LogWish {
            services: others,
            ..base
        })
        .await,
        [""; 0]
    );
}

pub(crate) async fn following_sees_new_instances_and_rotation(world: World) {
    // Some 24 MiB of log: two rotations at least.
    let first = world.shell("seq -f '%050.0f' 1 200000; seq -f '%050.0f' 1 100000 >&2");
    let follow = LogWish {
        follow: LogFollow::Follow,
        ..log_wish(&first.id.app)
    };
    let mut stream = world.engine.logs(follow).await.unwrap();
    world.start(&first).await.unwrap();
    let mut counts = (0_u32, 0_u32);
    within(async {
        while counts != (200_000, 100_000) {
            let line = stream.next().await.unwrap().unwrap();
            let count = if line.source == LogSource::Output {
                &mut counts.0
            } else {
                &mut counts.1
            };
            *count += 1;
            assert_eq!(line.text.parse(), Ok(*count));
        }
    })
    .await;
    let second = world.shell("echo second");
    let id = InstanceId {
        number: 2,
        ..first.id.clone()
    };
    let second = crate::world::Wish {
        id: id.clone(),
        ..second
    };
    world.start(&second).await.unwrap();
    let line = within(stream.next()).await.unwrap().unwrap();
    assert_eq!((line.instance, line.text.as_str()), (id, "second"));
    let again = world.lines(&first.id).await;
    assert_eq!(again.len(), 300_001);
    world
        .engine
        .remove_app(&first.id.app, ports::Volumes::Keep)
        .await
        .unwrap();
}
