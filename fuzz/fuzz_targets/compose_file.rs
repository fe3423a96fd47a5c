//! Compose files and environment files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roadstead_fuzz::compose_file::run(data));
