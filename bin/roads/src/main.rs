//! The `roads` command: picks the adapters and wires them.

fn main() {}
