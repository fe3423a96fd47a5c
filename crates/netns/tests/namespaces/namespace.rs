//! Going into another namespace and coming home.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};

use netns::{Namespace, NamespaceError};

use crate::support::{fresh_namespace, with_namespaces};

/// The namespace of the calling thread, as the kernel names it.
fn here() -> String {
    let link = fs::read_link("/proc/thread-self/ns/net").unwrap();
    link.to_string_lossy().into_owned()
}

#[test]
fn the_thread_comes_home_after_success_failure_and_panic() {
    with_namespaces(|| {
        let home = here();
        let namespace = fresh_namespace().unwrap();
        let away = namespace.enter(|| Ok(here())).unwrap();
        assert_ne!(away, home);
        assert_eq!(here(), home);

        let failed = namespace
            .enter(|| Err::<(), _>(io::Error::other("no")))
            .unwrap_err();
        assert!(matches!(failed, NamespaceError::Inside { .. }));
        assert_eq!(here(), home);

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            namespace.enter(|| -> io::Result<()> { panic!("inside") })
        }));
        assert!(panicked.is_err());
        assert_eq!(here(), home);
        assert_eq!(namespace.enter(|| Ok(here())).unwrap(), away);
    });
}

#[test]
fn entering_from_inside_panics_and_the_thread_comes_home() {
    with_namespaces(|| {
        let home = here();
        let (one, other) = (fresh_namespace().unwrap(), fresh_namespace().unwrap());
        let nested = catch_unwind(AssertUnwindSafe(|| {
            one.enter(|| other.enter(|| Ok(())).map_err(io::Error::other))
        }));
        assert!(nested.is_err());
        assert_eq!(here(), home);
    });
}

#[test]
fn a_thread_that_lives_elsewhere_comes_home_there() {
    with_namespaces(|| {
        let namespace = fresh_namespace().unwrap();
        let lives_elsewhere = std::thread::spawn(move || {
            let elsewhere = fresh_namespace().unwrap();
            let home = here();
            namespace.enter(|| Ok(())).unwrap();
            assert_eq!(here(), home);
            assert_ne!(elsewhere.enter(|| Ok(here())).unwrap(), home);
        });
        lives_elsewhere.join().unwrap();
    });
}

#[test]
fn a_socket_stays_in_the_namespace_it_was_made_in() {
    with_namespaces(|| {
        let namespace = fresh_namespace().unwrap();
        // In the fresh namespace lo is down, so even 127.0.0.1 cannot be reached from there.
        let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let std::net::SocketAddr::V4(address) = outside.local_addr().unwrap() else {
            panic!()
        };
        let socket = namespace.connect_socket().unwrap();
        let refused = rustix::net::connect(&socket, &address).unwrap_err();
        assert_eq!(refused, rustix::io::Errno::NETUNREACH);
    });
}

#[test]
fn a_process_that_is_not_there_has_no_namespace() {
    let own = Namespace::open(std::process::id());
    assert!(own.is_ok());
    let missing = Namespace::open(u32::MAX).unwrap_err();
    assert!(matches!(
        missing,
        NamespaceError::Open { pid: u32::MAX, .. }
    ));
}
