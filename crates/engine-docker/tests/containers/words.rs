//! What a user reads when something cannot be, and what Docker's tools see of what is.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Image, Mount, NetworkName, NetworkSpec, ServiceSpec, VolumeName};
use ports::{Engine, InstanceWish, Volumes};

use crate::world::World;

macro_rules! world {
    ($app:literal) => {
        match World::new($app) {
            Some(world) => world,
            None => return,
        }
    };
}

fn with(mut wish: InstanceWish, change: impl FnOnce(&mut ServiceSpec)) -> InstanceWish {
    change(Arc::make_mut(&mut wish.spec));
    wish
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    let world = world!("words");
    world
        .dockerd
        .docker(&["create", "--name", "words-web-9", "box"]);
    let missing = Mount::Bind {
        source: "/no/such/folder".into(),
        target: "/data".into(),
        read_only: true,
        create_source: false,
    };
    let wish = |number| world.wish(number, "sleep 60");
    let cases = [
        (
            with(wish(1), |spec| {
                spec.image = Image::Reference("127.0.0.1:5000/nobody/nothing:7".to_owned())
            }),
            "cannot pull image",
        ),
        (
            with(wish(1), |spec| spec.image = Image::Host),
            "--engine embedded",
        ),
        (
            with(wish(1), |spec| spec.mounts.push(missing)),
            "does not exist: /no/such/folder",
        ),
        (wish(9), "is already in use by container"),
        (
            with(wish(1), |spec| spec.command = Some(Vec::new())),
            "which program to run",
        ),
    ];
    for (wish, words) in cases {
        let error = world.engine.start(wish).await.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("hint: "), "{error}");
    }
    assert_eq!(world.engine.observe().await.unwrap(), []);
    world.dockerd.docker(&["rm", "words-web-9"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_here_is_pulled_with_the_logins_credentials() {
    let world = world!("pulled");
    let image = "127.0.0.1:5000/team/box:1";
    let config = world.path().join("config.json");
    let folder = world.path().to_str().unwrap();
    let docker = |words: &[&str]| {
        world
            .dockerd
            .docker(&[&["--config", folder], words].concat())
    };
    docker(&["login", "-u", "me", "-p", "secret", "127.0.0.1:5000"]);
    docker(&["tag", "box", image]);
    docker(&["push", image]);
    docker(&["rmi", image]);
    let written = std::fs::read(&config).unwrap();
    std::fs::remove_file(&config).unwrap();
    let wish = |number| {
        with(world.wish(number, "sleep 60"), |spec| {
            spec.image = Image::Reference(image.to_owned());
        })
    };
    let refused = world.engine.start(wish(1)).await.unwrap_err().to_string();
    assert!(refused.contains("docker login 127.0.0.1:5000"), "{refused}");
    std::fs::write(&config, written).unwrap();
    let (one, two) = tokio::join!(world.engine.start(wish(1)), world.engine.start(wish(2)));
    assert_eq!((one, two), (Ok(()), Ok(())));
    docker(&["image", "inspect", image]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_no_start() {
    let world = world!("shell");
    for (program, words) in [
        ("no-such-program", "it was not found"),
        ("/etc/passwd", "not executable"),
    ] {
        let wish = with(world.wish(1, ""), |spec| {
            spec.command = Some(vec![program.to_owned()]);
        });
        let error = world.engine.start(wish).await.unwrap_err().to_string();
        assert!(error.contains(program) && error.contains(words), "{error}");
    }
    assert_eq!(world.engine.observe().await.unwrap(), []);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_volumes_and_labels_are_as_compose_makes_them() {
    let world = world!("made");
    let docker = |words: &[&str]| world.dockerd.docker(words);
    let data = VolumeName::new("data").unwrap();
    let mut wish = with(world.wish(1, "sleep 60"), |spec| {
        spec.mounts.push(Mount::Volume {
            name: Some(data),
            target: "/data".into(),
            read_only: false,
        });
        spec.labels = BTreeMap::from([("mine".to_owned(), "yes".to_owned())]);
        let back = NetworkName::new("back").unwrap();
        Arc::make_mut(&mut spec.networks).insert(back, ["alias".to_owned()].into());
    });
    let back = NetworkName::new("back").unwrap();
    let networks = &mut Arc::make_mut(&mut wish.app).networks;
    networks.insert(back, NetworkSpec { internal: true });
    let id = world.start(wish).await;
    let project = "label=com.docker.compose.project=made";
    let all = |kind: &[&str]| {
        let listed = docker(&[kind, &["--filter", project, "--format", "{{.Name}}"]].concat());
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(all(&["network", "ls"]), ["made_back", "made_default"]);
    assert_eq!(all(&["volume", "ls"]), ["made_data"]);
    let internal = |name| docker(&["network", "inspect", "-f", "{{.Internal}}", name]);
    assert_eq!(
        (internal("made_back"), internal("made_default")),
        ("true".into(), "false".into())
    );
    let label = |name: &str| {
        docker(&[
            "inspect",
            "-f",
            &format!("{{{{index .Config.Labels {name:?}}}}}"),
            "made-web-1",
        ])
    };
    for (name, value) in [
        ("roadstead.app", "made"),
        ("roadstead.service", "web"),
        ("roadstead.revision", "1"),
        ("roadstead.instance", "made/web/1"),
        ("com.docker.compose.service", "web"),
        ("mine", "yes"),
    ] {
        assert_eq!(label(name), value, "{name}");
    }
    let (routes, _) = world.run(&id, "ip route").await;
    assert!(
        routes.contains("default via"),
        "the network that leads out is the way out: {routes}"
    );
    world.engine.remove(&id).await.unwrap();
    world
        .engine
        .remove_app(&world.app, Volumes::Keep)
        .await
        .unwrap();
    assert_eq!(
        (all(&["network", "ls"]), all(&["volume", "ls"]).len()),
        (vec![], 1)
    );
    world.end().await;
    let left = docker_volumes();
    assert!(!left.contains("made_data"), "{left}");
}

fn docker_volumes() -> String {
    let dockerd = crate::dockerd::shared().unwrap();
    dockerd.docker(&["volume", "ls", "--format", "{{.Name}}"])
}
