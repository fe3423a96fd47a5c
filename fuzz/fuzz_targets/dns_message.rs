//! Messages to the name server.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roadstead_fuzz::dns_message::run(data));
