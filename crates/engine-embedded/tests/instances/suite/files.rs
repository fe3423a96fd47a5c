//! What an instance finds on its file system.

use std::path::PathBuf;

use model::{Mount, VolumeName, WrittenFile};
use ports::{Engine, EngineError, Volumes};

use crate::world::World;

pub(crate) async fn private_files_survive_a_restart_and_not_a_removal(world: World) {
    let script = "for f in /data /etc/data /var/lib/data /usr/local/data; do
        if [ -e $f ]; then echo kept; else echo x > $f 2>/dev/null && echo new; fi; done
        [ -e /tmp/data ] && echo stale; echo > /tmp/data; exit 0";
    let wish = world.shell(script);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (_, lines) = world.run(&wish).await;
        seen = lines.into_iter().map(|line| line.text).collect();
    }
    let new = seen.iter().filter(|text| *text == "new").count();
    let kept = seen.iter().filter(|text| *text == "kept").count();
    assert!(
        new >= 3 && kept == 2 * new && seen.len() == new + kept,
        "{seen:?}"
    );
    world.engine.remove(&wish.id).await.unwrap();
    let (_, lines) = world.run(&wish).await;
    assert!(
        lines[seen.len()..].iter().all(|line| line.text == "new"),
        "{lines:?}"
    );
}

pub(crate) async fn volumes_persist_and_anonymous_ones_do_not(world: World) {
    let name = VolumeName::new("data").unwrap();
    let volume = |name: Option<VolumeName>, target: &str| Mount::Volume {
        name,
        target: PathBuf::from(target),
        read_only: false,
    };
    let script = "for d in /named /deep/er/anonymous; do
        if [ -e $d/file ]; then echo kept; else echo x > $d/file && echo new; fi; done";
    let mounts = vec![
        volume(Some(name), "/named"),
        volume(None, "/deep/er/anonymous"),
    ];
    let wish = world.shell(script).with(|spec| {
        spec.mounts = mounts;
        spec.user = Some("33".to_owned());
    });
    assert_eq!(world.output(&wish).await, "new\nnew");
    let (_, lines) = world.run(&wish).await;
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts[2..], ["kept", "new"]);
    world.engine.remove(&wish.id).await.unwrap();
    world
        .engine
        .remove_app(&wish.id.app, Volumes::Remove)
        .await
        .unwrap();
    assert_eq!(world.lines(&wish.id).await, []);
    assert_eq!(world.output(&wish).await, "new\nnew");
}

pub(crate) async fn written_files_are_read_and_not_written(world: World) {
    let script = "cat /run/secrets/key /etc/app/settings; stat -c %a /run/secrets/key
        echo x 2>/dev/null > /etc/app/settings || echo read-only";
    let file = |target: &str, content: &str, mode| WrittenFile {
        target: target.into(),
        content: content.to_owned(),
        mode,
    };
    let wish = world.shell(script).with(|spec| {
        spec.files = vec![
            file("/run/secrets/key", "s3cret\n", 0o400),
            file("/etc/app/settings", "$A é\n", WrittenFile::MODE),
        ];
    });
    let expected = "s3cret\n$A é\n400\nread-only";
    // A second start writes them again.
    assert_eq!(world.output(&wish).await, expected);
    let (_, lines) = world.run(&wish).await;
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts[4..].join("\n"), expected);
}

