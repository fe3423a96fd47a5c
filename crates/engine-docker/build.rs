//! Builds the gate, the one program of ours that runs inside containers: `gate/gate.c`, with a C
//! compiler and without a C library, so that it runs in every image.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=gate/gate.c");
    println!("cargo::rerun-if-env-changed=CC");
    println!("cargo::rerun-if-env-changed=TARGET_CC");
    let variable = |name: &str| env::var(name).ok();
    let compiler = variable("TARGET_CC").or_else(|| variable("CC"));
    let compiler = compiler.unwrap_or_else(|| "cc".to_owned());
    let folder = variable("OUT_DIR").expect("cargo says where to write");
    let mut build = Command::new(&compiler);
    build.args(["-static", "-nostdlib", "-ffreestanding", "-fno-builtin"]);
    build.args(["-fno-stack-protector", "-fno-asynchronous-unwind-tables"]);
    build.args(["-fno-pie", "-no-pie", "-Os", "-Wall", "-Wextra", "-s"]);
    build.args(["-Wl,--build-id=none", "-Wl,-z,noexecstack", "-o"]);
    build.arg(PathBuf::from(folder).join("gate"));
    let status = build.arg("gate/gate.c").status();
    let status = status.unwrap_or_else(|error| panic!("cannot run {compiler}: {error}"));
    assert!(status.success(), "{compiler} cannot build gate/gate.c");
}
