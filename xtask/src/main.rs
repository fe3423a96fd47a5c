//! `cargo xtask check` runs every gate; `cargo xtask tidy` holds the architecture.

fn main() {}
