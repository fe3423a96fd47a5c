//! What parsing and rewriting a head costs.

fn main() {}
