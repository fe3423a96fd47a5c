//! What an instance finds of its network, and what we find in it.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use model::ServiceAddress;
use netns::Namespace;
use ports::{Engine, EngineError, HostNames, UdpCapture};

use crate::world::{Role, World, within};

fn host(last: u8, names: &[&str]) -> HostNames {
    HostNames {
        address: ServiceAddress::from_ip(Ipv4Addr::new(127, 127, 0, last)).unwrap(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
    }
}

pub(crate) async fn names_are_in_the_files_and_change_in_place(world: World) {
    let mut wish = world.shell(
        "getent ahostsv4 rng | head -1 | tr -s ' '; cat /etc/hostname; hostname; cat /etc/resolv.conf
        while ! grep -q later /etc/hosts; do sleep 0.005; done; getent ahostsv4 later | head -1 | tr -s ' '",
    );
    wish.hosts = vec![host(5, &["rng.test", "rng"])];
    world.start(&wish).await.unwrap();
    let search = format!("search {}.internal", wish.id.app);
    world.until_line(&wish.id, "options ndots:1").await;
    world
        .engine
        .rename(&wish.id, &[host(9, &["later"])])
        .await
        .unwrap();
    within(world.ended(&wish.id)).await;
    let lines = world.lines(&wish.id).await;
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let expected = [
        "127.127.0.5 STREAM rng.test",
        "one-1",
        "one-1",
        "nameserver 127.127.0.1",
        &search,
        "options ndots:1",
        "127.127.0.9 STREAM later",
    ];
    assert_eq!(texts, expected);
}

pub(crate) async fn an_ambassador_is_there_before_the_program(world: World) {
    // Captured, and so connected, though nobody accepts.
    let mut wish = world.program(&["/.roads/bin/roads"]);
    wish.spec.environment = Role::Call.environment();
    let udp = |last| UdpCapture {
        address: host(last, &[]).address,
        port: 514,
    };
    wish.udp = vec![udp(7), udp(8)];
    world.start(&wish).await.unwrap();
    world.until_line(&wish.id, "connected").await;
    let attachment = world.engine.attachment(&wish.id).await.unwrap();
    assert_eq!(attachment.tcp.len(), 2);
    let captures: Vec<UdpCapture> = attachment.udp.iter().map(|(capture, _)| *capture).collect();
    assert_eq!(captures, wish.udp);
    for socket in attachment.tcp.iter().chain([&attachment.dns]) {
        let flags = rustix::fs::fcntl_getfl(socket.as_fd()).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    }
    world.engine.remove(&wish.id).await.unwrap();
}

pub(crate) async fn a_listener_is_found_and_can_be_dialled(world: World) {
    let mut wish = world.program(&["/.roads/bin/roads"]);
    wish.spec.environment = Role::Listen.environment();
    world.start(&wish).await.unwrap();
    let found = within(world.engine.until_listening(&wish.id, &[81, 80]))
        .await
        .unwrap();
    assert_eq!(found, Some(80));
    assert_eq!(world.engine.until_listening(&wish.id, &[]).await, Ok(None));
    let namespace = world.engine.attachment(&wish.id).await.unwrap().namespace;
    let namespace = Namespace::from_fd(namespace);
    let socket = namespace.connect_socket().unwrap();
    let address = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
    let connected = rustix::net::connect(&socket, &address);
    assert!(
        matches!(connected, Ok(()) | Err(rustix::io::Errno::INPROGRESS)),
        "{connected:?}"
    );
    world.until_line(&wish.id, "accepted").await;
    world.engine.remove(&wish.id).await.unwrap();
}

pub(crate) async fn waiting_ends_with_the_instance(world: World) {
    let wish = world.shell("sleep 0.05");
    world.start(&wish).await.unwrap();
    let outcome = within(world.engine.until_listening(&wish.id, &[80])).await;
    assert!(
        matches!(outcome, Err(EngineError::NoInstance { .. })),
        "{outcome:?}"
    );
}
