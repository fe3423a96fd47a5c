//! What holds for any bytes, tried with mutated seeds. The claims are the fuzz target's
//! (`fuzz/src/dns_message.rs`).

#[path = "../../../fuzz/src/dns_message.rs"]
pub mod dns_message;
#[path = "../../../fuzz/src/smoke.rs"]
pub mod smoke;

#[test]
fn claims_hold_for_mutated_seeds() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/dns_message");
    smoke::smoke(seeds.as_ref(), 10_000, dns_message::run);
}