pub(crate) async fn binds_are_as_the_file_says(world: World) {
    let shared = world.base.join("state/shared-by-test");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::write(shared.join("file"), "from outside").unwrap();
    let bind = |source: PathBuf, target: &str, read_only, create_source| Mount::Bind {
        source,
        target: target.into(),
        read_only,
        create_source,
    };
    let script = "cat /in/file; echo; cat /one; echo; echo inside > /in/back
        echo x 2>/dev/null > /ro/x || echo read-only; ls -d /made";
    let mounts = vec![
        bind(shared.clone(), "/in", false, false),
        bind(shared.clone(), "/ro", true, false),
        bind(shared.join("file"), "/one", true, false),
        bind(shared.join("missing"), "/made", false, true),
    ];
    let wish = world.shell(script).with(|spec| spec.mounts = mounts);
    let text = world.output(&wish).await;
    assert_eq!(text, "from outside\nfrom outside\nread-only\n/made");
    assert_eq!(
        std::fs::read_to_string(shared.join("back")).unwrap(),
        "inside\n"
    );
    assert!(shared.join("missing").is_dir());
    let missing = vec![bind(shared.join("other"), "/in", false, false)];
    let wish = world.shell("true").with(|spec| spec.mounts = missing);
    let error = world.start(&wish).await.unwrap_err();
    assert!(matches!(&error, EngineError::Forbidden { why, .. } if why.contains("does not exist")));
}

pub(crate) async fn memory_is_mounted_with_its_size_and_mode(world: World) {
    let memory = Mount::Tmpfs {
        target: "/memory".into(),
        size_max: Some(64 << 10),
        mode: Some(0o750),
    };
    let script = "stat -c %a /memory; stat -f -c %T /memory
        head -c 100000 /dev/zero > /memory/big 2>/dev/null || echo full";
    let wish = world.shell(script).with(|spec| spec.mounts = vec![memory]);
    assert_eq!(world.output(&wish).await, "750\ntmpfs\nfull");
}

pub(crate) async fn a_read_only_root_leaves_volumes_writable(world: World) {
    let volume = Mount::Volume {
        name: None,
        target: "/data".into(),
        read_only: false,
    };
    let script = "for d in / /usr /etc /var/lib; do echo x 2>/dev/null > $d/x || echo no; done
        echo x > /data/x && echo x > /tmp/x && echo yes";
    let wish = world.shell(script).with(|spec| {
        spec.read_only = true;
        spec.mounts = vec![volume];
    });
    assert_eq!(world.output(&wish).await, "no\nno\nno\nno\nyes");
}

pub(crate) async fn a_link_left_inside_leads_nowhere(world: World) {
    // Each stands where the next start makes something, and points at the machine's own.
    let outside = world.base.join("state/outside-of-test");
    std::fs::create_dir_all(&outside).unwrap();
    let script = format!(
        "ln -s {} /target; ln -sfn / /escape; echo first",
        outside.display()
    );
    let wish = world.shell(&script);
    world.run(&wish).await;
    let mount = |target: &str| Mount::Tmpfs {
        target: target.into(),
        size_max: None,
        mode: None,
    };
    let wish = wish
        .script("echo x > /target/made 2>/dev/null; echo second")
        .with(|spec| {
            spec.mounts = vec![
                mount("/escape/target/deeper"),
                mount("/escape/escape/tmp/here"),
            ];
        });
    let outcome = world.start(&wish).await;
    if outcome.is_ok() {
        crate::world::within(world.ended(&wish.id)).await;
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!std::path::Path::new("/tmp/here").exists());
}

pub(crate) async fn the_usual_files_are_there(world: World) {
    let script = "for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done
        echo x > /dev/null; head -c 1 /dev/zero | wc -c; [ -e /dev/fd/0 ] && [ -e /dev/stderr ]
        [ -d /dev/pts ] && [ -w /dev/shm ] && [ -x /.roads/bin/roads ] && echo all
        echo $PATH | tail -c 12; echo $HOME $HOSTNAME; pwd; stat -c %a /tmp; umask";
    let wish = world.shell(script).with(|spec| {
        spec.working_dir = Some("/srv/made/for/it".into());
        spec.hostname = Some("named".to_owned());
    });
    let text = world.output(&wish).await;
    let expected = "1\nall\n/.roads/bin\n/root named\n/srv/made/for/it\n1777\n0022";
    assert_eq!(text, expected);
}
