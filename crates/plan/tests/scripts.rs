//! Transcripts: each file of `scripts` is a script together with all that comes of it.
//!
//! After a change that is meant, `cargo test -p roadstead-plan --test scripts -- --ignored` writes
//! them anew; the difference is what is to be reviewed.

#[cfg(test)]
mod stage;

use std::fs;
use std::path::PathBuf;

fn scripts() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let entries = fs::read_dir(folder).expect("the folder is part of the crate");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_transcript_is_what_comes_of_its_script() {
    for path in scripts() {
        let script = fs::read_to_string(&path).unwrap();
        let played = stage::Stage::play(&script);
        assert!(
            script == played,
            "{} differs; it would be\n{played}",
            path.display()
        );
    }
}

#[test]
#[ignore = "writes the transcripts anew"]
fn write_every_transcript() {
    for path in scripts() {
        let script = fs::read_to_string(&path).unwrap();
        fs::write(&path, stage::Stage::play(&script)).unwrap();
    }
}
