//! Request and response heads, their rewriting, and bodies.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roadstead_fuzz::http_head::run(data));
