//! Commands and replies of the example store.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roadstead_fuzz::resp::run(data));
