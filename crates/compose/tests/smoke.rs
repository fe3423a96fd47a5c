//! A moment of fuzzing; `fuzz/README.md` says how to do it for longer.

#[path = "../../../fuzz/src/compose_file.rs"]
pub mod compose_file;
#[path = "../../../fuzz/src/smoke.rs"]
pub mod smoke;

use std::path::Path;

#[test]
fn any_text_is_read_or_refused() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/compose_file");
    smoke::smoke(&seeds, 2_000, compose_file::run);
}
