//! The built command answers. That this test is here has `cargo test` build the `roads` that the
//! end-to-end suite runs.

use std::process::Command;

#[test]
fn the_command_says_its_release() {
    let mut roads = Command::new(env!("CARGO_BIN_EXE_roads"));
    let answered = roads.arg("--version").output().expect("roads was built");
    assert!(answered.status.success(), "{answered:?}");
    let release = env!("CARGO_PKG_VERSION");
    assert!(
        String::from_utf8_lossy(&answered.stdout).contains(release),
        "{answered:?}"
    );
}
